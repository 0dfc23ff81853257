//! What is wrong with an option's value.

use super::words::{nearest, suggestion};

/// What is wrong with an option's value. The option itself is named by whoever reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A part without `=`.
    #[error("'{0}' is not of the form key=value")]
    NoValue(String),
    /// A key that stands alone.
    #[error("key '{0}' needs a value: {0}=…")]
    Bare(String),
    /// A key that appears twice.
    #[error("key '{0}' is given twice")]
    Twice(String),
    /// A key that the option does not have.
    #[error("unknown key '{key}'{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// As it was given.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{key}={value}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A key that must be there.
    #[error("key '{0}' is missing")]
    Missing(&'static str),
    /// Something else, as a sentence of its own.
    #[error("{0}")]
    Other(String),
}

impl OptionError {
    /// [`OptionError::Unknown`], with the nearest of the known keys.
    pub fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Unknown {
            key: key.to_owned(),
            nearest: nearest(key, known).map(str::to_owned),
        }
    }
}
