//! A program that runs in a guest.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use faultvisor_agent_protocol::frame::{CHUNK_BYTES, FrameError, Kind};
use faultvisor_agent_protocol::request::{Empty, Request};
use faultvisor_agent_protocol::run::{
    Exit, Lost, Resize, RunId, Signal, Started, Stream, TerminalSize,
};

use super::connect::{Closer, Connection, Writer};
use super::error::GuestError;
use super::output::{Output, Status};
use super::state::Guest;

/// How long after its time limit, by the host's clock, a program's end may be told: it is killed by the guest's.
const GRACE: Duration = Duration::from_secs(60);
/// The number of `SIGKILL`.
const KILL: i32 = 9;

/// A program that runs in a guest. It goes on when this is dropped.
#[derive(Debug)]
pub struct Running {
    connection: Connection,
    input: Option<Input>,
    command: String,
    started: Started,
    boot: String,
    limit: Option<Duration>,
    output: u64,
    errors: u64,
    exit: Option<Exit>,
}

/// What a program has done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It wrote this to stdout, or to its terminal.
    Output(Vec<u8>),
    /// It wrote this to stderr.
    Errors(Vec<u8>),
    /// So much was lost of a stream, as nobody was attached for too long.
    Lost {
        /// Whether of stderr.
        stream: Stream,
        /// The number of bytes.
        bytes: u64,
    },
    /// It has ended. There is nothing more.
    Ended {
        /// How.
        status: Status,
        /// The time from its start to its end, by the guest's clock.
        duration: Duration,
    },
}

impl Running {
    pub(crate) fn new(
        connection: Connection,
        command: String,
        started: Started,
        limit: Option<Duration>,
        has_input: bool,
    ) -> Self {
        let boot = connection.boot().to_owned();
        let input = has_input.then(|| Input {
            writer: connection.writer(),
        });
        Self {
            connection,
            input,
            command,
            started,
            boot,
            limit,
            output: 0,
            errors: 0,
            exit: None,
        }
    }

    /// The same on another connection.
    pub(crate) fn continued(&self, connection: Connection, started: Started) -> Self {
        let has_input = self.input.is_some();
        let command = self.command.clone();
        Self {
            output: self.output,
            errors: self.errors,
            ..Self::new(connection, command, started, self.limit, has_input)
        }
    }

    /// The command as it is typed.
    pub fn command(&self) -> &str {
        &self.command
    }

    /// The ID of its process in the guest.
    pub fn pid(&self) -> u32 {
        self.started.pid
    }

    pub(crate) fn run(&self) -> RunId {
        self.started.run
    }

    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// How many bytes of stdout and of stderr have been received.
    pub fn received(&self) -> (u64, u64) {
        (self.output, self.errors)
    }

    /// What it reads, until it is dropped; `None` if it has no stdin or this was called before.
    pub fn input(&mut self) -> Option<Input> {
        self.input.take()
    }

    /// Ends the connection. The program goes on, and [`Guest::attach`] does with its output.
    pub fn disconnect(&self) {
        self.connection.shut_down();
    }

    /// Sends signals to it, from any thread.
    pub fn control(&self) -> Control {
        Control {
            guest: self.connection.guest().clone(),
            run: self.started.run,
            command: self.command.clone(),
            closer: self.connection.closer(),
        }
    }

    /// Waits for what it does next. Output that is not asked for makes it wait.
    ///
    /// # Errors
    ///
    /// The guest has ended, or the connection was lost: [`Guest::attach`] goes on.
    pub fn next_event(&mut self) -> Result<Event, GuestError> {
        if let Some(exit) = self.exit {
            return Ok(ended(exit));
        }
        let frame = self.connection.frame()?;
        let bytes = u64::try_from(frame.payload.len()).unwrap_or(u64::MAX);
        match frame.kind {
            Kind::Output => {
                self.output = self.output.saturating_add(bytes);
                Ok(Event::Output(frame.payload))
            }
            Kind::Errors => {
                self.errors = self.errors.saturating_add(bytes);
                Ok(Event::Errors(frame.payload))
            }
            Kind::Lost => {
                let lost = frame.message::<Lost>(Kind::Lost);
                let Lost { stream, bytes } = lost.map_err(|error| self.connection.failed(error))?;
                let received = match stream {
                    Stream::Output => &mut self.output,
                    Stream::Errors => &mut self.errors,
                };
                *received = received.saturating_add(bytes);
                Ok(Event::Lost { stream, bytes })
            }
            _ => {
                let exit = frame.message::<Exit>(Kind::Exit);
                let exit = exit.map_err(|error| self.connection.failed(error))?;
                self.exit = Some(exit);
                // An agent that does not hear it forgets the run later.
                let _ = self.connection.writer().write(Kind::Done, &[]);
                Ok(ended(exit))
            }
        }
    }

