//! What a program says, line by line, as it says it: to wait for, and to show when a test fails.

use std::io::{self, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it says; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// When its end arrived.
    pub at: Instant,
}

/// Why there is no such line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLine {
    /// The program closed its output without it.
    #[error("the output ended")]
    Ended,
    /// It did not come in time.
    #[error("the time ran out")]
    TimedOut,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    /// A line whose end has not arrived, such as a prompt.
    partial: Vec<u8>,
    ended: bool,
}

/// A growing record of an output, shared by who reads it.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Transcript {
    /// Records `output` to its end, on a thread of its own: the writer never waits for whoever looks here.
    pub fn record(output: impl Read + Send + 'static) -> io::Result<Self> {
        let transcript = Self::default();
        let recorder = transcript.clone();
        thread::Builder::new()
            .name("transcript".to_owned())
            .spawn(move || recorder.run(output))?;
        Ok(transcript)
    }

    /// The `index`-th line, waited for until `deadline`.
    pub fn line(&self, index: usize, deadline: Instant) -> Result<Line, NoLine> {
        self.wait(deadline, |state| state.lines.get(index).cloned())
    }

    /// The first line from the `from`-th on that is `wanted`, with its index, waited for until `deadline`.
    pub fn find(
        &self,
        from: usize,
        deadline: Instant,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(usize, Line), NoLine> {
        let mut looked_at = from;
        self.wait(deadline, |state| {
            let start = looked_at.min(state.lines.len());
            looked_at = state.lines.len();
            let found = state.lines[start..]
                .iter()
                .position(|line| wanted(&line.text))?;
            Some((start + found, state.lines[start + found].clone()))
        })
    }

    /// Waits until the line that has no end yet ends in `prompt`.
    pub fn wait_for_prompt(&self, prompt: &str, deadline: Instant) -> Result<(), NoLine> {
        self.wait(deadline, |state| {
            state.partial.ends_with(prompt.as_bytes()).then_some(())
        })
    }

    /// Waits for the end of the output, and returns all of it.
    pub fn wait_for_end(&self, deadline: Instant) -> Result<String, NoLine> {
        match self.wait(deadline, |_| None::<()>) {
            Err(NoLine::TimedOut) => Err(NoLine::TimedOut),
            _ => Ok(self.text()),
        }
    }

    /// Everything until now.
    pub fn text(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        for line in &state.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text.push_str(&String::from_utf8_lossy(&state.partial));
        text
    }

    /// How many lines there are until now.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Whether there is no whole line yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last `count` lines until now.
    pub fn tail(&self, count: usize) -> String {
        let text = self.text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }

    fn wait<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut(&State) -> Option<T>,
    ) -> Result<T, NoLine> {
        let mut state = self.lock();
        loop {
            if let Some(found) = look(&state) {
                return Ok(found);
            }
            if state.ended {
                return Err(NoLine::Ended);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left == Duration::ZERO {
                return Err(NoLine::TimedOut);
            }
            state = self
                .shared
                .1
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn run(&self, mut output: impl Read) {
        let mut buffer = [0; 4096];
        loop {
            match output.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => self.append(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pty or a socket that is torn down ends like this.
                Err(_) => break,
            }
        }
        let mut state = self.lock();
        if !state.partial.is_empty() {
            state.end_line();
        }
        state.ended = true;
        self.shared.1.notify_all();
    }

    fn append(&self, bytes: &[u8]) {
        let mut state = self.lock();
        for &byte in bytes {
            match byte {
                b'\n' => state.end_line(),
                other => state.partial.push(other),
            }
        }
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.partial)
            .trim_end_matches('\r')
            .to_owned();
        self.partial.clear();
        self.lines.push(Line {
            text,
            at: Instant::now(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    #[test]
    fn a_line_is_found_when_it_comes_in_pieces() {
        let (reader, mut writer) = io::pipe().unwrap();
        let transcript = Transcript::record(reader).unwrap();
        writer.write_all(b"first\r\nsec").unwrap();
        assert_eq!(transcript.line(0, soon()).unwrap().text, "first");
        transcript.wait_for_prompt("sec", soon()).unwrap();
        assert_eq!(
            transcript.find(0, Instant::now(), |line| line == "sec"),
            Err(NoLine::TimedOut)
        );
        writer.write_all(b"ond\n").unwrap();
        let (index, line) = transcript
            .find(0, soon(), |line| line.starts_with("sec"))
            .unwrap();
        assert_eq!((index, line.text.as_str()), (1, "second"));
    }

    #[test]
    fn the_end_of_the_output_ends_the_wait() {
        let (reader, mut writer) = io::pipe().unwrap();
        let transcript = Transcript::record(reader).unwrap();
        writer.write_all(b"no end of line \xff").unwrap();
        drop(writer);
        assert_eq!(
            transcript.find(0, soon(), |line| line == "other"),
            Err(NoLine::Ended)
        );
        assert_eq!(
            transcript.wait_for_end(soon()).unwrap(),
            "no end of line \u{fffd}\n"
        );
    }
}
