//! Faultvisor's agent: runs programs and copies files in a guest, for a host that asks by vsock.
//!
//! `docs/agent.md` of the project specifies the protocol. As the guest's first process it is its init, too.

mod agent;
mod connection;
mod copy;
mod init;
mod kernel_log;
mod operations;
mod options;
mod power;
mod processes;
mod ready;
mod run;
mod serve;
mod signals;
mod tcp;

use std::convert::Infallible;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use faultvisor_agent_protocol::AGENT_PORT;

use crate::agent::Agent;
use crate::init::root::FirstRoot;
use crate::options::{Listen, Wanted};

fn main() -> ExitCode {
    signals::restore();
    let wanted = match options::parse(std::env::args_os().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => return failed(&why),
    };
    let served = match wanted {
        Wanted::Text(text) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Wanted::Listen(listen) => serve(&listen),
        Wanted::Beside(proc) => beside(&proc),
    };
    match served {
        Ok(never) => match never {},
        Err(why) => failed(&why),
    }
}

fn serve(listen: &Listen) -> Result<Infallible, String> {
    if std::process::id() == 1 {
        init::prepare()?;
    }
    serve::serve(&Agent::start()?, listen)
}

fn beside(proc: &Path) -> Result<Infallible, String> {
    let followed = FirstRoot::by(proc).and_then(|first| first.follow());
    followed.map_err(|error| format!("cannot follow init out of the initramfs: {error}"))?;
    serve(&Listen::Vsock(AGENT_PORT))
}

fn failed(why: &str) -> ExitCode {
    kernel_log::say(why);
    let _ = writeln!(std::io::stderr(), "faultvisor-agent: {why}");
    ExitCode::FAILURE
}

fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
