//! Requests, independent of the protocol.

use faultvisor_schema::CommandError;
use serde_json::value::RawValue;

/// A request, well-formed or not.
#[derive(Debug)]
pub(crate) struct Request {
    /// The client's id for the answer, as spelled.
    pub(crate) id: Option<Box<RawValue>>,
    /// The call, or why there is none.
    pub(crate) call: Result<Call, Failure>,
}

/// A call. Its arguments are an object, and are decoded when it is executed.
#[derive(Debug)]
pub(crate) enum Call {
    /// A command by name.
    Command {
        name: String,
        arguments: Option<Box<RawValue>>,
        band: Band,
    },
    /// A subscription, named by the request's id.
    Subscribe {
        event: String,
        arguments: Option<Box<RawValue>>,
    },
    /// The end of one.
    Unsubscribe { event: String },
}

/// Whether a command is executed in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Band {
    /// `execute`: in order.
    In,
    /// `exec-oob`: ahead of those in order.
    Out,
}

/// A request failed, at this stage, which JSON-RPC reports.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) error: CommandError,
}

/// The stage of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is not JSON.
    Text,
    /// It is not a request.
    Request,
    /// The command does not exist, or its arguments are wrong.
    Command,
    /// It was executed.
    Execution,
}

impl Stage {
    /// A failure at this stage.
    pub(crate) fn failure(self, error: CommandError) -> Failure {
        Failure { stage: self, error }
    }
}

impl Request {
    /// Whether it is out of band.
    pub(crate) fn is_out_of_band(&self) -> bool {
        matches!(
            self.call,
            Ok(Call::Command {
                band: Band::Out,
                ..
            })
        )
    }
}

/// The error for a member that requests do not have, or not in this session.
pub(crate) fn unexpected_member(name: &str) -> CommandError {
    CommandError::generic(format!("QMP input member '{name}' is unexpected"))
}
