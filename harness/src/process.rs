//! A VMM's process under test: its serial console, its messages, and its end.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::child::Guarded;
use crate::command_line;
use crate::console::{Console, deadline};
use crate::error::{Error, Said};
use crate::spawner;
use crate::transcript::Transcript;

/// How long after its end its last messages may arrive: a pipe ends with the last process that holds it.
const LAST_MESSAGES: Duration = Duration::from_secs(1);

/// A running VMM with its serial console on stdout. It is killed when this is dropped or when this process ends.
#[derive(Debug)]
pub struct Process {
    guarded: Guarded,
    console: Console,
    messages: Transcript,
    started: Instant,
}

impl Process {
    /// Starts a VMM by its command line, which must put the serial console on stdio.
    pub fn spawn(command: &mut Command) -> Result<Self, Error> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let started = Instant::now();
        Self::start(command, started).map_err(|source| Error::Start {
            command: command_line::typed(command),
            source,
        })
    }

    fn start(command: &mut Command, started: Instant) -> io::Result<Self> {
        let mut guarded = spawner::spawn(command)?;
        let child = guarded.child();
        let (input, output, errors) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let missing = || io::Error::other("a child without its pipes");
        let serial = Transcript::record(output.ok_or_else(missing)?)?;
        let messages = Transcript::record(errors.ok_or_else(missing)?)?;
        let console = Console::new(input.ok_or_else(missing)?, serial, messages.clone())?;
        Ok(Self {
            guarded,
            console,
            messages,
            started,
        })
    }

    /// The serial console.
    pub fn console(&mut self) -> &mut Console {
        &mut self.console
    }

    /// Its exit status, waited for until `deadline`; `None` if it is still running then.
    pub fn ended_by(&mut self, deadline: Instant) -> Result<Option<ExitStatus>, Error> {
        let waited = self.guarded.wait_until(deadline);
        waited.map_err(|source| Error::Process {
            what: "wait for",
            source,
        })
    }

    /// Waits until the process ends.
    pub fn wait_for_exit(&mut self, within: Duration) -> Result<ExitStatus, Error> {
        let ended = self.ended_by(deadline(within))?;
        ended.ok_or_else(|| Error::StillRuns {
            within,
            said: self.console.said(),
        })
    }

    /// Waits until the process ends, and checks its exit status.
    pub fn expect_exit(&mut self, expected: i32, within: Duration) -> Result<(), Error> {
        let status = self.wait_for_exit(within)?;
        if status.code() == Some(expected) {
            return Ok(());
        }
        Err(Error::Status {
            status,
            expected,
            said: self.last_said(),
        })
    }

    /// The error of a process that ended too early.
    pub(crate) fn ended_early(&self, status: ExitStatus) -> Error {
        Error::EndedEarly {
            status,
            said: self.last_said(),
        }
    }

    /// The last output of a process that has ended.
    fn last_said(&self) -> Said {
        // Whatever has arrived by then is shown.
        let _ = self.messages.wait_for_end(deadline(LAST_MESSAGES));
        self.console.said()
    }

    /// The serial console's output until now.
    pub fn serial(&self) -> &Transcript {
        self.console.transcript()
    }

    /// The VMM's stderr until now.
    pub fn messages(&self) -> &Transcript {
        &self.messages
    }

    /// When the process was started.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// The process's ID.
    pub fn id(&self) -> u32 {
        self.guarded.id()
    }

    /// Kills the process.
    pub fn kill(&mut self) -> Result<ExitStatus, Error> {
        self.guarded.kill().map_err(|source| Error::Process {
            what: "kill",
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::NoLine;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Process {
        Process::spawn(Command::new("sh").args(["-c", script])).unwrap()
    }

    #[test]
    fn lines_are_waited_for_in_their_order() {
        let mut process = shell("echo one; echo two; read word; echo $word; exit 3");
        let console = process.console();
        console.wait_for_line("two", SOON).unwrap();
        let before = console.wait_for_line("one", Duration::from_millis(10));
        assert!(matches!(
            before,
            Err(Error::NoText {
                why: NoLine::TimedOut,
                ..
            })
        ));
        console.type_line("typed").unwrap();
        console.wait_for_line("typed", SOON).unwrap();
        // Output that a wait has passed is not returned again.
        assert!(console.read_until("typed", Duration::ZERO).is_err());
        process.expect_exit(3, SOON).unwrap();
    }

    #[test]
    fn a_prompt_is_answered_before_its_line_ends() {
        let mut process =
            shell("printf 'login: '; read name; printf 'login: '; read word; echo $name $word");
        let console = process.console();
        for answer in ["root", "secret"] {
            console.wait_for("login:", SOON).unwrap();
            console.type_line(answer).unwrap();
        }
        console.wait_for_line("root secret", SOON).unwrap();
        process.expect_exit(0, SOON).unwrap();
    }

    #[test]
    fn a_missing_text_is_an_error_that_shows_the_output() {
        let mut process = shell("echo 'no such drive' >&2; echo up; exec sleep 1000");
        process.console().wait_for_line("up", SOON).unwrap();
        let stderr = process.messages().clone();
        stderr
            .find(0, deadline(SOON), |line| line == "no such drive")
            .unwrap();
        let error = process.console().wait_for("login:", Duration::ZERO);
        let expected = "no 'login:' on the serial console within 0ns: the time ran out\n  console: up\n  \
                        stderr: no such drive";
        assert_eq!(error.unwrap_err().to_string(), expected);
        let still = process.wait_for_exit(Duration::ZERO).unwrap_err();
        assert!(
            still
                .to_string()
                .starts_with("the machine still runs after 0ns\n")
        );
    }

    #[test]
    fn an_unexpected_exit_shows_the_programs_output() {
        let mut process = shell("echo 'no such drive' >&2; exit 1");
        let error = process.expect_exit(0, SOON).unwrap_err().to_string();
        assert!(error.ends_with("not 0\n  stderr: no such drive"), "{error}");
    }

    #[test]
    fn typing_on_a_console_that_nobody_reads_times_out() {
        let mut process = shell("exec 0<&-; echo closed; exec sleep 1000");
        let console = process.console();
        console.wait_for_line("closed", SOON).unwrap();
        let error = console.type_line("x").unwrap_err();
        assert!(matches!(error, Error::Type { .. }), "{error}");
    }

    #[test]
    fn the_end_of_the_console_ends_the_wait() {
        let mut process = shell("exit 0");
        let error = process.console().wait_for("login:", SOON).unwrap_err();
        assert!(matches!(
            error,
            Error::NoText {
                why: NoLine::Ended,
                ..
            }
        ));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = Process::spawn(&mut Command::new("/no/such/faultvisor")).unwrap_err();
        assert_eq!(error.to_string(), "cannot start 'faultvisor'");
    }
}
