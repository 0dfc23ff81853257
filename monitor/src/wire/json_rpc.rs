//! JSON-RPC 2.0: the same requests and answers in another spelling (docs/protocol.md, section 11;
//! <https://www.jsonrpc.org/specification>).

use faultvisor_schema::{CommandError, ErrorClass};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::wire::codec::{self, ascii};
use crate::wire::json::{self, Members};
use crate::wire::request::{Band, Call, Failure, Request, Stage};

/// Most requests of a batch: their answers are kept until the last one is complete.
const BATCH_LIMIT: usize = 1000;

/// A message: one request, or a batch.
#[derive(Debug)]
pub(crate) enum Message {
    One(Request),
    Batch(Vec<Request>),
}

/// Parses a message.
pub(crate) fn parse(message: &[u8]) -> Message {
    let in_text = |error| Message::One(refused(None, Stage::Text.failure(error)));
    let text = match json::text(message) {
        Ok(text) => text,
        Err(error) => return in_text(error),
    };
    if message.first() != Some(&b'[') {
        return match json::read::<Box<RawValue>>(text) {
            Ok(value) => Message::One(request(&value)),
            Err(error) => in_text(error),
        };
    }
    match json::read::<Vec<Box<RawValue>>>(text) {
        Err(error) => in_text(error),
        Ok(batch) if batch.is_empty() => Message::One(invalid(None, "A batch must not be empty")),
        Ok(batch) if batch.len() > BATCH_LIMIT => {
            let message = format!("A batch must not have more than {BATCH_LIMIT} requests");
            Message::One(invalid(None, &message))
        }
        Ok(batch) => Message::Batch(batch.iter().map(|value| request(value)).collect()),
    }
}

/// The request that stands for an unreadable message.
pub(crate) fn unreadable(error: &impl std::fmt::Display) -> Message {
    let error = CommandError::generic(error.to_string());
    Message::One(refused(None, Stage::Text.failure(error)))
}

/// A request that cannot be executed. Without a readable id, the answer's is null.
fn refused(id: Option<Box<RawValue>>, failure: Failure) -> Request {
    Request {
        id: Some(id.unwrap_or_else(|| RawValue::NULL.to_owned())),
        call: Err(failure),
    }
}

fn invalid(id: Option<Box<RawValue>>, message: &str) -> Request {
    refused(id, Stage::Request.failure(CommandError::generic(message)))
}

fn request(value: &RawValue) -> Request {
    if !value.get().starts_with('{') {
        return invalid(None, "A request must be a JSON object");
    }
    let members: Members = match json::read(value.get()) {
        Ok(members) => members,
        Err(error) => return refused(None, Stage::Request.failure(error)),
    };
    let spelled = members.0.iter().find(|(name, _)| name == "id");
    let id = match spelled.map(|(_, value)| value.get()) {
        None => None,
        Some(id) if is_id(id) => RawValue::from_string(ascii(id)).ok(),
        Some(_) => return invalid(None, "Member 'id' must be a string, a number or null"),
    };
    let (mut version, mut method, mut params) = (None, None, None);
    for (name, value) in members.0 {
        match name.as_str() {
            "jsonrpc" => version = json::read::<String>(value.get()).ok(),
            "method" => method = json::read::<String>(value.get()).ok(),
            "params" => params = Some(value),
            "id" => {}
            _ => return invalid(id, &format!("Member '{name}' is unexpected")),
        }
    }
    if version.as_deref() != Some("2.0") {
        return invalid(id, "Member 'jsonrpc' must be \"2.0\"");
    }
    let Some(name) = method else {
        return invalid(id, "Member 'method' must be a string");
    };
    let call =
        match params {
            Some(params) if params.get().starts_with('[') => {
                // No command has arguments by position; an empty array has none.
                match json::read::<Vec<Box<RawValue>>>(params.get()) {
                    Ok(none) if none.is_empty() => Ok(None),
                    _ => Err(Stage::Command
                        .failure(CommandError::generic("Parameters are passed by name"))),
                }
            }
            Some(params) if !params.get().starts_with('{') => {
                return invalid(id, "Member 'params' must be an object or an array");
            }
            params => Ok(params),
        };
    Request {
        id,
        call: call.map(|arguments| Call::Command {
            name,
            arguments,
            band: Band::In,
        }),
    }
}

