//! The arguments of a command, as one types them: `key=value` words, or one JSON object.
//!
//! What a value is follows from the command's introspection:
//!
//! * integers are decimal, or hexadecimal behind `0x`, and may end in K, M, G or T for a power of 1024: introspection does
//!   not tell sizes from other integers,
//! * booleans are `true` or `on`, and `false` or `off`,
//! * strings are what is written, to the last quote; words of an enumeration are checked,
//! * members of objects are named behind dots, `throttle.bps=1`, and elements of lists by their number,
//!   `operations.0=write`,
//! * elements that have no parts can also be written behind each other, `operations=read,write`, or one by one,
//!   `operations=read operations=write`,
//! * what may be of several types is of the first that the text fits; of a string only if it fits no other,
//! * where an object, a list or anything at all is expected, JSON can be written,
//! * and `key:=JSON` passes any JSON as it is, for keys too of which introspection knows nothing.

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

/// The arguments of a command from its words.
///
/// # Errors
///
/// [`ArgumentError`] names the first word that does not fit, and what would.
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
