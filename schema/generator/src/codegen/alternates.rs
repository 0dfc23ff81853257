//! Alternates: an enum in Rust, decoded by the JSON kind of the value.

use std::fmt::Write as _;

use super::Schema;
use super::documentation::{write_doc, write_member_doc};
use super::types::variants;
use crate::check::{JsonKind, json_kind};
use crate::definition::{Branch, Definition, Type};
use crate::error::SchemaError;

/// Writes an alternate.
pub(super) fn write(
    schema: &Schema<'_>,
    definition: &Definition,
    alternatives: &[Branch],
    out: &mut String,
) -> Result<(), SchemaError> {
    let rust_name = &definition.name;
    let names = alternatives
        .iter()
        .map(|alternative| alternative.name.as_str());
    let variants = variants(definition, names)?;
    write_doc(out, definition.doc.as_ref(), rust_name);
    let _ = writeln!(
        out,
        "#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]\n#[serde(untagged)]\npub enum {rust_name} {{"
    );
    for (alternative, variant) in alternatives.iter().zip(&variants) {
        write_member_doc(out, definition.doc.as_ref(), &alternative.name);
        let holds = schema.branch_type(rust_name, &alternative.of);
        let _ = writeln!(out, "    {variant}({holds}),");
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl crate::Decode for {rust_name} {{\n    fn decode(value: serde_json::Value, path: &crate::Path<'_>) -> Result<Self, crate::CommandError> {{\n        match value {{"
    );
    let mut expected = Vec::new();
    for (alternative, variant) in alternatives.iter().zip(&variants) {
        let Some(kind) = schema.json_kind(&alternative.of) else {
            continue;
        };
        let pattern = pattern(kind);
        let _ = writeln!(
            out,
            "            serde_json::Value::{pattern} => crate::Decode::decode(value, path).map(Self::{variant}),"
        );
        expected.push(word(kind, &alternative.of));
    }
    // If every kind has an alternative, nothing is left to refuse.
    if expected.len() < JsonKind::COUNT {
        let expected = listed(&expected);
        let _ = writeln!(
            out,
            "            _ => Err(path.wrong_type(\"{expected}\")),"
        );
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
    Ok(())
}

impl Schema<'_> {
    fn json_kind(&self, of: &Type) -> Option<JsonKind> {
        let definition = self.by_name.get(of.name.as_str());
        json_kind(of, definition.map(|definition| &definition.kind))
    }
}

fn pattern(kind: JsonKind) -> &'static str {
    match kind {
        JsonKind::Null => "Null",
        JsonKind::Boolean => "Bool(_)",
        JsonKind::Number => "Number(_)",
        JsonKind::String => "String(_)",
        JsonKind::Array => "Array(_)",
        JsonKind::Object => "Object(_)",
    }
}

/// Names what a client can send, for an error.
fn word(kind: JsonKind, of: &Type) -> &'static str {
    match kind {
        JsonKind::Null => "null",
        JsonKind::Boolean => "boolean",
        JsonKind::Number if of.name == "number" => "number",
        JsonKind::Number => "integer",
        JsonKind::String => "string",
        JsonKind::Array => "array",
        JsonKind::Object => "object",
    }
}

fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
