//! What can go wrong with a machine, with what a person needs to see of it.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::transcript::{NoLine, Transcript};

/// How much of an output an error shows.
const LINES: usize = 10;
/// How much of a line.
const CHARACTERS: usize = 160;

/// Why a machine did not do what a test waited for.
///
/// A test that returns one is shown it by [`Debug`], which is therefore as readable as [`Display`](fmt::Display): the
/// message, the errors under it, and the last lines of what the machine said.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its program could not be started.
    #[error("cannot start '{command}'")]
    Start {
        /// Its command line.
        command: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// A text did not come.
    #[error("no '{wanted}' on the serial console within {within:?}: {why}{said}")]
    NoText {
        /// What was waited for.
        wanted: String,
        /// How long.
        within: Duration,
        /// Whether the output ended or the time.
        why: NoLine,
        /// What came instead.
        said: Said,
    },
    /// What was typed did not reach the machine.
    #[error("cannot type on the serial console{said}")]
    Type {
        /// What the kernel said.
        #[source]
        source: io::Error,
        /// What the machine said until then.
        said: Said,
    },
    /// It did not end.
    #[error("the machine still runs after {within:?}{said}")]
    StillRuns {
        /// How long was waited.
        within: Duration,
        /// What it said.
        said: Said,
    },
    /// It ended otherwise than expected.
    #[error("the machine ended with {status}, not {expected}{said}")]
    Status {
        /// How it ended.
        status: ExitStatus,
        /// The expected exit status.
        expected: i32,
        /// What it said.
        said: Said,
    },
    /// It ended before its monitor answered.
    #[error("the machine ended with {status} before its monitor answered{said}")]
    EndedEarly {
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        said: Said,
    },
    /// Its process could not be waited for or killed.
    #[error("cannot {what} the machine's process")]
    Process {
        /// The verb.
        what: &'static str,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Something in the machine's own directory could not be made.
    #[error("cannot make '{path}'")]
    Make {
        /// What.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Its monitor did not do what it should.
    #[error(transparent)]
    Qmp(#[from] libqmp::Error),
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            let under = error.to_string();
            // Some say themselves what is under them.
            if !text.contains(&under) {
                text.push_str(": ");
                text.push_str(&under);
            }
            source = error.source();
        }
        f.write_str(&text)
    }
}

/// The last lines of what a machine said, each on a line of its own.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// On its serial console.
    pub console: String,
    /// On stderr.
    pub stderr: String,
}

impl Said {
    /// What was said until now.
    pub fn until_now(console: &Transcript, stderr: &Transcript) -> Self {
        Self {
            console: last_lines(&console.tail(LINES)),
            stderr: last_lines(&stderr.tail(LINES)),
        }
    }
}

/// Lines that say something, the start of each.
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
    fn an_error_shows_what_the_machine_said_and_what_is_under_it() {
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
