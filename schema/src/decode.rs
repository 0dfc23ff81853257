//! Decodes JSON into the schema's types. Errors name the value that is wrong.

use std::fmt;

use serde_json::{Map, Value};

use crate::{CommandError, Null};

/// The path of a value within a command's arguments or a server's message: `throttle.limits[2].bps`.
#[derive(Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    segment: Segment<'a>,
    direction: Direction,
}

/// Who sent the value that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    /// A client: an unknown member is an error.
    Request,
    /// A server, possibly a newer one: unknown members are ignored.
    Answer,
}

#[derive(Debug)]
enum Segment<'a> {
    Root,
    Member(&'a str),
    Element(usize),
}

impl Path<'_> {
    /// The arguments of a command.
    pub const ROOT: Path<'static> = Path {
        parent: None,
        segment: Segment::Root,
        direction: Direction::Request,
    };

    /// A server's answer, or the data of its event: unknown members are ignored, at every depth.
    pub const ANSWER: Path<'static> = Path {
        parent: None,
        segment: Segment::Root,
        direction: Direction::Answer,
    };
}

impl<'a> Path<'a> {
    /// The path of a member of this object.
    #[must_use]
    pub fn member(&'a self, name: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Member(name),
            direction: self.direction,
        }
    }

    /// The path of an element of this array.
    #[must_use]
    pub fn element(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            segment: Segment::Element(index),
            direction: self.direction,
        }
    }

    /// The value at this path is of another type than expected.
    pub(crate) fn wrong_type(&self, expected: &str) -> CommandError {
        CommandError::generic(match self.direction {
            Direction::Request => {
                format!("Invalid parameter type for '{self}', expected: {expected}")
            }
            Direction::Answer => format!("{} is not of type {expected}", self.named()),
        })
    }

    /// Names the value at this path, at the start of a sentence.
    fn named(&self) -> String {
        match (self.direction, &self.segment) {
            (Direction::Request, _) => format!("Parameter '{self}'"),
            (Direction::Answer, Segment::Root) => "The whole".to_owned(),
            (Direction::Answer, _) => format!("Member '{self}'"),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.segment {
            Segment::Root => Ok(()),
            Segment::Member(name) => {
                let at_root = self
                    .parent
                    .is_none_or(|p| matches!(p.segment, Segment::Root));
                write!(formatter, "{}{name}", if at_root { "" } else { "." })
            }
            Segment::Element(index) => write!(formatter, "[{index}]"),
        }
    }
}

/// A type that is decoded from a value of the wire.
pub trait Decode: Sized {
    /// Decodes a value.
    ///
    /// # Errors
    ///
    /// The value is of another type; the error names `path`.
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError>;
}

/// An object's members, taken out one by one.
#[derive(Debug)]
pub struct Members<'a> {
    members: Map<String, Value>,
    path: &'a Path<'a>,
}

impl<'a> Members<'a> {
    /// Opens an object.
    ///
    /// # Errors
    ///
    /// The value is not an object.
    pub fn open(value: Value, path: &'a Path<'a>) -> Result<Self, CommandError> {
        match value {
            Value::Object(members) => Ok(Self { members, path }),
            _ => Err(path.wrong_type("object")),
        }
    }

    /// Takes a required member.
    ///
    /// # Errors
    ///
    /// It is missing, or of another type.
    pub fn required<T: Decode>(&mut self, name: &str) -> Result<T, CommandError> {
        let path = self.path.member(name);
        match self.members.remove(name) {
            Some(value) => T::decode(value, &path),
            None => Err(CommandError::generic(format!(
                "{} is missing",
                path.named()
            ))),
        }
    }

    /// Takes an optional member. `null` does not count as absent.
    ///
    /// # Errors
    ///
    /// It is present, and of another type.
    pub fn optional<T: Decode>(&mut self, name: &str) -> Result<Option<T>, CommandError> {
        let path = self.path.member(name);
        self.members
            .remove(name)
            .map(|value| T::decode(value, &path))
            .transpose()
    }

