//! Lists: the C type of an array.

use super::documentation::Comment;
use super::{Writer, names};
use crate::codegen::is_built_in;
use crate::definition::{Branch, Command, Definition, Kind, Member, Type, Union};
use crate::error::SchemaError;

/// Writes every list type that is used.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Lists");
    let mut written: Vec<String> = Vec::new();
    for definition in writer.schema.definitions {
        for of in types(definition).filter(|of| of.array) {
            let name = writer.list_name(&of.name);
            if !written.contains(&name) {
                writer.list(definition, of, &name)?;
                written.push(name);
            }
        }
    }
    Ok(())
}

impl Writer<'_> {
    /// The name of the list type for an element type.
    pub(super) fn list_name(&self, of: &str) -> String {
        let element = match of {
            "str" => "String",
            "any" => "Json",
            "number" => "Double",
            "int" | "int64" => "Int64",
            "int8" => "Int8",
            "int16" => "Int16",
            "int32" => "Int32",
            "uint8" => "Uint8",
            "uint16" => "Uint16",
            "uint32" => "Uint32",
            "uint64" | "size" => "Uint64",
            "bool" => "Bool",
            "null" => "Null",
            other => other,
        };
        names::type_name(&format!("{element}List"))
    }

    fn list(&mut self, definition: &Definition, of: &Type, name: &str) -> Result<(), SchemaError> {
        self.scope.give(name, definition)?;
        let element = self.element(&of.name);
        let mut comment = Comment::default();
        let what = match is_built_in(&of.name) {
            true => format!("Values of type `{}`.", of.name),
            false => format!("Values of type {}.", element.c),
        };
        comment.add(&what);
        let items = match element.c.strip_suffix('*') {
            Some(_) => format!("{}const *items;", element.c),
            None => format!("const {} *items;", element.c),
        };
        self.c(format!(
            "{}typedef struct {name} {{
    /** How many there are. */
    size_t count;
    /** The first of them; may be NULL where there is none. */
    {items}
}} {name};
",
            comment.text(0)
        ));
        self.layouts.push(name.to_owned());
        self.rust(format!(
            "/// A list of the schema's.\npub type {name} = List<{}>;\n",
            element.rust
        ));
        Ok(())
    }
}

/// Every type that a definition refers to.
pub(super) fn types(definition: &Definition) -> impl Iterator<Item = &Type> {
    let branches: &[Branch] = match &definition.kind {
        Kind::Union(Union { branches, .. }) | Kind::Alternate(branches) => branches,
        _ => &[],
    };
    let returns = match &definition.kind {
        Kind::Command(Command { returns, .. }) => returns.as_ref(),
        _ => None,
    };
    let members = definition.own_members().iter();
    members
        .map(|Member { of, .. }| of)
        .chain(branches.iter().map(|Branch { of, .. }| of))
        .chain(returns)
}
