//! What a program has written, and how it has ended.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use faultvisor_agent_protocol::run::{Ending, Exit};

use super::error::GuestError;

/// The part of an output that an error shows, in bytes.
const SHOWN_BYTES: usize = 2000;

/// What a program has written, and how it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Output {
    /// The command as it is typed.
    pub command: String,
    /// How it ended.
    pub status: Status,
    /// All that it wrote to stdout.
    pub stdout: Vec<u8>,
    /// All that it wrote to stderr.
    pub stderr: Vec<u8>,
    /// The time from its start to its end, by the guest's clock.
    pub duration: Duration,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// By itself, with this exit status.
    Exited(i32),
    /// By a signal of this number.
    Signaled(i32),
    /// It was killed with its children when its time limit had passed.
    TimedOut,
}

impl Status {
    /// Whether it is exit status 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }

    /// The exit status, if it ended by itself.
    pub fn code(self) -> Option<i32> {
        match self {
            Self::Exited(code) => Some(code),
            Self::Signaled(_) | Self::TimedOut => None,
        }
    }

    /// The exit status of a program that ends as this one: 128 + n for a signal, 124 for the time limit, as of
    /// `docker run` and `timeout`.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128_i32.saturating_add(signal),
            Self::TimedOut => 124,
        }
    }
}

impl From<Exit> for Status {
    fn from(exit: Exit) -> Self {
        match exit.ending {
            _ if exit.timed_out => Self::TimedOut,
            Ending::Status(code) => Self::Exited(code),
            Ending::Signal(signal) => Self::Signaled(signal),
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
            Self::TimedOut => f.write_str("the end of its time limit"),
        }
    }
}

impl Output {
    /// stdout as text, without white space at its end. Bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> Cow<'_, str> {
        trimmed(&self.stdout)
    }

    /// stderr as text, as [`text`](Self::text).
    pub fn error_text(&self) -> Cow<'_, str> {
        trimmed(&self.stderr)
    }

    /// Itself, if the exit status is 0.
    ///
    /// # Errors
    ///
    /// It is not: the error shows the end of the output.
    pub fn success(self) -> Result<Self, GuestError> {
        if self.status.is_success() {
            return Ok(self);
        }
        let output = Box::new(self);
        Err(GuestError::NotSuccess { output })
    }
}

/// How it ended, and the end of what it wrote.
impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ended with {}", self.command, self.status)?;
        for (name, bytes) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            let from = bytes.len().saturating_sub(SHOWN_BYTES);
            for line in trimmed(&bytes[from..]).lines() {
                write!(f, "\n  {name}: {line}")?;
            }
        }
        Ok(())
    }
}

fn trimmed(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end()),
        Cow::Owned(text) => Cow::Owned(text.trim_end().to_owned()),
    }
}
