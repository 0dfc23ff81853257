//! Failures of operations in a guest.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::frame::FrameError;

use super::output::Output;

/// An operation in a guest failed.
///
/// Its [`Debug`] is as readable as its message, for a test that returns it.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// The machine has no vsock device.
    #[error("the machine has no agent to ask: start it with Builder::vsock")]
    NoVsock,
    /// The agent did not start in time.
    #[error("the guest's agent is not ready within {within:?}")]
    NotReady {
        /// How long it was waited for.
        within: Duration,
    },
    /// The guest or its machine has ended, or was started again.
    #[error("{operation}: {why}")]
    Ended {
        /// What was going on.
        operation: String,
        /// What has happened.
        why: String,
    },
    /// The connection was lost, for a reason that is not known.
    #[error("{operation}: the connection to the guest's agent was lost")]
    Lost {
        /// What was going on.
        operation: String,
    },
    /// The socket of the machine's vsock device cannot be connected to.
    #[error("cannot connect to '{path}'")]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The host's error.
        #[source]
        source: io::Error,
    },
    /// Nothing in the guest listens on a vsock port.
    #[error("nothing in the guest listens on vsock port {port}")]
    NobodyListens {
        /// The port.
        port: u32,
    },
    /// The agent says that it failed.
    #[error("{operation}: {failure}")]
    Failed {
        /// What was asked for.
        operation: String,
        /// Why it failed.
        failure: Failure,
    },
    /// The agent took too long to answer.
    #[error("{operation}: no answer of the guest's agent within {within:?}")]
    NoAnswer {
        /// What was asked for.
        operation: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The agent does not speak the protocol.
    #[error("{operation}: the guest's agent does not follow the protocol")]
    Protocol {
        /// What was going on.
        operation: String,
        /// What is wrong.
        #[source]
        source: FrameError,
    },
    /// A program ended otherwise than expected.
    #[error("{output}")]
    NotSuccess {
        /// How it ended, with its output.
        output: Box<Output>,
    },
    /// A program wrote more than is kept in memory.
    #[error("{operation}: more than {bytes} bytes of output")]
    TooMuchOutput {
        /// The program.
        operation: String,
        /// The bound.
        bytes: usize,
    },
    /// Something on the host failed.
    #[error("{operation}")]
    Host {
        /// What was done.
        operation: String,
        /// The host's error.
        #[source]
        source: io::Error,
    },
}

impl fmt::Debug for GuestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&crate::error::chain(self))
    }
}

impl GuestError {
    /// The kind of the agent's failure, if it is one.
    pub fn kind(&self) -> Option<FailureKind> {
        match self {
            Self::Failed { failure, .. } => Some(failure.kind),
            _ => None,
        }
    }

    pub(crate) fn failed(operation: &str, failure: Failure) -> Self {
        Self::Failed {
            operation: operation.to_owned(),
            failure,
        }
    }
}
