//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use faultvisor_agent_protocol::AGENT_PORT;

const HELP: &str = "\
faultvisor-agent [--listen ADDRESS]

Runs programs and copies files in a guest, for a host that asks.

  --listen vsock[:PORT]   listen on a vsock port (default 64023)
  --listen unix:PATH      listen on a unix socket, for tests
  --version, --help       print this program's version, or this text

As the first process of a system it is its init, and the kernel's command line has
its options: faultvisor.root=DEVICE (with rootfstype= and rootflags=, too) for a
root on a disk, and faultvisor.then=PROGRAM for an init to become, beside which
the agent runs.";

/// The option of an agent that the first process starts beside itself in an initramfs.
pub const BESIDE: &str = "--beside";

/// Where the agent listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On a vsock port.
    Vsock(u32),
    /// On a unix socket.
    Unix(PathBuf),
}

/// What the command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// To print a text.
    Text(String),
    /// To listen.
    Listen(Listen),
    /// To listen as soon as the first process has left the initramfs. `/proc` is mounted here.
    Beside(PathBuf),
}

/// Parses the command line.
///
/// # Errors
///
/// An option that does not exist, as one line.
pub fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Wanted, String> {
    let mut listen = Listen::Vsock(AGENT_PORT);
    // The kernel passes words of its command line that it does not know to init.
    if std::process::id() == 1 {
        return Ok(Wanted::Listen(listen));
    }
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--help" | "-h") => return Ok(Wanted::Text(HELP.to_owned())),
            Some(BESIDE) => return Ok(Wanted::Beside(arguments.next().unwrap_or_default().into())),
            Some("--version") => return Ok(Wanted::Text(crate::agent::software())),
            Some("--listen") => {
                let address = arguments.next().unwrap_or_default();
                listen = address_of(&address.to_string_lossy())?;
            }
            _ => return Err(format!("no such option: '{}'", argument.to_string_lossy())),
        }
    }
    Ok(Wanted::Listen(listen))
}

fn address_of(address: &str) -> Result<Listen, String> {
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Listen::Unix(path.into()));
    }
    let port = match address.strip_prefix("vsock") {
        Some("") => Some(AGENT_PORT),
        Some(port) => port.strip_prefix(':').and_then(|port| port.parse().ok()),
        None => None,
    };
    let wrong = || format!("'{address}' is no address: 'vsock', 'vsock:PORT' or 'unix:PATH'");
    Ok(Listen::Vsock(port.ok_or_else(wrong)?))
}
