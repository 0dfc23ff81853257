//! Enumerations and objects.

use std::fmt::Write as _;

use super::documentation::{write_doc, write_member_doc};
use super::{Schema, is_built_in};
use crate::definition::{Definition, EnumValue, Kind, Member};
use crate::error::SchemaError;
use crate::name;

/// Writes every type that the schema defines.
pub(super) fn write(schema: &Schema<'_>, out: &mut String) -> Result<(), SchemaError> {
    for definition in schema.definitions {
        match &definition.kind {
            Kind::Enum(values) => write_enum(definition, values, out)?,
            Kind::Struct { .. } => {
                let members = schema.all_members(&definition.name);
                for (_, member) in &members {
                    ends_somewhere(schema, definition, member)?;
                }
                write_struct(schema, definition, &definition.name, &members, out);
            }
            Kind::Command(_) | Kind::Event(_) => {}
        }
    }
    Ok(())
}

/// A type whose value must hold a value of its own type has no value at all.
fn ends_somewhere(
    schema: &Schema<'_>,
    owner: &Definition,
    member: &Member,
) -> Result<(), SchemaError> {
    if !member.optional
        && !member.of.array
        && !is_built_in(&member.of.name)
        && schema.must_hold(&member.of.name, &owner.name, &mut Vec::new())
    {
        let message = format!("'{}' would have to hold a '{0}' for ever", owner.name);
        return Err(member.location.error(message));
    }
    Ok(())
}

impl Schema<'_> {
    fn must_hold(&self, from: &str, to: &str, seen: &mut Vec<String>) -> bool {
        if from == to {
            return true;
        }
        if seen.iter().any(|name| name == from) {
            return false;
        }
        seen.push(from.to_owned());
        self.all_members(from).into_iter().any(|(_, member)| {
            !member.optional && !member.of.array && self.must_hold(&member.of.name, to, seen)
        })
    }
}

/// Writes an object type; `documents` is what documents the whole.
pub(super) fn write_struct(
    schema: &Schema<'_>,
    documents: &Definition,
    rust_name: &str,
    members: &[(&Definition, &Member)],
    out: &mut String,
) {
    write_doc(out, documents.doc.as_ref(), &documents.name);
    let _ = writeln!(out, "#[derive(Clone, Debug, PartialEq, serde::Serialize)]");
    let _ = writeln!(out, "pub struct {rust_name} {{");
    for (definition, member) in members {
        write_member_doc(out, definition.doc.as_ref(), &member.name);
        let skip = if member.optional {
            ", skip_serializing_if = \"Option::is_none\""
        } else {
            ""
        };
        let _ = writeln!(out, "    #[serde(rename = \"{}\"{skip})]", member.name);
        let of = schema.member_type(&documents.name, member);
        let _ = writeln!(out, "    pub {}: {of},", name::snake(&member.name));
    }
    let _ = writeln!(out, "}}\n");
    let _ = writeln!(out, "impl crate::Decode for {rust_name} {{");
    let _ = writeln!(
        out,
        "    fn decode(value: serde_json::Value, path: &crate::Path<'_>) -> Result<Self, crate::CommandError> {{"
    );
    let mutable = if members.is_empty() { "" } else { "mut " };
    let _ = writeln!(
        out,
        "        let {mutable}members = crate::Members::open(value, path)?;"
    );
    let _ = writeln!(out, "        let decoded = Self {{");
    for (_, member) in members {
        let take = if member.optional {
            "optional"
        } else {
            "required"
        };
        let field = name::snake(&member.name);
        let _ = writeln!(
            out,
            "            {field}: members.{take}(\"{}\")?,",
            member.name
        );
    }
    let _ = writeln!(
        out,
        "        }};\n        members.close()?;\n        Ok(decoded)\n    }}\n}}\n"
    );
}

fn write_enum(
    definition: &Definition,
    values: &[EnumValue],
    out: &mut String,
) -> Result<(), SchemaError> {
    let rust_name = &definition.name;
    let variants: Vec<String> = values
        .iter()
        .map(|value| name::camel(&value.name))
        .collect();
    for (index, variant) in variants.iter().enumerate() {
        if variants[..index].contains(variant) {
            let message = format!("two values of '{rust_name}' would be '{variant}' in Rust");
            return Err(definition.location.error(message));
        }
    }
    write_doc(out, definition.doc.as_ref(), &definition.name);
    let _ = writeln!(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]\npub enum {rust_name} {{"
    );
    for (value, variant) in values.iter().zip(&variants) {
        write_member_doc(out, definition.doc.as_ref(), &value.name);
        let _ = writeln!(
            out,
            "    #[serde(rename = \"{}\")]\n    {variant},",
            value.name
        );
    }
    let _ = writeln!(out, "}}\n\nimpl {rust_name} {{");
    let list: Vec<String> = variants
        .iter()
        .map(|variant| format!("Self::{variant}"))
        .collect();
    let _ = writeln!(
        out,
        "    /// Every value, in the schema's order.\n    pub const ALL: &'static [Self] = &[{}];\n",
        list.join(", ")
    );
    let _ = writeln!(
        out,
        "    /// The value as it is on the wire.\n    #[must_use]\n    pub const fn name(self) -> &'static str {{\n        match self {{"
    );
    for (value, variant) in values.iter().zip(&variants) {
        let _ = writeln!(out, "            Self::{variant} => \"{}\",", value.name);
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
    let _ = writeln!(
        out,
        "impl crate::Decode for {rust_name} {{\n    fn decode(value: serde_json::Value, path: &crate::Path<'_>) -> Result<Self, crate::CommandError> {{\n        crate::one_of(&value, path, Self::ALL, Self::name)\n    }}\n}}\n"
    );
    Ok(())
}
