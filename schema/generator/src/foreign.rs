//! Schemas of other programs, which are read to be compared with and not to be generated from.
//!
//! They may say what this generator has no use for. What changes nothing on the wire is left out: conditions (`if`), commands
//! that marshal themselves (`gen`), and documentation. A member or a value under a condition counts as one that is there.
//! Nothing is checked: the program's own generator has done so.

use crate::node::{Node, Value};

/// The keys of a definition that say nothing about the wire.
const OF_DEFINITIONS: [&str; 3] = ["if", "gen", "success-response"];

/// The key of a member, a value, a branch or a feature that says nothing about the wire.
const CONDITION: &str = "if";

/// A definition without what this generator does not know.
pub(crate) fn plain_definition(mut node: Node) -> Node {
    if let Value::Object(fields) = &mut node.value {
        fields.retain(|(key, _)| !OF_DEFINITIONS.contains(&key.as_str()));
        for (key, value) in fields {
            match key.as_str() {
                "data" | "base" => plain_members(value),
                "features" => plain_elements(value),
                _ => {}
            }
        }
    }
    node
}

/// Members and branches by name, or the values of an enumeration.
fn plain_members(node: &mut Node) {
    match &mut node.value {
        Value::Object(members) => members.iter_mut().for_each(|(_, of)| plain_fields(of)),
        Value::List(_) => plain_elements(node),
        Value::Text(_) | Value::Bool(_) => {}
    }
}

fn plain_elements(node: &mut Node) {
    if let Value::List(elements) = &mut node.value {
        elements.iter_mut().for_each(plain_fields);
    }
}

/// What is said of a member, a value, a branch or a feature, where it is more than a name.
fn plain_fields(node: &mut Node) {
    if let Value::Object(fields) = &mut node.value {
        fields.retain(|(key, _)| key != CONDITION);
        for (key, value) in fields {
            if key == "features" {
                plain_elements(value);
            }
        }
    }
}
