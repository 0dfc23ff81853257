//! Guests that are kept: `fvctl run --keep`, `list` and `stop`.
//!
//! A process of its own, `fvctl hold`, starts the machine and stays until the machine ends. It tells its starter by a
//! line on its standard output that the guest is ready.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use faultvisor_harness::Machine;
use faultvisor_harness::guest::Guest;
use faultvisor_harness::guest::connect::Address;
use faultvisor_harness::libqmp::{self, Session};

use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Failure;
use crate::interruption::Interruption;
use crate::kept::{self, Addresses, End, Keeping};
use crate::options::{HoldOptions, MachineOptions, StopOptions};
use crate::report::Form;
use crate::{machine, progress::Progress};

/// The line that says that a guest is ready.
const READY: &str = "ready";
/// The beginning of the line that says why it is not.
const FAILED: &str = "failed: ";
/// How long a machine may take to answer, and then to end, before it is killed.
const ENDS: Duration = Duration::from_secs(30);
/// How long one wait of the process that keeps a guest takes.
const A_WHILE: Duration = Duration::from_secs(3600);
/// The vsock port of the agent.
const AGENT_PORT: u32 = faultvisor_harness::guest::AGENT_PORT;

/// Starts a guest that is kept under this name, and waits until it is ready.
///
/// # Errors
///
/// The name is taken, or the guest does not start.
pub fn start(name: &str, options: &MachineOptions, command: &[String]) -> Result<(), Failure> {
    // Made here, where a terminal shows that it takes long.
    let boot = machine::prepare(options, command)?;
    let this = std::env::current_exe().map_err(Failure::host("cannot find this program"))?;
    let mut hold = Command::new(this);
    hold.args(["hold", "--name", name]);
    hold.args(options.words()).arg("--kernel").arg(&boot.kernel);
    hold.arg("--initrd").arg(&boot.initrd);
    hold.stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What goes wrong until the guest is ready comes on its standard output.
        .stderr(Stdio::null())
        // Signals of this terminal are not for it.
        .process_group(0);
    let progress = Progress::start();
    progress.note(&format!("starting '{name}'"));
    let mut child = hold
        .spawn()
        .map_err(Failure::host("cannot start the guest's process"))?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // Without a line, it has ended.
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line.trim() == READY {
        return Ok(());
    }
    let _ = child.wait();
    let why = line.strip_prefix(FAILED).unwrap_or("its process ended");
    Err(Failure::NotKept {
        name: name.to_owned(),
        why: why.trim_end().to_owned(),
    })
}

/// The agent of a kept guest.
pub fn guest(addresses: &Addresses) -> Guest {
    Guest::at(Address::Vsock(addresses.vsock.clone(), AGENT_PORT))
}

/// Keeps a guest until it ends.
///
/// # Errors
///
/// The name is taken, or the guest does not start.
pub fn hold(options: &HoldOptions) -> Result<u8, Failure> {
    let interruption = Interruption::catch()?;
    let begun = begin(options, &interruption);
    let (_keeping, mut machine) = match begun {
        Ok(begun) => begun,
        Err(failure) => {
            // Nobody may wait for this guest any more.
            let _ = writeln!(io::stdout(), "{FAILED}{}", failure.line());
            return Err(failure);
        }
    };
    let told = writeln!(io::stdout(), "{READY}").and_then(|()| io::stdout().flush());
    told.map_err(Failure::host("nobody waits for this guest"))?;
    loop {
        match machine.wait_for_exit(A_WHILE) {
            Ok(status) if status.success() => return Ok(0),
            Ok(_) => return Ok(crate::failure::OWN),
            Err(faultvisor_harness::Error::StillRuns { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Starts a guest, and makes it known when it is ready.
fn begin(
    options: &HoldOptions,
    interruption: &Interruption,
) -> Result<(Keeping, Machine), Failure> {
    let keeping = Keeping::take(&options.name)?;
    let boot = machine::prepare(&options.machine, &[])?;
    let machine = machine::start(&options.machine, &boot, Form::Text)?;
    interruption.machine(machine.id())?;
    machine::wait_for_agent(&machine)?;
    keeping.publish(&Addresses {
        process: std::process::id(),
        qmp: machine.socket(),
        vsock: machine.vsock_socket(),
    })?;
    Ok((keeping, machine))
}

/// Lists kept guests.
///
/// # Errors
///
/// The host refuses to list them.
pub fn list() -> Result<u8, Failure> {
    let mut text = String::new();
    for (name, addresses) in kept::all()? {
        let Addresses { qmp, vsock, .. } = addresses;
        text.push_str(&format!("{name}\t{}\t{}\n", qmp.display(), vsock.display()));
    }
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(Failure::host("cannot write the list"))?;
    Ok(0)
}

/// Ends kept guests, and waits until they have ended.
///
/// # Errors
///
/// There is no such guest, or it does not end.
pub fn stop(options: &StopOptions) -> Result<u8, Failure> {
    for name in &options.names {
        let end = End::of(name)?;
        let addresses = kept::find(name)?;
        let address = format!("unix:{}", addresses.qmp.display());
        let asked = Session::options().timeout(ENDS).connect(&address);
        // One that does not answer, or does not end, is killed.
        let is_asked = match asked.and_then(|session| session.quit()) {
            // The program may end before its answer is read.
            Ok(()) | Err(libqmp::Error::Closed { .. }) => true,
            Err(_) => false,
        };
        if !(is_asked && end.wait(ENDS)) {
            let process = i32::try_from(addresses.process)
                .ok()
                .and_then(Pid::from_raw);
            if let Some(process) = process.filter(|_| !end.wait(Duration::ZERO)) {
                // Its machine ends with it.
                let _ = kill_process(process, Signal::KILL);
            }
            if !end.wait(ENDS) {
                return Err(Failure::Usage(format!("the guest '{name}' does not end")));
            }
        }
    }
    Ok(0)
}
