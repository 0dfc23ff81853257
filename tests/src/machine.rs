//! One VMM process under test: its serial console, its messages, and its end.

use std::io::{self, Write};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::child::Guarded;
use crate::tool;
use crate::transcript::{Line, NoLine, Transcript};

/// Why a VMM did not do what a test waited for.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// It could not be started.
    #[error("cannot start '{command}'")]
    Start {
        /// Its command line.
        command: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A line did not come.
    #[error("no line with '{wanted}' on the serial console within {within:?}: {why}")]
    NoLine {
        /// What the line should hold.
        wanted: String,
        /// How long was waited.
        within: Duration,
        /// Whether the output ended or the time.
        why: NoLine,
    },
    /// It did not end.
    #[error("the machine still runs after {0:?}")]
    StillRuns(Duration),
    /// It ended otherwise than expected.
    #[error("the machine ended with {status}, not {expected}; it said: {stderr}")]
    Status {
        /// How it ended.
        status: ExitStatus,
        /// The expected exit status.
        expected: i32,
        /// The last of what it wrote to stderr.
        stderr: String,
    },
    /// The process could not be waited for or written to.
    #[error("cannot {what} the machine's process")]
    Process {
        /// The verb.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
}

/// A running VMM, with its serial console on stdout. Dropping it kills it.
#[derive(Debug)]
pub struct Machine {
    process: Guarded,
    input: Option<ChildStdin>,
    serial: Transcript,
    messages: Transcript,
    started: Instant,
    /// The serial console's lines before this one have been waited for.
    position: usize,
}

impl Machine {
    /// Starts a VMM by its command line, which has to put the serial console on stdio.
    pub fn spawn(command: &mut Command) -> Result<Self, MachineError> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        Self::start(command, started).map_err(|source| MachineError::Start {
            command: tool::command_line(command),
            source,
        })
    }

    fn start(command: &mut Command, started: Instant) -> io::Result<Self> {
        let mut process = Guarded::spawn(command)?;
        let child = process.child();
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let missing = || io::Error::other("a child without its pipes");
        Ok(Self {
            process,
            input,
            serial: Transcript::record(output.ok_or_else(missing)?)?,
            messages: Transcript::record(errors.ok_or_else(missing)?)?,
            started,
            position: 0,
        })
    }

    /// Waits for the next line on the serial console that holds `wanted`; the next wait looks behind it.
    pub fn wait_for_line(&mut self, wanted: &str, within: Duration) -> Result<Line, MachineError> {
        let found = self
            .serial
            .find(self.position, Instant::now() + within, |line| {
                line.contains(wanted)
            });
        let (index, line) = found.map_err(|why| MachineError::NoLine {
            wanted: wanted.to_owned(),
            within,
            why,
        })?;
        self.position = index + 1;
        Ok(line)
    }

    /// All lines from the last one waited for to the next that holds `wanted`, which is the last of them.
    pub fn read_until(
        &mut self,
        wanted: &str,
        within: Duration,
    ) -> Result<Vec<Line>, MachineError> {
        let from = self.position;
        self.wait_for_line(wanted, within)?;
        let at_once = Instant::now();
        let lines = (from..self.position).map(|index| self.serial.line(index, at_once));
        lines
            .collect::<Result<_, _>>()
            .map_err(|why| MachineError::NoLine {
                wanted: wanted.to_owned(),
                within,
                why,
            })
    }

    /// Waits for the `FV-EXIT` of the guest's script and returns its status.
    pub fn wait_for_script(&mut self, within: Duration) -> Result<i32, MachineError> {
        let marker = crate::guest::EXIT_MARKER;
        let line = self.wait_for_line(marker, within)?;
        let status = line
            .text
            .split_once(marker)
            .and_then(|(_, status)| status.trim().parse().ok());
        status.ok_or(MachineError::NoLine {
            wanted: format!("{marker}<number>"),
            within,
            why: NoLine::Ended,
        })
    }

    /// Waits until the process ends.
    pub fn wait_for_exit(&mut self, within: Duration) -> Result<ExitStatus, MachineError> {
        let waited = self.process.wait_until(Instant::now() + within);
        let ended = waited.map_err(|source| MachineError::Process {
            what: "wait for",
            source,
        })?;
        ended.ok_or(MachineError::StillRuns(within))
    }

    /// Waits until the process ends, and checks its exit status.
    pub fn expect_exit(&mut self, expected: i32, within: Duration) -> Result<(), MachineError> {
        let status = self.wait_for_exit(within)?;
        if status.code() == Some(expected) {
            return Ok(());
        }
        // The pipe's end comes with the process's, not after it.
        let _ = self
            .messages
            .wait_for_end(Instant::now() + Duration::from_secs(1));
        Err(MachineError::Status {
            status,
            expected,
            stderr: self.messages.tail(3),
        })
    }

    /// Types on the serial console.
    pub fn type_text(&mut self, text: &str) -> Result<(), MachineError> {
        let cannot_write = |source| MachineError::Process {
            what: "write to",
            source,
        };
        let input = self
            .input
            .as_mut()
            .ok_or_else(|| cannot_write(io::ErrorKind::BrokenPipe.into()))?;
        input.write_all(text.as_bytes()).map_err(cannot_write)
    }

    /// Ends what can be typed.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// The serial console, all of it until now.
    pub fn serial(&self) -> &Transcript {
        &self.serial
    }

    /// What the VMM wrote to stderr until now.
    pub fn messages(&self) -> &Transcript {
        &self.messages
    }

    /// When the process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the process.
    pub fn kill(&mut self) -> Result<ExitStatus, MachineError> {
        self.process.kill().map_err(|source| MachineError::Process {
            what: "kill",
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Machine {
        Machine::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn lines_are_waited_for_in_their_order() {
        let mut machine =
            shell("echo one; echo two; read word; echo $word; echo FV-EXIT 7; exit 3");
        machine.wait_for_line("two", SOON).unwrap();
        let before = machine.wait_for_line("one", Duration::from_millis(10));
        assert!(matches!(
            before,
            Err(MachineError::NoLine {
                why: NoLine::TimedOut,
                ..
            })
        ));
        machine.type_text("typed\n").unwrap();
        machine.wait_for_line("typed", SOON).unwrap();
        assert_eq!(machine.wait_for_script(SOON).unwrap(), 7);
        // What a wait has passed is not told again.
        assert!(machine.read_until("typed", Duration::ZERO).is_err());
        machine.expect_exit(3, SOON).unwrap();
    }

    #[test]
    fn an_unexpected_exit_shows_what_the_program_said() {
        let mut machine = shell("echo 'no such drive' >&2; exit 1");
        let error = machine.expect_exit(0, SOON).unwrap_err().to_string();
        assert!(error.ends_with("not 0; it said: no such drive"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Machine::spawn(&mut Command::new("/no/such/faultvisor")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start 'faultvisor'");
    }
}
