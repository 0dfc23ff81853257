//! Enumerations and objects.

use std::fmt::Write as _;

use super::documentation::{write_doc, write_member_doc};
use super::{Schema, alternates, is_built_in, unions};
use crate::definition::{Definition, EnumValue, Kind, Member, Type, Union};
use crate::error::SchemaError;
use crate::name;

/// Writes every type of the schema.
pub(super) fn write(schema: &Schema<'_>, out: &mut String) -> Result<(), SchemaError> {
    for definition in schema.definitions {
        schema.ends_somewhere(definition)?;
        match &definition.kind {
            Kind::Enum(values) => write_enum(definition, values, out)?,
            Kind::Struct { .. } => {
                let members = schema.all_members(&definition.name);
                write_struct(schema, definition, &definition.name, &members, out);
            }
            Kind::Union(union) => unions::write(schema, definition, union, out),
            Kind::Alternate(alternatives) => {
                alternates::write(schema, definition, alternatives, out)?;
            }
            Kind::Command(_) | Kind::Event(_) => {}
        }
    }
    Ok(())
}

impl Schema<'_> {
    /// Refuses a type that must contain itself: it has no values.
    fn ends_somewhere(&self, definition: &Definition) -> Result<(), SchemaError> {
        let name = &definition.name;
        if self.has_value(name, &mut Vec::new()) {
            return Ok(());
        }
        let members = definition.own_members().iter();
        let location = members
            .filter(|member| !member.optional)
            .find(|member| !self.has_end(&member.of, &mut vec![name.clone()]))
            .map_or(&definition.location, |member| &member.location);
        Err(location.error(format!("'{name}' would have to hold a '{name}' for ever")))
    }

    /// Whether a type has a value that contains none of the types in `within`.
    fn has_value(&self, name: &str, within: &mut Vec<String>) -> bool {
        let Some(definition) = self.by_name.get(name).filter(|_| !is_built_in(name)) else {
            return true;
        };
        if within.iter().any(|outer| outer == name) {
            return false;
        }
        within.push(name.to_owned());
        let members = match &definition.kind {
            Kind::Command(command) => self.data_members(definition, &command.data),
            Kind::Event(data) => self.data_members(definition, data),
            _ => self.all_members(name),
        };
        let has_value = members
            .into_iter()
            .all(|(_, member)| member.optional || self.has_end(&member.of, within))
            && self.has_branch(definition, within);
        within.pop();
        has_value
    }

    fn has_branch(&self, definition: &Definition, within: &mut Vec<String>) -> bool {
        match &definition.kind {
            // A value of the discriminator without a branch adds no members.
            Kind::Union(union) if self.bare_values(definition, union).next().is_some() => true,
            Kind::Union(Union { branches, .. }) | Kind::Alternate(branches) => branches
                .iter()
                .any(|branch| self.has_end(&branch.of, within)),
            _ => true,
        }
    }

    fn has_end(&self, of: &Type, within: &mut Vec<String>) -> bool {
        of.array || self.has_value(&of.name, within)
    }
}

/// Writes an object type. `documents` documents the whole.
pub(super) fn write_struct(
    schema: &Schema<'_>,
    documents: &Definition,
    rust_name: &str,
    members: &[(&Definition, &Member)],
    out: &mut String,
) {
    write_doc(out, documents.doc.as_ref(), &documents.name);
    let default = match members.iter().all(|(_, member)| member.optional) {
        true => "Default, ",
        false => "",
    };
    let _ = writeln!(
        out,
        "#[derive(Clone, Debug, {default}PartialEq, serde::Serialize, serde::Deserialize)]"
    );
    let _ = writeln!(out, "pub struct {rust_name} {{");
    for (definition, member) in members {
        write_field(schema, &documents.name, definition, member, out);
    }
    let _ = writeln!(out, "}}\n");
    let stated: Vec<_> = members.iter().map(|(_, member)| *member).collect();
    write_new(schema, &documents.name, rust_name, &stated, None, out);
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
        write_field_decode(member, out);
    }
    let _ = writeln!(
        out,
        "        }};\n        members.close()?;\n        Ok(decoded)\n    }}\n}}\n"
    );
}

/// The most parameters that clippy allows a function.
const CLIPPYS_LIMIT: usize = 7;

/// Writes a constructor from the required members, for an object type with optional ones: a member that the schema adds
/// later is optional, and keeps callers compiling. `last` is a field, and its type, without a member of its own.
pub(super) fn write_new(
    schema: &Schema<'_>,
    owner: &str,
    rust_name: &str,
    members: &[&Member],
    last: Option<(&str, &str)>,
    out: &mut String,
) {
    if members.iter().all(|member| !member.optional) {
        return;
    }
    let required = members.iter().filter(|member| !member.optional);
    let parameters: Vec<String> = required
        .map(|member| {
            let of = schema.member_type(owner, member);
            format!("{}: {of}", name::snake(&member.name))
        })
        .chain(last.map(|(field, of)| format!("{field}: {of}")))
        .collect();
    let allowed = match parameters.len() {
        0..=CLIPPYS_LIMIT => "",
        _ => "    #[allow(clippy::too_many_arguments)]\n",
    };
    let _ = writeln!(
        out,
        "impl {rust_name} {{\n    /// One with what it must have, and nothing else.\n{allowed}    #[must_use]\n    pub fn new({}) -> Self {{\n        Self {{",
        parameters.join(", ")
    );
    for member in members {
        let field = name::snake(&member.name);
        let value = if member.optional { ": None" } else { "" };
        let _ = writeln!(out, "            {field}{value},");
    }
    if let Some((field, _)) = last {
        let _ = writeln!(out, "            {field},");
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
}

/// Writes a field of the schema's object type `owner`.
pub(super) fn write_field(
    schema: &Schema<'_>,
    owner: &str,
    documents: &Definition,
    member: &Member,
    out: &mut String,
) {
    write_member_doc(out, documents.doc.as_ref(), &member.name);
    let skip = if member.optional {
        ", skip_serializing_if = \"Option::is_none\""
    } else {
        ""
    };
    let _ = writeln!(out, "    #[serde(rename = \"{}\"{skip})]", member.name);
    let of = schema.member_type(owner, member);
    let _ = writeln!(out, "    pub {}: {of},", name::snake(&member.name));
}

/// Writes the statement that takes a field out of `members`.
pub(super) fn write_field_decode(member: &Member, out: &mut String) {
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

fn write_enum(
    definition: &Definition,
    values: &[EnumValue],
    out: &mut String,
) -> Result<(), SchemaError> {
    let rust_name = &definition.name;
    let variants = variants(definition, values.iter().map(|value| value.name.as_str()))?;
    write_doc(out, definition.doc.as_ref(), &definition.name);
    let _ = writeln!(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]\npub enum {rust_name} {{"
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

/// The Rust variants of an enum. Two values that would be one variant are refused.
pub(super) fn variants<'a>(
    definition: &Definition,
    names: impl Iterator<Item = &'a str>,
) -> Result<Vec<String>, SchemaError> {
    let variants: Vec<String> = names.map(name::camel).collect();
    for (index, variant) in variants.iter().enumerate() {
        if variants[..index].contains(variant) {
            let of = &definition.name;
            let message = format!("two values of '{of}' would be '{variant}' in Rust");
            return Err(definition.location.error(message));
        }
    }
    Ok(variants)
}