/// Whether a JSON value is a string, a number or null.
fn is_id(value: &str) -> bool {
    value == "null" || value.starts_with(|first: char| matches!(first, '"' | '-' | '0'..='9'))
}

/// The answer to a request with this id, without the end of its line.
pub(crate) fn answer<T: Serialize + ?Sized>(
    result: Result<&T, &Failure>,
    id: &RawValue,
) -> serde_json::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Error<'a> {
        code: i32,
        message: &'a str,
        data: &'a CommandError,
    }
    #[derive(Serialize)]
    struct Answer<'a, T: ?Sized> {
        jsonrpc: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<&'a T>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Error<'a>>,
        id: &'a RawValue,
    }
    codec::encode(&Answer {
        jsonrpc: "2.0",
        result: result.ok(),
        error: result.err().map(|failure| Error {
            code: code(failure),
            message: &failure.error.desc,
            data: &failure.error,
        }),
        id,
    })
}

fn code(failure: &Failure) -> i32 {
    match failure.stage {
        Stage::Text => -32700,
        Stage::Request => -32600,
        _ if failure.error.class == ErrorClass::CommandNotFound => -32601,
        Stage::Command => -32602,
        Stage::Execution => -32000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Request {
        match parse(text.as_bytes()) {
            Message::One(request) => request,
            Message::Batch(batch) => panic!("{batch:?}"),
        }
    }

    fn refused_as(text: &str) -> (i32, String) {
        let request = one(text);
        (
            code(&request.call.unwrap_err()),
            request.id.unwrap().get().to_owned(),
        )
    }

    #[test]
    fn an_invalid_request_has_the_standards_code() {
        let null = || "null".to_owned();
        assert_eq!(
            refused_as("{\"jsonrpc\": \"2.0\", \"method\"]"),
            (-32700, null())
        );
        assert_eq!(refused_as("[1, 2"), (-32700, null()));
        assert_eq!(refused_as("[]"), (-32600, null()));
        assert_eq!(refused_as("1"), (-32600, null()));
        assert_eq!(
            refused_as(r#"{"jsonrpc": "2.0", "method": "stop", "x": 1, "id": 1}"#),
            (-32600, "1".to_owned())
        );
        assert_eq!(
            refused_as(r#"{"method": "stop", "id": 1}"#),
            (-32600, "1".to_owned())
        );
        assert_eq!(
            refused_as(r#"{"jsonrpc": "2.0", "method": 1, "id": "a"}"#),
            (-32600, "\"a\"".to_owned())
        );
        assert_eq!(
            refused_as(r#"{"jsonrpc": "2.0", "method": "stop", "id": {}}"#),
            (-32600, null())
        );
        assert_eq!(
            refused_as(r#"{"jsonrpc": "2.0", "method": "stop", "params": 1, "id": 2}"#),
            (-32600, "2".to_owned())
        );
        assert_eq!(
            refused_as(r#"{"jsonrpc": "2.0", "method": "stop", "params": [1], "id": 2}"#),
            (-32602, "2".to_owned())
        );
    }

    #[test]
    fn a_request_without_an_id_is_a_notification() {
        let request = one(r#"{"jsonrpc": "2.0", "method": "stop"}"#);
        assert!(request.id.is_none() && request.call.is_ok());
        let request = one(r#"{"jsonrpc": "2.0", "method": "stop", "id": null, "params": []}"#);
        assert!(request.id.is_some() && request.call.is_ok());
    }

    #[test]
    fn a_batch_has_a_limit() {
        let batch = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        assert!(matches!(
            parse(batch(BATCH_LIMIT).as_bytes()),
            Message::Batch(_)
        ));
        assert_eq!(refused_as(&batch(BATCH_LIMIT + 1)).0, -32600);
    }
}
