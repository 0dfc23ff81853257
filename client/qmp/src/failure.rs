//! Why something was not done.

use std::io;
use std::time::Duration;

use rustyline::error::ReadlineError;

use crate::arguments::ArgumentError;
use crate::introspection::{IntrospectionError, UnknownCommand};
use crate::suggestion;
use crate::words::LineError;

/// A failure, in one line.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command's, or the connection's.
    #[error(transparent)]
    Session(#[from] libqmp::Error),
    /// There is no such command.
    #[error(transparent)]
    UnknownCommand(#[from] UnknownCommand),
    /// There is no such event.
    #[error("the server has no event '{name}'{}", suggestion::question(nearest.as_deref()))]
    UnknownEvent {
        /// What it was called.
        name: String,
        /// The event that is called most like it.
        nearest: Option<String>,
    },
    /// The server does not say what it has.
    #[error(transparent)]
    Introspection(#[from] IntrospectionError),
    /// An argument does not fit.
    #[error("{command}: {error}")]
    Argument {
        /// The command.
        command: String,
        /// What does not fit.
        error: Box<ArgumentError>,
    },
    /// A line that has no end.
    #[error(transparent)]
    Line(#[from] LineError),
    /// Something was asked for that there is not.
    #[error("{0}")]
    Usage(String),
    /// Too few events came.
    #[error("{seen} of {count} events within {within:?}")]
    TooFew {
        /// How many came.
        seen: u64,
        /// How many were to come.
        count: u64,
        /// How long was waited.
        within: Duration,
    },
    /// Too few events came before the machine shut down.
    #[error("{seen} of {count} events before the machine shut down")]
    ShutDown {
        /// How many came.
        seen: u64,
        /// How many were to come.
        count: u64,
    },
    /// The system refused something.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The terminal cannot be read.
    #[error(transparent)]
    Terminal(#[from] ReadlineError),
}

impl Failure {
    /// Whether it is that nobody reads what is written any more, which is nobody's failure.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::System(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the connection is gone.
    pub fn is_end(&self) -> bool {
        matches!(self, Self::Session(libqmp::Error::Closed { .. }))
    }

    /// The exit status: 2 for what was asked wrongly, 1 for the rest.
    pub fn status(&self) -> u8 {
        match self {
            Self::Argument { .. } | Self::Line(_) | Self::Usage(_) => 2,
            _ => 1,
        }
    }
}
