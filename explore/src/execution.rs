//! One command in a guest, with this process's standard streams.

use std::io::{self, Read, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use faultvisor_harness::guest::output::Status;
use faultvisor_harness::guest::{Command, Control, Event, Guest, Input};
use rustix::process::Signal;

use crate::failure::Failure;
use crate::interruption::{Interruption, aside};
use crate::options::CommandOptions;
use crate::report::{self, Form};
use crate::terminal::{self, Raw};

/// The size of one read of standard input.
const PIECE: usize = 32 << 10;
/// How long after its time limit, by the host's clock, a command's end is waited for: the guest's may stand still.
const GRACE: Duration = Duration::from_secs(15);
/// How long a command may go on to write what nobody reads.
const UNREAD: Duration = Duration::from_secs(1);

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

/// How a command is run.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The command and its arguments.
    pub command: Command,
    /// Its streams.
    pub streams: Streams,
    /// The form of what is written to standard error.
    pub form: Form,
    /// Its time limit.
    pub limit: Option<Duration>,
}

impl Execution {
    /// A command of the command line.
    pub fn new(words: &[String], options: &CommandOptions, streams: Streams, form: Form) -> Self {
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
        let command = match streams {
            Streams::Output => command,
            Streams::Input => command.piped_input(),
            Streams::Terminal => {
                let (rows, columns) = terminal::size();
                let name = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
                command.env("TERM", name).terminal(rows, columns)
            }
        };
        Self {
            command,
            streams,
            form,
            limit: options.timeout,
        }
    }

    /// Runs it to its end. Signals of this process are the command's.
    ///
    /// # Errors
    ///
    /// It cannot be run, the guest ends, or its output cannot be written.
    pub fn run(self, guest: &Guest, interruption: &Interruption) -> Result<Status, Failure> {
        let is_terminal = self.streams == Streams::Terminal;
        // Before the command: what it needs here must be there.
        let _raw = is_terminal.then(Raw::begin).transpose()?;
        let mut running = guest.spawn(self.command)?;
        let control = running.control();
        let of_command = interruption.command(control.clone());
        if let Some(input) = running.input().filter(|_| self.streams != Streams::Output) {
            aside(move || pass_on(input));
        }
        let limit = self.limit.map(|limit| HostLimit::start(limit, &control));
        let mut output = Outlet::default();
        let status = running.stream(|event| {
            let written = match event {
                Event::Output(bytes) => write(&mut io::stdout().lock(), bytes),
                Event::Errors(bytes) => report::command_errors(self.form, bytes),
                _ => Ok(()),
            };
            output.noticed(written, &control);
        });
        drop(of_command);
        let has_passed = limit.is_some_and(HostLimit::has_passed);
        match (status, output.error) {
            (Err(_), _) if has_passed => Err(Failure::Unkillable),
            (Err(error), _) => Err(error.into()),
            (Ok(_), Some(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::host("cannot write the command's output")(error))
            }
            (Ok(status), _) => Ok(status),
        }
    }
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

/// Ends a command whose output cannot be written any more.
#[derive(Debug, Default)]
struct Outlet {
    error: Option<io::Error>,
    since: Option<Instant>,
    was_killed: bool,
}

impl Outlet {
    fn noticed(&mut self, written: io::Result<()>, control: &Control) {
        let Err(error) = written else {
            return;
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        let is_unread = error.kind() == io::ErrorKind::BrokenPipe;
        let control = control.clone();
        if self.error.is_none() && is_unread {
            // What it would get in a pipe. It may ignore that.
            aside(move || drop(control.signal(Signal::PIPE.as_raw())));
        } else if !self.was_killed && (!is_unread || since.elapsed() > UNREAD) {
            self.was_killed = true;
            aside(move || drop(control.kill()));
        }
        self.error.get_or_insert(error);
    }
}

/// A time limit by this host's clock, after which a command is left that the guest has not killed.
#[derive(Debug)]
struct HostLimit {
    by: Option<Instant>,
    _cancel: Sender<()>,
}

impl HostLimit {
    fn start(limit: Duration, control: &Control) -> Self {
        let limit = limit.saturating_add(GRACE);
        let (cancel, cancelled) = mpsc::channel::<()>();
        let control = control.clone();
        aside(move || {
            if cancelled.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                control.disconnect();
            }
        });
        Self {
            by: Instant::now().checked_add(limit),
            _cancel: cancel,
        }
    }

    fn has_passed(self) -> bool {
        self.by.is_some_and(|by| Instant::now() >= by)
    }
}
