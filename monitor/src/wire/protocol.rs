//! The protocols of a session: QMP and JSON-RPC.

use std::fmt;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::codec;
use crate::wire::event::Form;
use crate::wire::json_rpc::{self, Message};
use crate::wire::lexer::Dialect;
use crate::wire::request::{Failure, Request};

/// The protocol of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// QEMU's.
    #[default]
    Qmp,
    /// JSON-RPC 2.0.
    JsonRpc,
}

impl Protocol {
    /// The dialect of its messages.
    pub(crate) fn dialect(self) -> Dialect {
        match self {
            Self::Qmp => Dialect::Qmp,
            Self::JsonRpc => Dialect::Json,
        }
    }

    /// Whether a message can begin with this byte: an object, or in JSON-RPC a batch.
    pub(crate) fn begins(self, byte: u8) -> bool {
        match self {
            Self::Qmp => byte == b'{',
            Self::JsonRpc => matches!(byte, b'{' | b'['),
        }
    }

    /// The form of its events.
    pub(crate) fn form(self) -> Form {
        match self {
            Self::Qmp => Form::Event,
            Self::JsonRpc => Form::Notification,
        }
    }

    /// Parses a message.
    pub(crate) fn parse(self, message: &[u8]) -> Message {
        match self {
            Self::Qmp => Message::One(Request::parse(message)),
            Self::JsonRpc => json_rpc::parse(message),
        }
    }

    /// The request that stands for an unreadable message.
    pub(crate) fn unreadable(self, error: &impl fmt::Display) -> Message {
        match self {
            Self::Qmp => Message::One(Request::unreadable(error)),
            Self::JsonRpc => json_rpc::unreadable(error),
        }
    }

    /// The answer to a request with this id, without the end of its line. A notification of JSON-RPC has none.
    pub(crate) fn answer<T: Serialize + ?Sized>(
        self,
        result: Result<&T, &Failure>,
        id: Option<&RawValue>,
    ) -> Option<serde_json::Result<Vec<u8>>> {
        match self {
            Self::Qmp => Some(codec::answer(result.map_err(|failure| &failure.error), id)),
            Self::JsonRpc => id.map(|id| json_rpc::answer(result, id)),
        }
    }

    /// The last line for a client that is turned away.
    pub(crate) fn farewell(self, failure: &Failure) -> serde_json::Result<Vec<u8>> {
        let id = (self == Self::JsonRpc).then_some(RawValue::NULL);
        let mut line = self
            .answer::<()>(Err(failure), id)
            .unwrap_or_else(|| Ok(Vec::new()))?;
        line.extend_from_slice(codec::LINE_END);
        Ok(line)
    }
}
