//! Schemas of other programs, read for a comparison and not generated from.
//!
//! They may use what this generator does not support. What has no effect on the wire is ignored: conditions (`if`),
//! commands that marshal themselves (`gen`), and documentation. A conditional member or value counts as present. Nothing
//! is checked: the program's own generator has done so.

use crate::node::{Node, Value};

/// The keys of a definition without effect on the wire.
const OF_DEFINITIONS: [&str; 3] = ["if", "gen", "success-response"];

/// The key of a member, a value, a branch or a feature without effect on the wire.
const CONDITION: &str = "if";

/// Removes from a definition what this generator does not support.
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

/// Does the same for members and branches, by name, or for the values of an enumeration.
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

/// Does the same for a member, a value, a branch or a feature with keys of its own.
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
