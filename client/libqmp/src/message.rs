//! A server's messages, and the encoding of requests.

use std::fmt::Write as _;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::error::excerpt;
use crate::lines::Lines;
use crate::said::{Data, Said};
use crate::{Direction, Observer, Timestamp};

/// A message of a server after its greeting.
#[derive(Debug, PartialEq)]
pub(crate) enum Message {
    /// A command's return value, or its error.
    Answer {
        /// The request's ID; `None` if the server could not read the request.
        id: Option<u64>,
        /// The value of `return` or `error`.
        result: Result<Said, Value>,
    },
    /// An event.
    Event(RawMessage),
}

/// An event, undecoded.
#[derive(Debug, PartialEq)]
pub(crate) struct RawMessage {
    /// Its name.
    pub(crate) name: String,
    /// Its data, or an empty object.
    pub(crate) data: Data,
    pub(crate) timestamp: Timestamp,
    pub(crate) initial: bool,
    /// The connection's handle.
    pub(crate) tag: Option<i64>,
    /// The client's name for its connection.
    pub(crate) id: Option<Value>,
    /// The length of its line.
    pub(crate) length: usize,
}

/// The members of any message. With class hints an event is a signal of an object, and its data are arguments.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Members {
    #[serde(rename = "return", deserialize_with = "present")]
    returned: Option<Said>,
    #[serde(deserialize_with = "present")]
    error: Option<Value>,
    #[serde(alias = "signal")]
    event: Option<String>,
    #[serde(alias = "arguments")]
    data: Option<Said>,
    timestamp: Timestamp,
    initial: bool,
    tag: Option<i64>,
    #[serde(alias = "connection", deserialize_with = "present")]
    id: Option<Value>,
}

/// A member that is present, also if it is `null`.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Message {
    /// Parses a line. The error says what it is instead of a message.
    pub(crate) fn parse(line: &[u8]) -> Result<Self, String> {
        let members: Members = serde_json::from_slice(line)
            .map_err(|error| format!("a line that is no message: {error}"))?;
        let result = match (members.returned, members.error) {
            (Some(value), _) => Some(Ok(value)),
            (None, Some(error)) => Some(Err(error)),
            (None, None) => None,
        };
        match (result, members.event) {
            (Some(result), _) => Ok(Self::Answer {
                id: members.id.as_ref().and_then(Value::as_u64),
                result,
            }),
            (None, Some(name)) => Ok(Self::Event(RawMessage {
                data: Data::of(members.data)
                    .ok_or_else(|| format!("an event {name} whose data are no object"))?,
                name,
                timestamp: members.timestamp,
                initial: members.initial,
                tag: members.tag,
                id: members.id,
                length: line.len(),
            })),
            (None, None) => Err("an object that is neither an answer nor an event".to_owned()),
        }
    }

    /// The received messages, and the violation of the protocol behind which nothing is read, if there is one.
    pub(crate) fn parse_all(
        lines: &mut Lines,
        observer: Option<&Observer>,
    ) -> (Vec<Self>, Option<String>) {
        let mut messages = Vec::new();
        while let Some(line) = lines.next() {
            if let Some(observer) = observer {
                observer(Direction::Received, &String::from_utf8_lossy(line));
            }
            match Self::parse(line) {
                Ok(message) => messages.push(message),
                Err(what) => {
                    let line = excerpt(&String::from_utf8_lossy(line));
                    return (messages, Some(format!("{what}: {line}")));
                }
            }
        }
        (messages, None)
    }
}

/// Whether a request is out of band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Band {
    In,
    OutOf,
}

/// The members of a request behind its first, in the order of the protocol's documents; the ID follows them.
pub(crate) fn request(
    band: Band,
    command: &str,
    arguments: Option<&impl Serialize>,
) -> serde_json::Result<String> {
    let execute = match band {
        Band::In => "execute",
        Band::OutOf => "exec-oob",
    };
    let mut request = format!("{{\"{execute}\": {}", serde_json::to_string(command)?);
    if let Some(arguments) = arguments {
        // Writing to a string cannot fail.
        let _ = write!(
            request,
            ", \"arguments\": {}",
            serde_json::to_string(arguments)?
        );
    }
    Ok(request)
}

/// Appends the ID to a request, and ends it.
pub(crate) fn with_id(mut request: String, id: u64) -> String {
    let _ = write!(request, ", \"id\": {id}}}\r\n");
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn said(text: &str) -> Said {
        serde_json::from_str(text).unwrap()
    }

    fn parsed(value: &Value) -> Result<Message, String> {
        Message::parse(value.to_string().as_bytes())
    }

    #[test]
    fn answers_and_events_are_distinguished() {
        let answer = parsed(&json!({"return": {}, "id": 7}));
        let expected = Message::Answer {
            id: Some(7),
            result: Ok(said("{}")),
        };
        assert_eq!(answer, Ok(expected));
        let error = json!({"class": "GenericError", "desc": "no"});
        let answer = parsed(&json!({"error": error}));
        assert_eq!(
            answer,
            Ok(Message::Answer {
                id: None,
                result: Err(error)
            })
        );
        let nothing = parsed(&json!({"return": null, "id": 1}));
        let expected = Message::Answer {
            id: Some(1),
            result: Ok(said("null")),
        };
        assert_eq!(nothing, Ok(expected));
        let event = json!({"event": "STOP", "tag": 3, "initial": true,
            "timestamp": {"seconds": 1, "microseconds": -1}});
        let Ok(Message::Event(event)) = parsed(&event) else {
            panic!("no event")
        };
        assert_eq!(
            (event.name.as_str(), event.tag, event.initial),
            ("STOP", Some(3), true)
        );
        assert_eq!(
            event.timestamp,
            Timestamp {
                seconds: 1,
                microseconds: -1
            }
        );
        assert_eq!(event.data.text(), "{}");
    }

    #[test]
    fn neither_answer_nor_event_is_a_named_error() {
        for (line, why) in [
            ("7", "a line that is no message: invalid type: integer"),
            ("{", "a line that is no message: EOF"),
            ("{}", "an object that is neither an answer nor an event"),
            (
                "{\"event\": 1}",
                "a line that is no message: invalid type: integer",
            ),
            (
                "{\"event\": \"X\", \"data\": 1}",
                "an event X whose data are no object",
            ),
            (
                "{\"return\": 1, \"return\": 2}",
                "a line that is no message: duplicate field",
            ),
        ] {
            let refused = Message::parse(line.as_bytes()).unwrap_err();
            assert!(refused.starts_with(why), "{refused}");
        }
    }

    #[test]
    fn a_request_is_one_line_with_its_id() {
        let arguments = json!({"text": "a\nb"});
        let request = request(Band::OutOf, "x\"y", Some(&arguments)).unwrap();
        assert_eq!(
            with_id(request, 5),
            "{\"exec-oob\": \"x\\\"y\", \"arguments\": {\"text\":\"a\\nb\"}, \"id\": 5}\r\n"
        );
    }
}
