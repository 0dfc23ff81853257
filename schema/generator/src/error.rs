//! Where a schema is wrong, and why.

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

    /// The line, counted from one.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// The file as it was named to the loader.
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

/// What is wrong with a schema, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{location}: {message}")]
pub struct SchemaError {
    /// The line that is wrong.
    pub location: Location,
    /// Why, as a sentence without its full stop.
    pub message: String,
}
