//! Unions: a struct of the common members, with an enum of the branches in place of the discriminator.
//!
//! The enum's variant is the discriminator: no value can name one branch and hold another.

use std::fmt::Write as _;

use super::Schema;
use super::documentation::{write_doc, write_member_doc};
use super::types::{write_field, write_field_decode, write_new};
use crate::definition::{Branch, Definition, EnumValue, Kind, Union};
use crate::name;

/// The Rust type of a union's branches.
pub(super) fn branch_enum(union: &str) -> String {
    format!("{union}Branch")
}

impl<'a> Schema<'a> {
    /// The enum of a union's discriminator, and its values.
    pub(super) fn tag_values(
        &self,
        definition: &Definition,
        union: &Union,
    ) -> Option<(&'a Definition, &'a [EnumValue])> {
        let members = self.all_members(&definition.name);
        let (_, tag) = members
            .iter()
            .find(|(_, member)| member.name == union.discriminator)?;
        let of = self.by_name.get(tag.of.name.as_str())?;
        match &of.kind {
            Kind::Enum(values) => Some((of, values)),
            _ => None,
        }
    }

    /// The values of a union's discriminator without a branch.
    pub(super) fn bare_values(
        &self,
        definition: &Definition,
        union: &Union,
    ) -> impl Iterator<Item = &'a EnumValue> {
        let stated = |value: &EnumValue| union.branches.iter().any(|b| b.name == value.name);
        let (_, values) = self.tag_values(definition, union).unzip();
        values
            .unwrap_or_default()
            .iter()
            .filter(move |value| !stated(value))
    }
}

/// Writes a union.
pub(super) fn write(schema: &Schema<'_>, definition: &Definition, union: &Union, out: &mut String) {
    write_object(schema, definition, union, out);
    let Some((tag, values)) = schema.tag_values(definition, union) else {
        return;
    };
    let variants: Vec<Variant<'_>> = values
        .iter()
        .map(|value| Variant {
            value,
            name: name::camel(&value.name),
            branch: union
                .branches
                .iter()
                .find(|branch| branch.name == value.name),
        })
        .collect();
    write_branches(schema, definition, union, tag, &variants, out);
    write_branch_methods(definition, tag, &variants, out);
}

/// A value of the discriminator, and the members that it adds.
struct Variant<'a> {
    value: &'a EnumValue,
    name: String,
    branch: Option<&'a Branch>,
}

fn write_object(schema: &Schema<'_>, definition: &Definition, union: &Union, out: &mut String) {
    let rust_name = &definition.name;
    let branches = branch_enum(rust_name);
    let (tags, members): (Vec<_>, Vec<_>) = schema
        .all_members(rust_name)
        .into_iter()
        .partition(|(_, member)| member.name == union.discriminator);
    write_doc(out, definition.doc.as_ref(), rust_name);
    let _ = writeln!(
        out,
        "#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]\npub struct {rust_name} {{"
    );
    for (documents, member) in &members {
        write_field(schema, rust_name, documents, member, out);
    }
    let tag = name::snake(&union.discriminator);
    for (documents, member) in &tags {
        write_member_doc(out, documents.doc.as_ref(), &member.name);
    }
    let _ = writeln!(
        out,
        "    #[serde(flatten)]\n    pub {tag}: {branches},\n}}\n"
    );
    let stated: Vec<_> = members.iter().map(|(_, member)| *member).collect();
    let last = Some((tag.as_str(), branches.as_str()));
    write_new(schema, rust_name, rust_name, &stated, last, out);
    let _ = writeln!(
        out,
        "impl crate::Decode for {rust_name} {{\n    fn decode(value: serde_json::Value, path: &crate::Path<'_>) -> Result<Self, crate::CommandError> {{\n        let mut members = crate::Members::open(value, path)?;\n        Ok(Self {{"
    );
    for (_, member) in &members {
        write_field_decode(member, out);
    }
    let _ = writeln!(
        out,
        "            {tag}: {branches}::decode(members.required(\"{}\")?, members)?,\n        }})\n    }}\n}}\n",
        union.discriminator
    );
}

fn write_branches(
    schema: &Schema<'_>,
    definition: &Definition,
    union: &Union,
    tag: &Definition,
    variants: &[Variant<'_>],
    out: &mut String,
) {
    let rust_name = branch_enum(&definition.name);
    let _ = writeln!(
        out,
        "/// The branches of [`{}`], by its member `{tag}`.\n#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]\n#[serde(tag = \"{tag}\")]\npub enum {rust_name} {{",
        definition.name,
        tag = union.discriminator,
    );
    for Variant {
        value,
        name,
        branch,
    } in variants
    {
        write_member_doc(out, tag.doc.as_ref(), &value.name);
        let holds = branch
            .map(|branch| format!("({})", schema.branch_type(&definition.name, &branch.of)))
            .unwrap_or_default();
        let _ = writeln!(
            out,
            "    #[serde(rename = \"{}\")]\n    {name}{holds},",
            value.name
        );
    }
    let _ = writeln!(out, "}}\n");
}

fn write_branch_methods(
    definition: &Definition,
    tag: &Definition,
    variants: &[Variant<'_>],
    out: &mut String,
) {
    let rust_name = branch_enum(&definition.name);
    let tag = &tag.name;
    let _ = writeln!(
        out,
        "impl {rust_name} {{\n    /// The discriminator's value.\n    #[must_use]\n    pub const fn tag(&self) -> {tag} {{\n        match self {{"
    );
    for Variant { name, branch, .. } in variants {
        let pattern = branch.map_or("", |_| "(_)");
        let _ = writeln!(out, "            Self::{name}{pattern} => {tag}::{name},");
    }
    let _ = writeln!(
        out,
        "        }}\n    }}\n\n    /// Makes a branch of the members that are left when those of every branch are taken.\n    fn decode(tag: {tag}, members: crate::Members<'_>) -> Result<Self, crate::CommandError> {{\n        match tag {{"
    );
    for Variant { name, branch, .. } in variants {
        let made = match branch {
            Some(_) => format!("members.rest().map(Self::{name})"),
            None => format!("members.close().map(|()| Self::{name})"),
        };
        let _ = writeln!(out, "            {tag}::{name} => {made},");
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
}
