//! Errors in a schema, with their location.

use std::fmt;
use std::rc::Rc;

/// A line of a schema file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    file: Rc<str>,
    line: u32,
}

impl Location {
    pub(crate) fn new(file: &Rc<str>, line: u32) -> Self {
        Self {
            file: Rc::clone(file),
            line,
        }
    }

    /// The line number, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The file's name as given to the loader.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    pub(crate) fn error(&self, message: impl Into<String>) -> SchemaError {
        SchemaError {
            location: self.clone(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.file, self.line)
    }
}

/// An error in a schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {message}")]
pub struct SchemaError {
    /// The line with the error.
    pub location: Location,
    /// The reason, a sentence without its full stop.
    pub message: String,
}
