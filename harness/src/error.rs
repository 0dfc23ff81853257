//! Failures of a machine, with the output that a person needs to understand them.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::guest::GuestError;
use crate::transcript::{NoLine, Transcript};

/// How many lines of an output an error shows.
const LINES: usize = 10;
/// How much of a line.
const CHARACTERS: usize = 160;

/// A machine did not do what a test waited for.
///
/// A test that returns one shows it by [`Debug`], which is therefore as readable as [`Display`](fmt::Display): the
/// message, the errors below it, and the last lines of the machine's output.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its program could not be started.
    #[error("cannot start '{command}'")]
    Start {
        /// Its command line.
        command: String,
        /// The host's error.
        #[source]
        source: io::Error,
    },
    /// A text did not appear.
    #[error("no '{wanted}' on the serial console within {within:?}: {why}{said}")]
    NoText {
        /// What was waited for.
        wanted: String,
        /// For how long.
        within: Duration,
        /// Whether the output ended, or the time.
        why: NoLine,
        /// The output instead.
        said: Said,
    },
    /// The machine did not read what was typed.
    #[error("cannot type on the serial console{said}")]
    Type {
        /// The host's error.
        #[source]
        source: io::Error,
        /// Its output until then.
        said: Said,
    },
    /// It did not end.
    #[error("the machine still runs after {within:?}{said}")]
    StillRuns {
        /// How long it was waited for.
        within: Duration,
        /// Its output.
        said: Said,
    },
    /// It ended otherwise than expected.
    #[error("the machine ended with {status}, not {expected}{said}")]
    Status {
        /// Its exit status.
        status: ExitStatus,
        /// The expected exit status.
        expected: i32,
        /// Its output.
        said: Said,
    },
    /// It ended before its monitor answered.
    #[error("the machine ended with {status} before its monitor answered{said}")]
    EndedEarly {
        /// Its exit status.
        status: ExitStatus,
        /// Its output.
        said: Said,
    },
    /// Its process could not be waited for or killed.
    #[error("cannot {what} the machine's process")]
    Process {
        /// The verb.
        what: &'static str,
        /// The host's error.
        #[source]
        source: io::Error,
    },
    /// Something in the machine's own directory could not be created.
    #[error("cannot make '{path}'")]
    Make {
        /// What.
        path: PathBuf,
        /// The host's error.
        #[source]
        source: io::Error,
    },
    /// Its monitor failed.
    #[error(transparent)]
    Qmp(#[from] libqmp::Error),
    /// An operation in its guest failed.
    #[error("{error}{said}")]
    Guest {
        /// Why.
        #[source]
        error: Box<GuestError>,
        /// The machine's output, if the guest has ended.
        said: Said,
    },
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&chain(self))
    }
}

impl From<GuestError> for Error {
    fn from(error: GuestError) -> Self {
        Self::Guest {
            error: Box::new(error),
            said: Said::default(),
        }
    }
}

/// An error and those below it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let under = error.to_string();
        // Some messages contain the error below already.
        if !text.contains(&under) {
            text.push_str(": ");
            text.push_str(&under);
        }
        source = error.source();
    }
    text
}

/// The last lines of a machine's output, each on a line of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Of its serial console.
    pub console: String,
    /// Of stderr.
    pub stderr: String,
}

impl Said {
    /// The output until now.
    pub fn until_now(console: &Transcript, stderr: &Transcript) -> Self {
        Self {
            console: last_lines(&console.tail(LINES)),
            stderr: last_lines(&stderr.tail(LINES)),
        }
    }
}

/// The lines that are not empty, each cut to its beginning.
fn last_lines(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let starts = lines.map(|line| match line.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    });
    starts.collect::<Vec<_>>().join("\n")
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, text) in [("console", &self.console), ("stderr", &self.stderr)] {
            for line in text.lines() {
                write!(f, "\n  {name}: {line}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_the_machines_output_and_its_sources() {
        let said = Said {
            console: last_lines("one\n\ntwo"),
            stderr: last_lines(&"ä".repeat(10_000)),
        };
        let error = Error::Type {
            source: io::ErrorKind::BrokenPipe.into(),
            said,
        };
        let shown = format!("{error:?}");
        let expected =
            "cannot type on the serial console\n  console: one\n  console: two\n  stderr: äää";
        assert!(shown.starts_with(expected), "{shown}");
        assert!(shown.ends_with("ä…: broken pipe"), "{shown}");
        assert!(shown.chars().count() < 300);
    }
}
