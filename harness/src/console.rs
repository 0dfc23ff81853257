//! A machine's serial console: waiting for output, and typing input.

use std::io::{self, Write};
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;

use crate::child::timespec;
use crate::error::{Error, Said};
use crate::transcript::{Line, NoLine, Position, Transcript};

/// How long a machine may take to read what is typed.
const TYPING: Duration = Duration::from_secs(30);

/// A serial console. [`transcript`](Self::transcript) has all of its output, whatever has been waited for.
#[derive(Debug)]
pub struct Console {
    input: Option<ChildStdin>,
    output: Transcript,
    stderr: Transcript,
    /// Output before this position has been waited for.
    position: Position,
}

impl Console {
    /// The console of a program that reads from `input`, and whose messages on stderr errors show.
    pub(crate) fn new(
        input: ChildStdin,
        output: Transcript,
        stderr: Transcript,
    ) -> io::Result<Self> {
        // Its pipe may stay full.
        fcntl_setfl(&input, fcntl_getfl(&input)? | OFlags::NONBLOCK)?;
        Ok(Self {
            input: Some(input),
            output,
            stderr,
            position: Position::default(),
        })
    }

    /// Waits for a text, in a line or in a prompt without an end of line, and returns its line as far as it is there.
    /// The next wait starts behind the text.
    pub fn wait_for(&mut self, wanted: &str, within: Duration) -> Result<Line, Error> {
        let deadline = deadline(within);
        let found = self.output.find_text(self.position, deadline, wanted);
        let (position, line) = found.map_err(|why| self.no_text(wanted, within, why))?;
        self.position = position;
        Ok(line)
    }

    /// Waits for the next whole line that contains `wanted`. The next wait starts behind that line.
    pub fn wait_for_line(&mut self, wanted: &str, within: Duration) -> Result<Line, Error> {
        let deadline = deadline(within);
        let found = self.output.find_line(self.position, deadline, wanted);
        let (position, line) = found.map_err(|why| self.no_text(wanted, within, why))?;
        self.position = Position {
            line: position.line + 1,
            offset: 0,
        };
        Ok(line)
    }

    /// Makes the next wait start behind all output until now.
    pub fn skip(&mut self) {
        self.position = self.output.end();
    }

    /// All lines from the last one waited for up to the next that contains `wanted`, which is included.
    pub fn read_until(&mut self, wanted: &str, within: Duration) -> Result<Vec<Line>, Error> {
        let from = self.position.line;
        self.wait_for_line(wanted, within)?;
        let at_once = Instant::now();
        let lines = (from..self.position.line).map(|index| self.output.line(index, at_once));
        let lines: Result<_, _> = lines.collect();
        lines.map_err(|why| self.no_text(wanted, within, why))
    }

    /// Types a text. It is an error if the machine does not read it.
    pub fn type_text(&mut self, text: &str) -> Result<(), Error> {
        let typed = match &mut self.input {
            Some(input) => write_all(input, text.as_bytes(), Instant::now() + TYPING),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        typed.map_err(|source| Error::Type {
            source,
            said: self.said(),
        })
    }

    /// Types a text and an end of line.
    pub fn type_line(&mut self, text: &str) -> Result<(), Error> {
        self.type_text(&format!("{text}\n"))
    }

    /// Closes the console's input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// All output until now.
    pub fn transcript(&self) -> &Transcript {
        &self.output
    }

    /// The last lines of the output here and on stderr.
    pub(crate) fn said(&self) -> Said {
        Said::until_now(&self.output, &self.stderr)
    }

    fn no_text(&self, wanted: &str, within: Duration, why: NoLine) -> Error {
        Error::NoText {
            wanted: wanted.to_owned(),
            within,
            why,
            said: self.said(),
        }
    }
}

/// The end of a time limit, which may be beyond the clock's range.
pub(crate) fn deadline(within: Duration) -> Instant {
    const DAY: Duration = Duration::from_secs(60 * 60 * 24);
    let now = Instant::now();
    now.checked_add(within).unwrap_or(now + DAY)
}

fn write_all(mut input: &ChildStdin, mut bytes: &[u8], deadline: Instant) -> io::Result<()> {
    while !bytes.is_empty() {
        match input.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for_room(input, deadline)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn wait_for_room(input: &ChildStdin, deadline: Instant) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    let mut watched = [PollFd::new(input, PollFlags::OUT)];
    match poll(&mut watched, Some(&timespec(left))) {
        Ok(0) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the machine does not read it",
        )),
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::Guarded;
    use std::process::{Command, Stdio};

    #[test]
    fn a_write_to_the_console_times_out() {
        let mut command = Command::new("sleep");
        let mut process = Guarded::spawn(command.arg("1000").stdin(Stdio::piped())).unwrap();
        let input = process.child().stdin.take().unwrap();
        let empty = Transcript::default();
        let console = Console::new(input, empty.clone(), empty).unwrap();
        let input = console.input.as_ref().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        let error = write_all(input, &vec![b'x'; 1 << 20], soon).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
