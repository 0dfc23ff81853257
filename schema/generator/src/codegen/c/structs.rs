//! Structures: the C type of an object, the base's members first.

use super::documentation::Comment;
use super::fields::{Field, Presence, flag};
use super::{Writer, names};
use crate::codegen::commands::arguments_type;
use crate::definition::{Command, Data, Definition, Kind, Member};
use crate::error::SchemaError;
use crate::name;

/// Declares all structures, so that they may point to each other.
pub(super) fn declare(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Structures");
    for definition in writer.schema.definitions {
        if let Some((of, _)) = named(definition) {
            writer.scope.give(&of, definition)?;
            writer.c(format!("typedef struct {of} {of};"));
        }
    }
    writer.c("");
    Ok(())
}

/// Writes every structure.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Types");
    for definition in writer.ordered() {
        match &definition.kind {
            Kind::Union(union) => writer.union(definition, union)?,
            Kind::Alternate(alternatives) => writer.alternate(definition, alternatives)?,
            _ => {
                let members = writer.schema.all_members(&definition.name);
                writer.structure(definition, &members)?;
            }
        }
    }
    for definition in writer.schema.definitions {
        if matches!(definition.kind, Kind::Command(_) | Kind::Event(_))
            && named(definition).is_some()
        {
            let members = definition.own_members().iter();
            let members: Vec<_> = members.map(|member| (definition, member)).collect();
            writer.structure(definition, &members)?;
        }
    }
    Ok(())
}

/// The names of a definition's structure, in C and in the schema's Rust.
pub(super) fn named(definition: &Definition) -> Option<(String, String)> {
    let name = &definition.name;
    match &definition.kind {
        Kind::Struct { .. } | Kind::Union(_) | Kind::Alternate(_) => {
            Some((names::type_name(name), name.clone()))
        }
        Kind::Event(Data::Members(_)) => Some((names::data_type(name), name::camel(name))),
        Kind::Command(Command {
            data: Data::Members(_),
            ..
        }) => {
            let arguments = arguments_type(name);
            Some((names::type_name(&arguments), arguments))
        }
        _ => None,
    }
}

impl<'a> Writer<'a> {
    fn structure(
        &mut self,
        definition: &'a Definition,
        members: &[(&'a Definition, &'a Member)],
    ) -> Result<(), SchemaError> {
        let Some((of, rust)) = named(definition) else {
            return Ok(());
        };
        let fields = self.fields(&definition.name, members)?;
        self.open(definition, &of);
        for field in &fields {
            self.declare_field(field);
        }
        if fields.is_empty() {
            self.c("    /** C has no structure without members; this one says nothing. */");
            self.c("    char nothing;");
        }
        self.c("};\n");
        self.mirror(&of, &fields, &[]);
        self.conversions(&of, &rust, &fields);
        Ok(())
    }

    /// Opens a structure in the header.
    pub(super) fn open(&mut self, definition: &Definition, of: &str) {
        let mut comment = match &definition.kind {
            Kind::Command(_) => {
                let mut comment = Comment::default();
                let function = names::function(&definition.name);
                comment.add(&format!("The arguments of {function}()."));
                comment
            }
            Kind::Event(_) => {
                let mut comment = Comment::default();
                comment.add(&format!("The data of {}.", definition.name));
                comment
            }
            _ => Comment::of(self.schema, definition),
        };
        comment.close(self.schema, definition.doc.as_ref());
        self.c(format!("{}struct {of} {{", comment.text(0)));
    }

    /// Writes the same structure in Rust. `more`: members at the end without one in the schema.
    pub(super) fn mirror(&mut self, of: &str, fields: &[Field<'_>], more: &[(&str, String)]) {
        self.rust(format!("c_struct! {{\n    {of} {{"));
        for field in fields {
            if field.presence == Presence::Flagged {
                self.rust(format!("        {}: Bool,", flag(&field.name)));
            }
            self.rust(format!(
                "        {}: {},",
                field.rust_name(),
                field.shape.rust
            ));
        }
        for (name, shape) in more {
            self.rust(format!("        {name}: {shape},"));
        }
        if fields.is_empty() && more.is_empty() {
            self.rust("        nothing: i8,");
        }
        self.rust("    }\n}\n");
        self.layouts.push(of.to_owned());
    }

    fn conversions(&mut self, of: &str, rust: &str, fields: &[Field<'_>]) {
        let is_empty = fields.is_empty();
        let (arena, source, at) = match is_empty {
            true => ("_", "_", "_"),
            false => ("arena", "from", "at"),
        };
        self.rust(format!(
            "impl ToC for schema::{rust} {{\n    type C = {of};\n\n    fn to_c(&self, {arena}: &Arena) -> {of} {{\n        {of} {{"
        ));
        self.fields_to_c(fields);
        if is_empty {
            self.rust("            nothing: 0,");
        }
        self.rust(format!(
            "        }}\n    }}\n}}\n\nobject!(schema::{rust});\n\nimpl FromC for schema::{rust} {{\n    fn from_c({source}: &{of}, {at}: &Path<'_>) -> Result<Self, InvalidArgument> {{\n        Ok(Self {{"
        ));
        self.fields_from_c(fields);
        self.rust("        })\n    }\n}\n");
    }

    /// Writes the conversion of the schema's members to C's.
    pub(super) fn fields_to_c(&mut self, fields: &[Field<'_>]) {
        for field in fields {
            let (to, from) = (field.rust_name(), field.schema_name());
            if field.presence == Presence::Flagged {
                let flag = flag(&field.name);
                self.rust(format!(
                    "            {flag}: is_there(&self.{from}),\n            {to}: or_zero(&self.{from}, arena),"
                ));
            } else {
                self.rust(format!("            {to}: self.{from}.to_c(arena),"));
            }
        }
    }

    /// Writes the conversion of C's members to the schema's.
    pub(super) fn fields_from_c(&mut self, fields: &[Field<'_>]) {
        for field in fields {
            let (to, from, name) = (field.schema_name(), field.rust_name(), &field.name);
            if field.presence == Presence::Flagged {
                let flag = flag(name);
                self.rust(format!(
                    "            {to}: flagged(from.{flag}, &from.{from}, &at.member(\"{flag}\"), &at.member(\"{name}\"))?,"
                ));
            } else {
                self.rust(format!(
                    "            {to}: FromC::from_c(&from.{from}, &at.member(\"{name}\"))?,"
                ));
            }
        }
    }
}
