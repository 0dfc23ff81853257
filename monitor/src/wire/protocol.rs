//! The protocols of a session: QMP, whose requests and answers are here, and JSON-RPC (`json_rpc`).

use std::fmt;

use faultvisor_schema::CommandError;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::codec::{self, ascii};
use crate::wire::event::Form;
use crate::wire::json::{self, Members, Strict};
use crate::wire::json_rpc::{self, Message};
use crate::wire::lexer::Dialect;
use crate::wire::request::{Band, Call, Failure, Request, Stage, unexpected_member};

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
            Self::Qmp => Some(answer(result.map_err(|failure| &failure.error), id)),
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

/// The answer to a request, without the end of its line.
fn answer<T: Serialize + ?Sized>(
    result: Result<&T, &CommandError>,
    id: Option<&RawValue>,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Answer<'a, T: ?Sized> {
        #[serde(rename = "return", skip_serializing_if = "Option::is_none")]
        value: Option<&'a T>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a CommandError>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'a RawValue>,
    }
    codec::encode(&Answer {
        value: result.ok(),
        error: result.err(),
        id,
    })
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
    fn an_invalid_request_is_described() {
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

    #[test]
    fn server_output_is_one_line_of_ascii() {
        let value = "a\"\\\n\u{1}\u{7f}ä€𝄞".to_owned();
        let body = answer(Ok(&value), None).unwrap();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(codec::is_plain(text), "{text}");
        assert!(text.contains("\\ud834\\udd1e"));
        let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(read["return"], value);
    }
}
