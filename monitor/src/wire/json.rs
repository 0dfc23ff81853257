//! A client's JSON, parsed strictly, with its spelling kept where that matters.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use faultvisor_schema::CommandError;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

/// Parses a text that is one value.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CommandError> {
    // The lexer has bounded the nesting.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer.disable_recursion_limit();
    T::deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| CommandError::generic(format!("JSON parse error, {error}")))
}

/// The text of a message.
pub(crate) fn text(message: &[u8]) -> Result<&str, CommandError> {
    std::str::from_utf8(message)
        .map_err(|_| CommandError::generic("JSON parse error, invalid UTF-8"))
}

/// A text that equal values share. Numbers are equal if they are spelled alike.
///
/// Each level is parsed again, so that it suits short values.
pub(crate) fn canonical(value: &RawValue) -> Result<String, CommandError> {
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = read(text)?;
            let members: BTreeMap<String, Box<RawValue>> = members.into_iter().collect();
            let members: Result<Vec<String>, CommandError> = members
                .iter()
                .map(|(name, value)| {
                    Ok(format!(
                        "{}:{}",
                        Value::from(name.as_str()),
                        canonical(value)?
                    ))
                })
                .collect();
            format!("{{{}}}", members?.join(","))
        }
        Some(b'[') => {
            let elements: Vec<Box<RawValue>> = read(text)?;
            let elements: Result<Vec<String>, CommandError> =
                elements.iter().map(|element| canonical(element)).collect();
            format!("[{}]", elements?.join(","))
        }
        Some(b'"') => Value::from(read::<String>(text)?).to_string(),
        _ => text.to_owned(),
    })
}

/// Up to this many members are compared one by one, as in every valid request. More are hashed, as a client may send
/// any number.
const FEW: usize = 8;

/// The members of an object, each with its spelling.
pub(crate) struct Members(pub(crate) Vec<(String, Box<RawValue>)>);

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
                let mut seen: HashSet<String> = HashSet::new();
                while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    let is_new = if members.len() < FEW {
                        members.iter().all(|(name, _)| *name != key)
                    } else {
                        if seen.is_empty() {
                            seen.extend(members.iter().map(|(name, _)| name.clone()));
                        }
                        seen.insert(key.clone())
                    };
                    if !is_new {
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

/// Any JSON value in which no object has a duplicate member.
#[derive(Debug)]
pub struct Strict(
    /// The value.
    pub Value,
);

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

    fn canon(text: &str) -> String {
        canonical(&RawValue::from_string(text.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_however_many_there_are() {
        for count in [1, FEW - 1, FEW, FEW + 1, 5 * FEW] {
            let members: Vec<String> = (0..count).map(|n| format!("\"{n}\": 1")).collect();
            let object = |members: &[String]| format!("{{{}}}", members.join(", "));
            assert!(read::<Members>(&object(&members)).is_ok());
            for again in [0, count / 2, count - 1] {
                let doubled = [&members[..], &members[again..=again]].concat();
                let error = read::<Members>(&object(&doubled)).err().unwrap();
                let expected = format!("duplicate key '{again}'");
                assert!(error.desc.contains(&expected), "{}", error.desc);
            }
        }
    }

    #[test]
    fn equal_values_have_one_canonical_text() {
        assert_eq!(
            canon(r#"{"b": [1, "\u0041"], "a": null}"#),
            canon(r#"{"a":null,"b":[1,"A"]}"#)
        );
        assert_ne!(canon("1"), canon("\"1\""));
        assert_ne!(
            canon("123456789012345678901234567890"),
            canon("123456789012345678901234567891")
        );
    }
}
