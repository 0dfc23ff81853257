//! Why an operation failed, as one line and as a kind that a program can test.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The two sides have no common version.
    Version,
    /// A frame or a message is not one of the protocol.
    Malformed,
    /// The agent is at a bound of its own, such as that on connections.
    Busy,
    /// There is no such program.
    NoSuchProgram,
    /// The file cannot be executed.
    NotExecutable,
    /// The program's interpreter, or its dynamic loader, is not there.
    NoInterpreter,
    /// There is no such directory.
    NoSuchDirectory,
    /// There is no such file.
    NoSuchFile,
    /// There is no such run: it has ended and was forgotten, or the guest was started again meanwhile.
    NoSuchRun,
    /// The program does not end although it was killed, by its time limit or by request.
    Unkillable,
    /// A file system, or a quota, is full.
    NoSpace,
    /// A path leaves the directory that is copied to.
    OutsideDestination,
    /// Nothing in the guest listens on the port.
    Refused,
    /// The guest's system refuses the operation.
    System,
    /// A kind that only a newer agent knows.
    #[serde(other)]
    Other,
}

/// The failure of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub struct Failure {
    /// What kind it is.
    pub kind: FailureKind,
    /// One line for a person, which names the thing and the value.
    pub message: String,
}

impl Failure {
    /// The longest message in bytes.
    pub const MESSAGE_BYTES: usize = 4096;

    /// A failure whose message is one line of bounded length.
    pub fn new(kind: FailureKind, message: impl fmt::Display) -> Self {
        let mut message = message.to_string().replace(['\n', '\r'], " ");
        if message.len() > Self::MESSAGE_BYTES {
            let mut end = Self::MESSAGE_BYTES;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
            message.push('…');
        }
        Self { kind, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line_of_bounded_length() {
        let failure = Failure::new(FailureKind::System, "ä\n".repeat(10_000));
        assert!(failure.message.len() < Failure::MESSAGE_BYTES + 4);
        assert!(failure.message.starts_with("ä ä "), "{failure}");
    }

    #[test]
    fn a_kind_of_a_newer_agent_is_still_a_failure() {
        let json = r#"{"kind": "moon-phase", "message": "not today", "more": 1}"#;
        let failure: Failure = serde_json::from_str(json).unwrap();
        assert_eq!(failure.kind, FailureKind::Other);
        assert_eq!(failure.to_string(), "not today");
    }
}
