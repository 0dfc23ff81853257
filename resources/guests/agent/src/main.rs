//! Faultvisor's agent: runs programs and copies files in a guest, for a host that asks by vsock.
//!
//! `docs/agent.md` of the project specifies the protocol. As the guest's first process it is its init, too.

mod agent;
mod connection;
mod operations;
mod options;
mod processes;
mod ready;
mod run;
mod serve;

use std::process::ExitCode;

use crate::agent::Agent;
use crate::options::Wanted;

fn main() -> ExitCode {
    let wanted = match options::parse(std::env::args_os().skip(1)) {
        Ok(wanted) => wanted,
        Err(why) => return failed(&why),
    };
    let listen = match wanted {
        Wanted::Text(text) => {
            say(&text);
            return ExitCode::SUCCESS;
        }
        Wanted::Listen(listen) => listen,
    };
    let served = Agent::start().and_then(|agent| serve::serve(&agent, &listen));
    match served {
        Ok(never) => match never {},
        Err(why) => failed(&why),
    }
}

fn failed(why: &str) -> ExitCode {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "faultvisor-agent: {why}");
    ExitCode::FAILURE
}

fn say(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}
