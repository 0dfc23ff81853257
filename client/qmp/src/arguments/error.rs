//! Errors in a command's arguments.

use crate::introspection::listed;
use crate::suggestion;

/// An argument that cannot be sent. The message is one line that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A word that is neither form of argument.
    #[error("'{0}' is neither key=value nor a JSON object")]
    NoPair(String),
    /// A key with an empty part between its dots.
    #[error("'{0}' is no key: a part of it is empty")]
    Key(String),
    /// A key with too many dots.
    #[error("'{0}…' is deeper than any argument")]
    Depth(String),
    /// A key given twice that takes one value.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// A key given both as a value and by its members.
    #[error("'{0}' is given as a whole and in parts")]
    Mixed(String),
    /// An unknown key.
    #[error("there is no argument '{key}'{}; there are: {}",
        suggestion::question(nearest.as_deref()), listed_or_none(known))]
    Unknown {
        /// The key as it was given.
        key: String,
        /// The known key most similar to it.
        nearest: Option<String>,
        /// All keys that are known there.
        known: Vec<String>,
    },
    /// A key that another value of the tag would allow.
    #[error("'{key}' goes with {tag}={}, and not with {tag}={given}", cases.join("|"))]
    OtherBranch {
        /// The key as it was given.
        key: String,
        /// The key of the tag.
        tag: String,
        /// The tag's value.
        given: String,
        /// The values of the tag that would allow the key.
        cases: Vec<String>,
    },
    /// A required argument is missing.
    #[error("'{key}' is missing, expected: {expected}")]
    Missing {
        /// Its key.
        key: String,
        /// The expected type.
        expected: String,
    },
    /// A value of another type.
    #[error("{key}={text}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value, as given.
        text: String,
        /// The expected type.
        expected: String,
    },
    /// A value that the enumeration does not have.
    #[error("{key}={text}: expected one of {}{}", listed(known.iter().map(String::as_str)),
        suggestion::question(nearest.as_deref()))]
    Word {
        /// The key.
        key: String,
        /// Its value, as given.
        text: String,
        /// The known value most similar to it.
        nearest: Option<String>,
        /// All values.
        known: Vec<String>,
    },
    /// Text after `:=`, or in brackets, that is not JSON.
    #[error("{key}: not JSON: {reason}")]
    Json {
        /// The key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// List elements that are not numbered from 0 without a gap.
    #[error("'{key}' is a list: its elements are {key}.0, {key}.1 and so on, without a gap")]
    Index {
        /// The list's key.
        key: String,
    },
    /// A member of something that has none.
    #[error("'{key}' has no '{part}': it is {expected}")]
    NoParts {
        /// The key.
        key: String,
        /// The member.
        part: String,
        /// The expected type.
        expected: String,
    },
    /// JSON instead of arguments that is not an object.
    #[error("the arguments must be a JSON object")]
    NoObject,
    /// A JSON object together with other arguments.
    #[error("a JSON object must be the only argument")]
    NotAlone,
    /// A file that cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// The reason.
        reason: String,
    },
}

fn listed_or_none(known: &[String]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        listed(known.iter().map(String::as_str))
    }
}
