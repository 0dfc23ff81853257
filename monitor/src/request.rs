//! A message as a request: what is to be executed, with what, and what to answer to.

use std::fmt;

use faultvisor_schema::{Arguments, CommandError};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use crate::codec::ascii;

/// A request, well-formed or not.
#[derive(Debug)]
pub(crate) struct Request {
    /// What the client wants to know the answer by, spelled as the client spelled it.
    pub(crate) id: Option<Box<RawValue>>,
    /// What it asks for, or why that cannot be said.
    pub(crate) call: Result<Call, CommandError>,
}

/// A command by name.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Arguments,
    pub(crate) band: Band,
}

/// Whether a command waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Band {
    /// `execute`: it does.
    In,
    /// `exec-oob`: it overtakes those that do.
    Out,
}

impl Request {
    /// Makes a request of a message's JSON.
    pub(crate) fn parse(message: &[u8]) -> Self {
        let mut id = None;
        let call = parse(message).and_then(|members| {
            for (name, value) in &members.0 {
                if name == "id" {
                    id = RawValue::from_string(ascii(value.get())).ok();
                }
            }
            call(&members)
        });
        Self { id, call }
    }

    /// What stands for a message that was none.
    pub(crate) fn unreadable(error: &impl fmt::Display) -> Self {
        Self {
            id: None,
            call: Err(CommandError::generic(error.to_string())),
        }
    }
}

fn parse(message: &[u8]) -> Result<Members, CommandError> {
    let text = std::str::from_utf8(message)
        .map_err(|_| CommandError::generic("JSON parse error, invalid UTF-8"))?;
    match text.as_bytes().first() {
        Some(b'{') => from_json(text),
        _ => {
            // What is no JSON at all is told so, and what is some other JSON is told that.
            from_json::<Strict>(text)?;
            Err(CommandError::generic("QMP input must be a JSON object"))
        }
    }
}

fn from_json<T: DeserializeOwned>(text: &str) -> Result<T, CommandError> {
    // The lexer has bounded the nesting already.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    T::deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| CommandError::generic(format!("JSON parse error, {error}")))
}

fn call(members: &Members) -> Result<Call, CommandError> {
    let mut command = None;
    let mut arguments = Arguments::new();
    for (name, value) in &members.0 {
        match name.as_str() {
            "id" => {}
            "execute" | "exec-oob" => {
                if command.is_some() {
                    let message = "QMP input members 'execute' and 'exec-oob' exclude each other";
                    return Err(CommandError::generic(message));
                }
                match from_json(value.get())? {
                    Strict(Value::String(text)) => {
                        let band = if name == "execute" {
                            Band::In
                        } else {
                            Band::Out
                        };
                        command = Some((text, band));
                    }
                    Strict(_) => return Err(wrong_member(name, "a string")),
                }
            }
            "arguments" => match from_json(value.get())? {
                Strict(Value::Object(object)) => arguments = object,
                Strict(_) => return Err(wrong_member(name, "an object")),
            },
            _ => return Err(unexpected_member(name)),
        }
    }
    let Some((name, band)) = command else {
        return Err(CommandError::generic("QMP input lacks member 'execute'"));
    };
    Ok(Call {
        name,
        arguments,
        band,
    })
}

fn wrong_member(name: &str, expected: &str) -> CommandError {
    CommandError::generic(format!("QMP input member '{name}' must be {expected}"))
}

/// A member that no request has, or not in this session.
pub(crate) fn unexpected_member(name: &str) -> CommandError {
    CommandError::generic(format!("QMP input member '{name}' is unexpected"))
}

/// The members of an object, each as it was spelled.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                let mut seen = std::collections::HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format!("duplicate key '{key}'")));
                    }
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}

/// Any JSON value, but no object that says one thing twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Strict)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(Strict(element)) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            let Strict(value) = map.next_value()?;
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key '{key}'")));
            }
            members.insert(key, value);
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(message: &str) -> String {
        Request::parse(message.as_bytes()).call.unwrap_err().desc
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
        assert!(refused(r#"{"execute": "stop", "execute": "quit"}"#).contains("duplicate key"));
        assert!(
            refused(r#"{"execute": "stop", "arguments": {"a": {"b": 1, "b": 2}}}"#)
                .contains("duplicate key 'b'")
        );
        assert!(refused("{\"execute\"}").starts_with("JSON parse error, "));
        assert!(refused("foo").starts_with("JSON parse error, "));
    }

    #[test]
    fn bytes_that_are_no_utf8_are_an_error() {
        let request = Request::parse(b"{\"execute\": \"\xc0\x80\"}");
        assert_eq!(
            request.call.unwrap_err().desc,
            "JSON parse error, invalid UTF-8"
        );
    }
}
