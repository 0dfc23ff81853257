//! Enumerations.

use super::documentation::Comment;
use super::{Writer, names};
use crate::definition::{Definition, EnumValue, Kind};
use crate::error::SchemaError;

/// Writes every enumeration.
pub(super) fn write(writer: &mut Writer<'_>) -> Result<(), SchemaError> {
    writer.heading("Enumerations");
    for definition in writer.schema.definitions {
        if let Kind::Enum(values) = &definition.kind {
            writer.enumeration(definition, values)?;
        }
    }
    Ok(())
}

impl Writer<'_> {
    fn enumeration(
        &mut self,
        definition: &Definition,
        values: &[EnumValue],
    ) -> Result<(), SchemaError> {
        let doc = definition.doc.as_ref();
        let of = names::type_name(&definition.name);
        self.scope.give(&of, definition)?;
        let mut comment = Comment::of(self.schema, definition);
        comment.close(self.schema, doc);
        self.c(format!("{}typedef enum {of} {{", comment.text(0)));
        for (number, value) in values.iter().enumerate() {
            let constant = names::constant(&definition.name, &value.name);
            self.scope.give(&constant, definition)?;
            let about = Comment::of_member(self.schema, doc, &value.name).text(4);
            let comma = if number + 1 < values.len() { "," } else { "" };
            self.c(format!("{about}    {constant} = {number}{comma}"));
        }
        self.c(format!("}} {of};\n"));
        let names = values.iter().map(|value| format!("c\"{}\"", value.name));
        let names = names.collect::<Vec<_>>().join(", ");
        self.name_of(definition, &of, &names)
    }

    /// Writes the function that returns a value's name.
    fn name_of(
        &mut self,
        definition: &Definition,
        of: &str,
        names: &str,
    ) -> Result<(), SchemaError> {
        let name = &definition.name;
        let function = format!("{}_name", names::function(name));
        self.scope.give(&function, definition)?;
        self.declare(
            &[&format!(
                "The name of a value of {of} on the wire. It is the library's and lives as long as the program. NULL if there is no such value."
            )],
            &format!("const char *{function}({of} value);"),
        );
        self.rust(format!(
            "c_enum! {{ schema::{name}, \"{of}\", [{names}] }}

/// The name of a value of `{of}`.
#[unsafe(no_mangle)]
pub extern \"C\" fn {function}(value: Enum<schema::{name}>) -> StaticText {{
    name_of(value)
}}
"
        ));
        Ok(())
    }
}
