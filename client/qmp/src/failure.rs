//! The errors of `qmp`.

use std::io;
use std::time::Duration;

use rustyline::error::ReadlineError;

use crate::arguments::ArgumentError;
use crate::introspection::{IntrospectionError, UnknownCommand};
use crate::suggestion;
use crate::words::LineError;

/// An error, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A failed command, or the connection's end.
    #[error(transparent)]
    Session(#[from] libqmp::Error),
    /// An unknown command.
    #[error(transparent)]
    UnknownCommand(#[from] UnknownCommand),
    /// An unknown event.
    #[error("the server has no event '{name}'{}", suggestion::question(nearest.as_deref()))]
    UnknownEvent {
        /// Its name as given.
        name: String,
        /// The known event most similar to it.
        nearest: Option<String>,
    },
    /// The server's introspection is unusable.
    #[error(transparent)]
    Introspection(#[from] IntrospectionError),
    /// An invalid argument.
    #[error("{command}: {error}")]
    Argument {
        /// The command.
        command: String,
        /// The error.
        error: Box<ArgumentError>,
    },
    /// A line that ends within a quote or JSON.
    #[error(transparent)]
    Line(#[from] LineError),
    /// An invalid command line.
    #[error("{0}")]
    Usage(String),
    /// Too few events in the given time.
    #[error("{seen} of {count} events within {within:?}")]
    TooFew {
        /// How many arrived.
        seen: u64,
        /// How many were expected.
        count: u64,
        /// The time given.
        within: Duration,
    },
    /// Too few events before the machine shut down.
    #[error("{seen} of {count} events before the machine shut down")]
    ShutDown {
        /// How many arrived.
        seen: u64,
        /// How many were expected.
        count: u64,
    },
    /// A system call failed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The terminal cannot be read.
    #[error(transparent)]
    Terminal(#[from] ReadlineError),
}

impl Failure {
    /// Whether the reader of the output is gone, which is not an error.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the connection has ended.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Session(libqmp::Error::Closed { .. }))
    }

    /// The exit status: 2 for an invalid command line, 1 for everything else.
    pub fn status(&self) -> u8 {
        match self {
            Self::Argument { .. } | Self::Line(_) | Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
