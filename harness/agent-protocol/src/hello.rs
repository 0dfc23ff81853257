//! The beginning of a connection: which versions of the protocol a side speaks.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, FailureKind};

/// The name of the protocol.
pub const PROTOCOL: &str = "faultvisor-agent";
/// The versions of this crate.
pub const VERSIONS: Versions = Versions {
    oldest: 1,
    newest: 1,
};

/// A range of versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The oldest one that is understood.
    pub oldest: u32,
    /// The newest one.
    pub newest: u32,
}

impl Versions {
    /// The newest version that both sides speak.
    pub fn common(self, other: Self) -> Option<u32> {
        let newest = self.newest.min(other.newest);
        (newest >= self.oldest.max(other.oldest)).then_some(newest)
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.oldest == self.newest {
            write!(f, "version {}", self.newest)
        } else {
            write!(f, "versions {} to {}", self.oldest, self.newest)
        }
    }
}

/// The first message of each side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`PROTOCOL`].
    pub protocol: String,
    /// The versions that the side speaks.
    #[serde(flatten)]
    pub versions: Versions,
    /// The program and its version, for a person.
    pub software: String,
    /// Of an agent: identifies this start of it, so that a guest that was started again is told from the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<String>,
}

impl Hello {
    /// The hello of a side that speaks what this crate does.
    pub fn of(software: impl Into<String>) -> Self {
        Self {
            protocol: PROTOCOL.to_owned(),
            versions: VERSIONS,
            software: software.into(),
            boot: None,
        }
    }

    /// The version to speak with the other side.
    ///
    /// # Errors
    ///
    /// There is none: the failure names both sides' versions.
    pub fn agree(&self, other: &Self) -> Result<u32, Failure> {
        if other.protocol != PROTOCOL {
            let message = format!("'{}' is not the protocol '{PROTOCOL}'", other.protocol);
            return Err(Failure::new(FailureKind::Version, message));
        }
        self.versions.common(other.versions).ok_or_else(|| {
            let (ours, theirs) = (self.versions, other.versions);
            let (here, there) = (&self.software, &other.software);
            let message = format!(
                "no common version of the agent's protocol: {here} speaks {ours}, {there} {theirs}"
            );
            Failure::new(FailureKind::Version, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(software: &str, oldest: u32, newest: u32) -> Hello {
        let versions = Versions { oldest, newest };
        Hello {
            versions,
            ..Hello::of(software)
        }
    }

    #[test]
    fn the_newest_common_version_is_spoken() {
        let agent = hello("agent", 2, 5);
        assert_eq!(agent.agree(&hello("host", 1, 3)), Ok(3));
        assert_eq!(agent.agree(&hello("host", 5, 9)), Ok(5));
        let error = agent.agree(&hello("host", 6, 7)).unwrap_err();
        assert_eq!(error.kind, FailureKind::Version);
        let expected = "no common version of the agent's protocol: agent speaks versions 2 to 5, host versions 6 to 7";
        assert_eq!(error.message, expected);
    }

    #[test]
    fn a_hello_is_readable_and_may_have_more_members() {
        let json =
            r#"{"protocol":"faultvisor-agent","oldest":1,"newest":1,"software":"fvctl 0.1.0"}"#;
        let hello: Hello = serde_json::from_str(json).unwrap();
        assert_eq!(hello, Hello::of("fvctl 0.1.0"));
        assert_eq!(serde_json::to_string(&hello).unwrap(), json);
        let more = json.replace('}', r#","mood":"good"}"#);
        assert_eq!(serde_json::from_str::<Hello>(&more).unwrap(), hello);
    }
}
