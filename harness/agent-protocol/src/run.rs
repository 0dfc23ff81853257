//! Programs: what is asked for, and what is told of them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::text::Text;

/// The output of each stream that is kept for a client that attaches, in bytes, unless asked otherwise.
pub const KEPT_BYTES: u64 = 1 << 20;
/// The most that can be asked for.
pub const MOST_KEPT_BYTES: u64 = 64 << 20;

/// Identifies a run, from the agent's start to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub u64);

/// A program to be run. The answer is [`Started`].
///
/// Then the client sends [`Input`](crate::frame::Kind::Input) until
/// [`InputEnd`](crate::frame::Kind::InputEnd), and the agent output, and at last the [`Exit`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Run {
    /// The program, searched in the guest's `PATH` unless it has a slash, and its arguments.
    pub arguments: Vec<Text>,
    /// Variables to set beside the agent's own.
    pub environment: Vec<(Text, Text)>,
    /// Whether the agent's own variables are left out.
    pub clear_environment: bool,
    /// The working directory; by default `/`.
    pub directory: Option<Text>,
    /// Whether the client sends input. Otherwise stdin is empty.
    pub input: bool,
    /// Runs it on a terminal of this size, which joins stdout and stderr.
    pub terminal: Option<TerminalSize>,
    /// The time after which it is killed with its children, in milliseconds of the guest's clock.
    pub limit_ms: Option<u64>,
    /// The bytes of each stream that are kept for a client that attaches; by default [`KEPT_BYTES`].
    pub kept_bytes: Option<u64>,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Its height.
    pub rows: u16,
    /// Its width.
    pub columns: u16,
}

/// The answer to a [`Run`] and to an [`Attach`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Identifies the run.
    pub run: RunId,
    /// Its process in the guest.
    pub pid: u32,
}

/// Goes on with the output of a run whose connection was lost. The answer is [`Started`].
///
/// A run has one client: whoever attaches takes it over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The run.
    pub run: RunId,
    /// The agent's [`boot`](crate::hello::Hello::boot) in which it was started.
    pub boot: String,
    /// How many bytes of stdout have been received.
    pub output: u64,
    /// How many bytes of stderr have been received.
    pub errors: u64,
}

/// Sends a signal to a run's process group. `SIGKILL` kills all of its processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The run.
    pub run: RunId,
    /// The signal's number.
    pub signal: i32,
}

/// Changes the size of a run's terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resize {
    /// The run.
    pub run: RunId,
    /// The new size.
    #[serde(flatten)]
    pub size: TerminalSize,
}

/// A stream of a program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// stdout.
    Output,
    /// stderr.
    Errors,
}

/// Bytes of a stream that were not kept until they could be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The stream.
    pub stream: Stream,
    /// Their number.
    pub bytes: u64,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself, with this exit status.
    Status(i32),
    /// By a signal of this number.
    Signal(i32),
}

/// The end of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exit {
    /// How the program ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// Whether its time limit had passed.
    #[serde(default)]
    pub timed_out: bool,
    /// The time from its start to its end by the guest's clock, in microseconds.
    #[serde(default)]
    pub duration_us: u64,
}

impl Exit {
    /// The time from the program's start to its end.
    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.duration_us)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_names_its_status_or_its_signal() {
        let exit = Exit {
            ending: Ending::Status(3),
            timed_out: false,
            duration_us: 7,
        };
        let json = r#"{"status":3,"timed-out":false,"duration-us":7}"#;
        assert_eq!(serde_json::to_string(&exit).unwrap(), json);
        assert_eq!(serde_json::from_str::<Exit>(json).unwrap(), exit);
        let killed: Exit = serde_json::from_str(r#"{"signal":9,"timed-out":true}"#).unwrap();
        assert_eq!(killed.ending, Ending::Signal(9));
        assert!(killed.timed_out);
    }
}