    /// Decodes a value from the remaining members.
    ///
    /// # Errors
    ///
    /// They do not decode as that type.
    pub fn rest<T: Decode>(self) -> Result<T, CommandError> {
        T::decode(Value::Object(self.members), self.path)
    }

    /// Closes the object.
    ///
    /// # Errors
    ///
    /// A client sent a member that nobody took.
    pub fn close(self) -> Result<(), CommandError> {
        match self.members.keys().next() {
            Some(name) if self.path.direction == Direction::Request => {
                let path = self.path.member(name);
                Err(CommandError::generic(format!(
                    "{} is unexpected",
                    path.named()
                )))
            }
            _ => Ok(()),
        }
    }
}

/// Decodes a value of an enumeration.
pub(crate) fn one_of<T: Copy>(
    value: &Value,
    path: &Path<'_>,
    all: &[T],
    name: impl Fn(T) -> &'static str,
) -> Result<T, CommandError> {
    let Value::String(text) = value else {
        return Err(path.wrong_type("string"));
    };
    all.iter()
        .copied()
        .find(|candidate| name(*candidate) == text)
        .ok_or_else(|| {
            CommandError::generic(format!("{} does not accept value '{text}'", path.named()))
        })
}

impl Decode for String {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        match value {
            Value::String(text) => Ok(text),
            _ => Err(path.wrong_type("string")),
        }
    }
}

impl Decode for bool {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        value.as_bool().ok_or_else(|| path.wrong_type("boolean"))
    }
}

impl Decode for f64 {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        value.as_f64().ok_or_else(|| path.wrong_type("number"))
    }
}

impl Decode for Value {
    fn decode(value: Value, _: &Path<'_>) -> Result<Self, CommandError> {
        Ok(value)
    }
}

/// What a command without a return value returns: an object.
impl Decode for () {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        Members::open(value, path)?.close()
    }
}

impl Decode for Null {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        if value.is_null() {
            Ok(Self)
        } else {
            Err(path.wrong_type("null"))
        }
    }
}

impl<T: Decode> Decode for Box<T> {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        T::decode(value, path).map(Self::new)
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        let Value::Array(elements) = value else {
            return Err(path.wrong_type("array"));
        };
        elements
            .into_iter()
            .enumerate()
            .map(|(index, element)| T::decode(element, &path.element(index)))
            .collect()
    }
}

/// Integers: JSON numbers without a fraction or an exponent.
macro_rules! decode_integer {
    ($($integer:ty),*) => {$(
        impl Decode for $integer {
            fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
                let number = match (value.as_i64(), value.as_u64()) {
                    (Some(number), _) => i128::from(number),
                    (None, Some(number)) => i128::from(number),
                    (None, None) => return Err(path.wrong_type("integer")),
                };
                Self::try_from(number).map_err(|_| {
                    let (least, most) = (Self::MIN, Self::MAX);
                    let named = path.named();
                    CommandError::generic(format!(
                        "{named} expects an integer from {least} to {most}"
                    ))
                })
            }
        }
    )*};
}

decode_integer!(i8, i16, i32, i64, u8, u16, u32, u64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockInfo, RunState, StatusInfo};
    use serde_json::json;

    #[test]
    fn an_answer_may_have_unknown_members() {
        let status = json!({"status": "running", "running": true, "singlestep": false});
        let read = StatusInfo::decode(status.clone(), &Path::ANSWER).unwrap();
        assert_eq!(read.status, RunState::Running);
        let refused = StatusInfo::decode(status, &Path::ROOT).unwrap_err();
        assert_eq!(refused.desc, "Parameter 'singlestep' is unexpected");
    }

    #[test]
    fn a_mismatched_answer_is_described_by_its_members() {
        let refused = |answer| {
            let refused = Vec::<BlockInfo>::decode(answer, &Path::ANSWER);
            refused.unwrap_err().desc
        };
        assert_eq!(refused(json!({})), "The whole is not of type array");
        assert_eq!(refused(json!([{}])), "Member '[0].device' is missing");
        let disk = json!([{"device": "d", "type": "x", "removable": 1}]);
        assert_eq!(
            refused(disk),
            "Member '[0].removable' is not of type boolean"
        );
    }
}
