//! A program's output, line by line: to wait for, and to show when a test fails.
//!
//! The record is bounded, whatever the program does: it drops the oldest lines beyond [`KEPT_BYTES`], and splits a line
//! that is longer than [`LINE_BYTES`].

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The memory for an output's lines; the oldest are dropped first.
pub const KEPT_BYTES: usize = 64 << 20;
/// The longest line in bytes. A longer one becomes several.
pub const LINE_BYTES: usize = 256 << 10;

/// One line, without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// When its end arrived.
    pub at: Instant,
}

impl Line {
    /// The memory that it takes, whatever its length.
    fn size(&self) -> usize {
        self.text.len() + mem::size_of::<Self>()
    }
}

/// A position between two characters of an output, up to which it has been waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The line's index.
    pub line: usize,
    /// The number of bytes of its text before it.
    pub offset: usize,
}

impl Position {
    /// The end of a text that begins behind this position in its line, if there is one.
    fn behind(self, index: usize, line: &str, wanted: &str) -> Option<Self> {
        let start = if index == self.line { self.offset } else { 0 };
        let found = line.get(start..)?.find(wanted)?;
        Some(Self {
            line: index,
            offset: start + found + wanted.len(),
        })
    }
}

/// How a line counts that has not ended yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastLine {
    /// Not before its end.
    Whole,
    /// With whatever has arrived of it.
    AnyPart,
}

/// There is no such line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoLine {
    /// The program closed its output first.
    #[error("the output ended")]
    Ended,
    /// It did not appear in time.
    #[error("the time ran out")]
    TimedOut,
    /// It appeared, and was dropped for later lines.
    #[error("the line is too long ago")]
    Forgotten,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Line>,
    /// The number of lines dropped.
    forgotten: usize,
    /// The cost of the lines.
    kept_bytes: usize,
    /// A line whose end has not arrived, such as a prompt.
    partial: Vec<u8>,
    ended: bool,
}

