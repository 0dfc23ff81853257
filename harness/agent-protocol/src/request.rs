//! Requests: one a connection.

use serde::{Deserialize, Serialize};

use crate::run::{Attach, Resize, Run, Signal};
use crate::text::Text;

/// What a client asks of the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// Runs a program.
    Run(Run),
    /// Goes on with a run whose connection was lost.
    Attach(Attach),
    /// Sends a signal to a run.
    Signal(Signal),
    /// Changes the size of a run's terminal.
    Resize(Resize),
    /// Copies files into the guest.
    CopyIn(CopyIn),
    /// Copies files out of the guest.
    CopyOut(CopyOut),
    /// Connects to a TCP port of the guest's.
    Tcp(Tcp),
    /// Writes a line into the kernel's log.
    Mark(Mark),
    /// Ends the guest.
    Power(Power),
    /// Describes the guest and its agent.
    Info(Info),
}

/// Copies a file or a tree into the guest: [entries](Entry) with their content follow, and an
/// [`End`](crate::frame::Kind::End). The answer, [`Copied`], comes when all of it is in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyIn {
    /// The destination. If it is a directory, or ends with a slash, the source gets its own name in it.
    pub to: Text,
    /// The source's own name.
    pub name: Text,
}

/// Copies a file or a tree out of the guest: [entries](Entry) with their content follow, and an
/// [`End`](crate::frame::Kind::End).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct CopyOut {
    /// What to copy.
    pub from: Text,
}

/// The answer to a [`CopyIn`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Copied {
    /// The number of files.
    pub files: u64,
    /// The bytes in them.
    pub bytes: u64,
}

/// A file, a directory or a symbolic link of a tree, before what is in it. The root is no symbolic link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// The path below the tree's root, which is empty itself, with slashes in between.
    pub path: Text,
    /// What it is.
    pub content: Content,
    /// The permissions, of which only the lower twelve bits are used. Those of a symbolic link mean nothing.
    pub mode: u32,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// A file of so many bytes, which follow in frames.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Link(Text),
}

impl Entry {
    /// The names of its path, none for the root; `None` if one of them leaves the tree or is no name.
    pub fn names(&self) -> Option<Vec<&[u8]>> {
        let path = self.path.as_bytes();
        if path.is_empty() {
            return Some(Vec::new());
        }
        let is_name = |name: &&[u8]| {
            !name.is_empty() && *name != b"." && *name != b".." && !name.contains(&0)
        };
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').collect();
        names.iter().all(is_name).then_some(names)
    }
}

/// Connects to a TCP port on the guest's loopback. After the answer the connection carries the stream itself, without
/// frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// The port.
    pub port: u16,
}

/// Writes a line into the guest kernel's log. The answer comes when it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The line.
    pub text: String,
}

/// Ends the guest after a sync of its file systems. The answer comes before its effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Power {
    /// How it ends.
    pub action: PowerAction,
}

/// How a guest ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PowerAction {
    /// It powers off.
    Off,
    /// It starts again.
    Reboot,
}

/// Asks what the guest and its agent are. The answer is [`Description`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Info {}

/// The guest and its agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    /// The kernel's release, as of `uname -r`.
    pub kernel: String,
    /// Whether the agent is the guest's init.
    pub is_init: bool,
    /// The number of programs that run.
    pub runs: u64,
}

/// The answer of a request without results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Empty {}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            path: path.into(),
            content: Content::Directory,
            mode: 0o755,
        }
    }

    #[test]
    fn a_path_of_an_entry_stays_below_the_root() {
        assert_eq!(entry("").names(), Some(vec![]));
        assert_eq!(entry("a/..b").names().unwrap().len(), 2);
        for path in ["..", "a/../b", "/etc", "a//b", "a/", ".", "a/./b", "a\0b"] {
            assert_eq!(entry(path).names(), None, "{path:?}");
        }
    }

    #[test]
    fn a_request_has_only_what_it_needs() {
        let json = r#"{"run": {"arguments": ["true"]}}"#;
        let Request::Run(run) = serde_json::from_str(json).unwrap() else {
            unreachable!("it is a run");
        };
        assert_eq!(run.arguments, [Text::from("true")]);
        assert_eq!((run.input, run.limit_ms), (false, None));
        let unknown = serde_json::from_str::<Request>(r#"{"dance": {}}"#);
        let error = unknown.unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `dance`"), "{error}");
    }
}
