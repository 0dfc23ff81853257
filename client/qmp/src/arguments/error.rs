//! What is wrong with an argument.

use crate::introspection::listed;
use crate::suggestion;

/// An argument that cannot be sent, in one line that names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A word of another form.
    #[error("'{0}' is neither key=value nor a JSON object")]
    NoPair(String),
    /// A key with nothing before, between or behind its dots.
    #[error("'{0}' is no key: a part of it is empty")]
    Key(String),
    /// A key with too many dots.
    #[error("'{0}…' is deeper than any argument")]
    Depth(String),
    /// Something that can only be given once.
    #[error("'{0}' is given twice")]
    Twice(String),
    /// Something given as a value, and in parts too.
    #[error("'{0}' is given as a whole and in parts")]
    Mixed(String),
    /// A key that there is not.
    #[error("there is no argument '{key}'{}; there are: {}",
        suggestion::question(nearest.as_deref()), listed_or_none(known))]
    Unknown {
        /// As it was given.
        key: String,
        /// The one that looks most like it.
        nearest: Option<String>,
        /// All that could stand in its place.
        known: Vec<String>,
    },
    /// A key that goes with another value of the one that decides.
    #[error("'{key}' goes with {tag}={}, and not with {tag}={given}", cases.join("|"))]
    OtherBranch {
        /// As it was given.
        key: String,
        /// The key that decides.
        tag: String,
        /// Its value.
        given: String,
        /// The values that would allow the key.
        cases: Vec<String>,
    },
    /// Something that must be there.
    #[error("'{key}' is missing, expected: {expected}")]
    Missing {
        /// What it is called.
        key: String,
        /// What it is.
        expected: String,
    },
    /// A value of another type.
    #[error("{key}={text}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        text: String,
        /// What it should be.
        expected: String,
    },
    /// No word of an enumeration.
    #[error("{key}={text}: expected one of {}{}", listed(known.iter().map(String::as_str)),
        suggestion::question(nearest.as_deref()))]
    Word {
        /// The key.
        key: String,
        /// Its value.
        text: String,
        /// The one that looks most like it.
        nearest: Option<String>,
        /// All.
        known: Vec<String>,
    },
    /// Text behind `:=`, or in brackets, that is no JSON.
    #[error("{key}: not JSON: {reason}")]
    Json {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// Elements of a list that are not numbered from 0.
    #[error("'{key}' is a list: its elements are {key}.0, {key}.1 and so on, without a gap")]
    Index {
        /// The list.
        key: String,
    },
    /// Something in parts that has none.
    #[error("'{key}' has no '{part}': it is {expected}")]
    NoParts {
        /// The key.
        key: String,
        /// What was asked for in it.
        part: String,
        /// What it is.
        expected: String,
    },
    /// JSON that is no object, in place of all arguments.
    #[error("the arguments must be a JSON object")]
    NoObject,
    /// JSON and other arguments.
    #[error("a JSON object must be the only argument")]
    NotAlone,
    /// A file that cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// Its path.
        path: String,
        /// Why not.
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