/// A growing record of an output, shared by its readers.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Transcript {
    /// Records `output` to its end, on a thread of its own: the writer never waits for a reader of the record.
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
        self.wait(deadline, |state| {
            let place = index.checked_sub(state.forgotten);
            place.map_or(Some(Err(NoLine::Forgotten)), |place| {
                state.lines.get(place).cloned().map(Ok)
            })
        })?
    }

    /// The first line from the `from`-th on that is `wanted`, with its index, waited for until `deadline`. Dropped
    /// lines are not examined.
    pub fn find(
        &self,
        from: usize,
        deadline: Instant,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<(usize, Line), NoLine> {
        let look = |index, text: &str| wanted(text).then_some(index);
        self.search(from, deadline, LastLine::Whole, look)
    }

    /// The first line that contains `wanted` behind `from`, with the end of that text in it, waited for until
    /// `deadline`.
    pub fn find_line(
        &self,
        from: Position,
        deadline: Instant,
        wanted: &str,
    ) -> Result<(Position, Line), NoLine> {
        let look = |index, text: &str| from.behind(index, text, wanted);
        self.search(from.line, deadline, LastLine::Whole, look)
    }

    /// As [`find_line`](Self::find_line), but the line may be one that has not ended, such as a prompt.
    pub fn find_text(
        &self,
        from: Position,
        deadline: Instant,
        wanted: &str,
    ) -> Result<(Position, Line), NoLine> {
        let look = |index, text: &str| from.behind(index, text, wanted);
        self.search(from.line, deadline, LastLine::AnyPart, look)
    }

    fn search<T>(
        &self,
        from: usize,
        deadline: Instant,
        last: LastLine,
        look: impl Fn(usize, &str) -> Option<T>,
    ) -> Result<(T, Line), NoLine> {
        let mut looked_at = from;
        self.wait(deadline, |state| {
            let start = looked_at.max(state.forgotten);
            looked_at = state.count().max(from);
            let unseen = state.lines.iter().skip(start - state.forgotten);
            let mut numbered = (start..).zip(unseen);
            let whole =
                numbered.find_map(|(index, line)| Some((look(index, &line.text)?, line.clone())));
            if whole.is_some() || last == LastLine::Whole {
                return whole;
            }
            let line = state.unfinished();
            Some((look(state.count(), &line.text)?, line))
        })
    }

    /// Waits until the line that has not ended ends in `prompt`.
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

    /// All kept output until now.
    pub fn text(&self) -> String {
        let state = self.lock();
        let mut text = String::new();
        for line in &state.lines {
            text.push_str(&line.text);
            text.push('\n');
        }
        text.push_str(&state.unfinished().text);
        text
    }

    /// The number of lines until now.
    pub fn len(&self) -> usize {
        self.lock().count()
    }

    /// Its end now.
    pub fn end(&self) -> Position {
        let state = self.lock();
        Position {
            line: state.count(),
            offset: state.unfinished().text.len(),
        }
    }

    /// Whether there is no whole line yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The last `count` lines until now, including one that has not ended.
    pub fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let partial = state.unfinished().text;
        let last = (!partial.is_empty()).then_some(partial.as_str());
        let whole = count.saturating_sub(usize::from(last.is_some()));
        let lines = state.lines.iter().map(|line| line.text.as_str());
        let mut tail: Vec<&str> = lines.rev().take(whole).collect();
        tail.reverse();
        tail.extend(last);
        tail.join("\n")
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
                // Reads of a pty or a socket that is torn down fail like this.
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
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    state.partial.extend_from_slice(end);
                    state.end_line();
                }
                None => state.partial.extend_from_slice(piece),
            }
            if state.partial.len() >= LINE_BYTES {
                state.end_line();
            }
        }
        self.shared.1.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The part of the line that has not ended.
    fn unfinished(&self) -> Line {
        Line {
            text: String::from_utf8_lossy(&self.partial).into_owned(),
            at: Instant::now(),
        }
    }

    fn end_line(&mut self) {
        let text = String::from_utf8_lossy(&self.partial)
            .trim_end_matches('\r')
            .to_owned();
        self.partial.clear();
        let line = Line {
            text,
            at: Instant::now(),
        };
        self.kept_bytes += line.size();
        self.lines.push_back(line);
        while self.kept_bytes > KEPT_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.kept_bytes -= oldest.size();
            self.forgotten += 1;
        }
    }

    /// The number of lines that there have been.
    fn count(&self) -> usize {
        self.forgotten + self.lines.len()
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
    fn a_line_is_found_when_it_arrives_in_pieces() {
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

    #[test]
    fn an_endless_line_is_split_and_its_oldest_pieces_dropped() {
        let endless = io::repeat(b'x').take((KEPT_BYTES + 3 * LINE_BYTES + 7) as u64);
        let transcript = Transcript::record(endless).unwrap();
        let text = transcript.wait_for_end(soon()).unwrap();
        assert!(text.len() <= KEPT_BYTES + KEPT_BYTES / LINE_BYTES + 1);
        assert_eq!(transcript.line(0, soon()), Err(NoLine::Forgotten));
        let last = transcript.len() - 1;
        assert_eq!(transcript.line(last, soon()).unwrap().text, "xxxxxxx");
        let found = transcript.find(0, soon(), |line| line.len() < LINE_BYTES);
        assert_eq!(found.unwrap().0, last);
    }

    #[test]
    fn empty_lines_are_bounded_too() {
        let transcript = Transcript::record(io::repeat(b'\n').take(3 << 20)).unwrap();
        transcript.wait_for_end(soon()).unwrap();
        assert_eq!(transcript.len(), 3 << 20);
        assert!(transcript.text().len() < 3 << 20);
    }

    #[test]
    fn the_tail_has_the_line_without_an_end() {
        let (reader, mut writer) = io::pipe().unwrap();
        let transcript = Transcript::record(reader).unwrap();
        writer.write_all(b"one\ntwo\nlogin: ").unwrap();
        transcript.wait_for_prompt("login: ", soon()).unwrap();
        assert_eq!(transcript.tail(2), "two\nlogin: ");
        assert_eq!(transcript.tail(1), "login: ");
        assert_eq!(transcript.tail(9), "one\ntwo\nlogin: ");
    }

    #[test]
    fn a_prompt_is_found_before_its_line_ends_and_not_again_behind_it() {
        let (reader, mut writer) = io::pipe().unwrap();
        let transcript = Transcript::record(reader).unwrap();
        writer.write_all(b"\xe2\x82 login: ").unwrap();
        let from = Position::default();
        let (behind, line) = transcript.find_text(from, soon(), "login:").unwrap();
        assert_eq!(line.text, "\u{fffd} login: ");
        let again = transcript.find_text(behind, Instant::now(), "login:");
        assert_eq!(again.unwrap_err(), NoLine::TimedOut);
        writer.write_all(b"root\nlogin: x\n").unwrap();
        let (_, whole) = transcript.find_line(behind, soon(), "oo").unwrap();
        assert_eq!(whole.text, "\u{fffd} login: root");
        let (next, _) = transcript.find_line(behind, soon(), "login:").unwrap();
        assert_eq!(next.line, 1);
    }
}
