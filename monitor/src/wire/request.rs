//! Requests, independent of the protocol; and their form in QMP.

use std::fmt;

use faultvisor_schema::CommandError;
use serde_json::value::RawValue;

use crate::wire::codec::ascii;
use crate::wire::json::{self, Members, Strict};

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
    /// Parses a message in QMP.
    pub(crate) fn parse(message: &[u8]) -> Self {
        let mut id = None;
        let call = members(message).and_then(|members| {
            for (name, value) in &members.0 {
                if name == "id" {
                    id = RawValue::from_string(ascii(value.get())).ok();
                }
            }
            call(members).map_err(|error| Stage::Request.failure(error))
        });
        Self { id, call }
    }

    /// The request that stands for an unreadable message.
    pub(crate) fn unreadable(error: &impl fmt::Display) -> Self {
        let error = CommandError::generic(error.to_string());
        Self {
            id: None,
            call: Err(Stage::Text.failure(error)),
        }
    }

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

fn members(message: &[u8]) -> Result<Members, Failure> {
    let in_text = |error| Stage::Text.failure(error);
    let text = json::text(message).map_err(in_text)?;
    if message.first() == Some(&b'{') {
        return json::read(text).map_err(in_text);
    }
    // Invalid JSON has its own error, and other JSON values another one.
    json::read::<Strict>(text).map_err(in_text)?;
    let error = CommandError::generic("QMP input must be a JSON object");
    Err(Stage::Request.failure(error))
}

fn call(members: Members) -> Result<Call, CommandError> {
    const ACTIONS: [&str; 4] = ["execute", "exec-oob", "subscribe", "unsubscribe"];
    let mut action: Option<(&str, String)> = None;
    let mut arguments = None;
    for (name, value) in members.0 {
        if let Some(verb) = ACTIONS.into_iter().find(|verb| *verb == name) {
            if let Some((other, _)) = action {
                let message =
                    format!("QMP input members '{other}' and '{verb}' exclude each other");
                return Err(CommandError::generic(message));
            }
            let text: String =
                json::read(value.get()).map_err(|_| wrong_member(&name, "a string"))?;
            action = Some((verb, text));
        } else if name == "arguments" {
            arguments = Some(value);
        } else if name != "id" {
            return Err(unexpected_member(&name));
        }
    }
    if arguments
        .as_ref()
        .is_some_and(|a| !a.get().starts_with('{'))
    {
        return Err(wrong_member("arguments", "an object"));
    }
    let command = |name, band, arguments| Call::Command {
        name,
        arguments,
        band,
    };
    match action {
        None => Err(CommandError::generic("QMP input lacks member 'execute'")),
        Some(("execute", name)) => Ok(command(name, Band::In, arguments)),
        Some(("exec-oob", name)) => Ok(command(name, Band::Out, arguments)),
        Some(("subscribe", event)) => Ok(Call::Subscribe { event, arguments }),
        Some(_) if arguments.is_some() => Err(unexpected_member("arguments")),
        Some((_, event)) => Ok(Call::Unsubscribe { event }),
    }
}

fn wrong_member(name: &str, expected: &str) -> CommandError {
    CommandError::generic(format!("QMP input member '{name}' must be {expected}"))
}

/// The error for a member that requests do not have, or not in this session.
pub(crate) fn unexpected_member(name: &str) -> CommandError {
    CommandError::generic(format!("QMP input member '{name}' is unexpected"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> String {
        Request::parse(message.as_bytes())
            .call
            .unwrap_err()
            .error
            .desc
    }

    #[test]
    fn an_id_is_echoed_as_it_was_spelled() {
        for id in [
            "1e3",
            "123456789012345678901234567890",
            "1.50",
            "null",
            r#"{"b": 1, "a": [2]}"#,
        ] {
            let message = format!(r#"{{"execute": "stop", "id": {id}}}"#);
            let request = Request::parse(message.as_bytes());
            assert_eq!(request.id.unwrap().get(), id);
            assert!(request.call.is_ok());
        }
    }

    #[test]
    fn an_id_is_echoed_in_ascii() {
        let request = Request::parse("{\"execute\": \"stop\", \"id\": \"ä𝄞\"}".as_bytes());
        assert_eq!(request.id.unwrap().get(), r#""\u00e4\ud834\udd1e""#);
    }

    #[test]
    fn a_request_that_is_wrong_keeps_its_id() {
        let request = Request::parse(br#"{"execute": 5, "id": 7}"#);
        assert_eq!(request.id.unwrap().get(), "7");
        assert!(request.call.is_err());
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused("[1]"), "QMP input must be a JSON object");
        assert_eq!(refused("{}"), "QMP input lacks member 'execute'");
        assert_eq!(
            refused(r#"{"execute": 5}"#),
            "QMP input member 'execute' must be a string"
        );
        assert_eq!(
            refused(r#"{"execute": "stop", "arguments": []}"#),
            "QMP input member 'arguments' must be an object"
        );
        assert_eq!(
            refused(r#"{"execute": "stop", "foo": 1}"#),
            "QMP input member 'foo' is unexpected"
        );
        assert_eq!(
            refused(r#"{"execute": "stop", "exec-oob": "stop"}"#),
            "QMP input members 'execute' and 'exec-oob' exclude each other"
        );
        assert_eq!(
            refused(r#"{"unsubscribe": "STOP", "arguments": {}}"#),
            "QMP input member 'arguments' is unexpected"
        );
        assert!(refused(r#"{"execute": "stop", "execute": "quit"}"#).contains("duplicate key"));
        assert!(refused("{\"execute\"}").starts_with("JSON parse error, "));
        assert!(refused("foo").starts_with("JSON parse error, "));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_an_error() {
        let request = Request::parse(b"{\"execute\": \"\xc0\x80\"}");
        assert_eq!(
            request.call.unwrap_err().error.desc,
            "JSON parse error, invalid UTF-8"
        );
    }
}