    /// Passes all further output to `take` and waits for the end.
    ///
    /// # Errors
    ///
    /// As those of [`next_event`](Self::next_event).
    pub fn stream(&mut self, mut take: impl FnMut(&Event)) -> Result<Status, GuestError> {
        loop {
            let event = self.next_event()?;
            take(&event);
            if let Event::Ended { status, .. } = event {
                return Ok(status);
            }
        }
    }

    /// Waits for its end. Further output is discarded, and stdin ends.
    ///
    /// # Errors
    ///
    /// As those of [`next_event`](Self::next_event).
    pub fn wait(&mut self) -> Result<Status, GuestError> {
        self.input = None;
        self.stream(|_| {})
    }

    /// Waits for its end, and returns all further output.
    ///
    /// # Errors
    ///
    /// As those of [`next_event`](Self::next_event), and too much output.
    pub fn wait_with_output(self) -> Result<Output, GuestError> {
        self.output(&[], super::command::OUTPUT_BYTES)
    }

    pub(crate) fn output(mut self, input: &[u8], most: usize) -> Result<Output, GuestError> {
        let patience = self.limit.map(|limit| limit.saturating_add(GRACE));
        self.connection.set_patience(patience)?;
        let to = self.input.take();
        thread::scope(|scope| {
            if let Some(mut to) = to.filter(|_| !input.is_empty()) {
                // That the program reads no further is no failure, and a lost connection is told below.
                scope.spawn(move || to.write_all(input));
            }
            let collected = self.collect(most);
            if collected.is_err() {
                // For who writes.
                self.connection.shut_down();
            }
            collected
        })
    }

    fn collect(&mut self, most: usize) -> Result<Output, GuestError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match self.next_event()? {
                Event::Output(bytes) => stdout.extend_from_slice(&bytes),
                Event::Errors(bytes) => stderr.extend_from_slice(&bytes),
                Event::Lost { .. } => {}
                Event::Ended { status, duration } => {
                    return Ok(Output {
                        command: self.command.clone(),
                        status,
                        stdout,
                        stderr,
                        duration,
                    });
                }
            }
            if stdout.len() + stderr.len() > most {
                // It would wait for ever.
                let _ = self.control().kill();
                return Err(GuestError::TooMuchOutput {
                    operation: self.connection.operation().to_owned(),
                    bytes: most,
                });
            }
        }
    }

    /// Sends all of its input, in a thread of its own.
    pub(crate) fn send_all(&mut self, bytes: Vec<u8>) -> Result<(), GuestError> {
        let Some(mut input) = self.input() else {
            return Ok(());
        };
        let thread = thread::Builder::new().name("guest input".to_owned());
        let started = thread.spawn(move || input.write_all(&bytes));
        started.map(drop).map_err(|source| GuestError::Host {
            operation: self.connection.operation().to_owned(),
            source,
        })
    }
}

fn ended(exit: Exit) -> Event {
    Event::Ended {
        status: exit.into(),
        duration: exit.duration(),
    }
}

/// What a program reads. Dropping it ends its stdin.
///
/// Writing waits until the program reads, beyond some buffers on the way. When the program has ended, or does not read
/// any more, what is written is ignored.
#[derive(Debug)]
pub struct Input {
    writer: Writer,
}

impl Write for Input {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(CHUNK_BYTES)];
        match self.writer.write(Kind::Input, piece) {
            Ok(()) => Ok(piece.len()),
            Err(FrameError::Io(error)) => Err(error),
            Err(error) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        // A lost connection is told to who reads.
        let _ = self.writer.write(Kind::InputEnd, &[]);
    }
}

/// Sends signals to a program, from any thread.
#[derive(Debug, Clone)]
pub struct Control {
    guest: Guest,
    run: RunId,
    command: String,
    closer: Closer,
}

impl Control {
    /// Sends a signal, by its number, to the program and its process group.
    ///
    /// # Errors
    ///
    /// It has ended and its end is known, or the agent does not answer.
    pub fn signal(&self, signal: i32) -> Result<(), GuestError> {
        let run = self.run;
        let operation = format!("sending signal {signal} to '{}'", self.command);
        let request = Request::Signal(Signal { run, signal });
        let Empty {} = self.guest.ask(&operation, &request)?;
        Ok(())
    }

    /// Ends the connection to it: who waits for it gets an error at once. It never waits for the guest, which may be
    /// stopped.
    pub fn disconnect(&self) {
        self.closer.close();
    }

    /// Kills it with all processes that descend from it.
    ///
    /// # Errors
    ///
    /// As those of [`signal`](Self::signal).
    pub fn kill(&self) -> Result<(), GuestError> {
        self.signal(KILL)
    }

    /// Changes the size of its terminal.
    ///
    /// # Errors
    ///
    /// As those of [`signal`](Self::signal), or it has no terminal.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<(), GuestError> {
        let size = TerminalSize { rows, columns };
        let run = self.run;
        let operation = format!("resizing the terminal of '{}'", self.command);
        let Empty {} = self
            .guest
            .ask(&operation, &Request::Resize(Resize { run, size }))?;
        Ok(())
    }
}
