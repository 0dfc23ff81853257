//! A command's arguments as typed: `key=value` words, or one JSON object.
//!
//! The command's introspection gives each value its type:
//!
//! * integers are decimal, or hexadecimal with `0x`, and may end in K, M, G or T for a power of 1024: introspection does
//!   not tell sizes from other integers,
//! * booleans are `true` or `on`, and `false` or `off`,
//! * strings are taken as written, quotes included; values of an enumeration are checked,
//! * members of objects follow dots, `throttle.bps=1`, as do indices of lists, `operations.0=write`,
//! * lists of scalars can also be separated by commas, `operations=read,write`, or given one by one,
//!   `operations=read operations=write`,
//! * an alternate has the first type that the text fits, a string only if it fits no other,
//! * JSON is accepted where an object, a list or any value is expected,
//! * `key:=JSON` passes any JSON unchanged, for unknown keys, too.

mod convert;
mod error;
mod scalar;
mod source;
mod tree;

use serde_json::Value;

use crate::introspection::Introspection;

pub use error::ArgumentError;
pub use source::Source;
pub use tree::{Node, Text};

/// Reads a command's arguments from its words.
///
/// # Errors
///
/// [`ArgumentError`] names the first word that does not fit, and what is expected.
pub fn from_words(
    introspection: &Introspection,
    arguments_type: &str,
    words: &[String],
) -> Result<Value, ArgumentError> {
    let tree = Node::from_words(words)?;
    convert::arguments(introspection, introspection.type_of(arguments_type), &tree)
}

#[cfg(test)]
mod tests;
