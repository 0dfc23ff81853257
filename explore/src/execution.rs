//! One command in a guest, with this process's standard streams.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use faultvisor_harness::guest::output::Status;
use faultvisor_harness::guest::{Command, Control, Event, Guest, GuestError, Input};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::options::CommandOptions;
use crate::terminal::{self, Raw};

/// The size of one read of standard input.
const PIECE: usize = 32 << 10;

/// The standard streams of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// Output only.
    Output,
    /// Input, too.
    Input,
    /// A terminal.
    Terminal,
}

/// A command of the command line.
pub fn command(words: &[String], options: &CommandOptions, streams: Streams) -> Command {
    let mut command = Command::from(words.to_vec());
    for variable in &options.env {
        if let Some(value) = &variable.value {
            command = command.env(&variable.name, value);
        }
    }
    if let Some(directory) = &options.workdir {
        command = command.current_dir(directory);
    }
    if let Some(timeout) = options.timeout {
        command = command.timeout(timeout);
    }
    match streams {
        Streams::Output => command,
        Streams::Input => command.piped_input(),
        Streams::Terminal => {
            let (rows, columns) = terminal::size();
            let name = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
            command.env("TERM", name).terminal(rows, columns)
        }
    }
}

/// Runs a command to its end. Signals of this process are the command's; a second one kills it.
///
/// # Errors
///
/// It cannot be run, or the guest ends.
pub fn execute(guest: &Guest, command: Command, streams: Streams) -> Result<Status, Failure> {
    let mut running = guest.spawn(command).map_err(failed)?;
    let _raw = (streams == Streams::Terminal)
        .then(Raw::begin)
        .transpose()?;
    if let Some(input) = running.input().filter(|_| streams != Streams::Output) {
        let forward = thread::Builder::new().name("input".to_owned());
        forward
            .spawn(move || pass_on(input))
            .map_err(Failure::host("cannot start a thread"))?;
    }
    let forwarding = Forwarding::start(running.control(), streams)?;
    let is_read = Arc::new(AtomicBool::new(true));
    let status = running.stream(|event| {
        let written = match event {
            Event::Output(bytes) => write(&mut io::stdout().lock(), bytes),
            Event::Errors(bytes) => write(&mut io::stderr().lock(), bytes),
            _ => Ok(()),
        };
        // Nobody reads any more, as by 'fvctl run … | head': the command gets what it would get in a pipe.
        if written.is_err() && is_read.swap(false, Ordering::Relaxed) {
            let _ = forwarding
                .control
                .signal(rustix::process::Signal::PIPE.as_raw());
        }
    });
    drop(forwarding);
    status.map_err(failed)
}

fn write(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Passes standard input on until its end.
fn pass_on(mut input: Input) {
    let mut piece = vec![0; PIECE];
    loop {
        match io::stdin().lock().read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                // A lost guest is an error of who waits for the command.
                if input.write_all(&piece[..read]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A thread that passes signals on to a command until this is dropped.
struct Forwarding {
    control: Control,
    handle: signal_hook::iterator::Handle,
}

impl Forwarding {
    fn start(control: Control, streams: Streams) -> Result<Self, Failure> {
        let cannot = "cannot catch signals";
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(Failure::host(cannot))?;
        if streams == Streams::Terminal {
            signals
                .add_signal(SIGWINCH)
                .map_err(Failure::host(cannot))?;
        }
        let handle = signals.handle();
        let to = control.clone();
        let thread = thread::Builder::new().name("signals".to_owned());
        let forward = move || {
            let mut has_asked = false;
            for signal in signals.forever() {
                // The command may have ended meanwhile.
                let _ = if signal == SIGWINCH {
                    let (rows, columns) = terminal::size();
                    to.resize(rows, columns)
                } else if has_asked {
                    to.kill()
                } else {
                    has_asked = true;
                    to.signal(signal)
                };
            }
        };
        thread
            .spawn(forward)
            .map_err(Failure::host("cannot start a thread"))?;
        Ok(Self { control, handle })
    }
}

impl Drop for Forwarding {
    fn drop(&mut self) {
        self.handle.close();
    }
}

fn failed(error: GuestError) -> Failure {
    Failure::Guest(error)
}
