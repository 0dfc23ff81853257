//! Decoding on the client's side: answers and events, from JSON to the types that the server encodes.

use std::fmt::Write as _;

use super::commands::{Owner, owner, return_type};
use super::events;
use super::{Owners, Schema};
use crate::definition::{Data, Definition};
use crate::name;

/// Writes the decoding of answers and events.
pub(super) fn write(schema: &Schema<'_>, owners: &Owners, out: &mut String) {
    for of in [Owner::Machine, Owner::Monitor] {
        write_returns(schema, owners, of, out);
    }
    write_events("Event", &schema.signals().collect::<Vec<_>>(), out);
    write_events("Notice", &schema.notices().collect::<Vec<_>>(), out);
}

fn write_returns(schema: &Schema<'_>, owners: &Owners, of: Owner, out: &mut String) {
    let rust_name = format!("{}Return", of.name());
    let _ = writeln!(
        out,
        "impl {rust_name} {{\n    /// Makes an answer of what the command of that name returned.\n    ///\n    /// # Errors\n    ///\n    /// There is no such command, or it does not answer so.\n    pub fn decode(command: &str, value: serde_json::Value) -> Result<Self, crate::CommandError> {{\n        let path = crate::Path::ROOT;\n        let path = path.member(\"return\");\n        match command {{"
    );
    let commands = schema
        .commands()
        .filter(|(definition, _)| owner(owners, definition) == of);
    for (definition, command) in commands {
        let variant = match return_type(schema, command).as_str() {
            "()" => "Empty".to_owned(),
            _ => name::camel(&definition.name),
        };
        let _ = writeln!(
            out,
            "            \"{}\" => crate::Decode::decode(value, &path).map(Self::{variant}),",
            definition.name
        );
    }
    if of == Owner::Monitor {
        for (event, _) in schema.signals() {
            let _ = writeln!(
                out,
                "            \"{}\" => crate::Decode::decode(value, &path).map(Self::GetEvent),",
                name::accessor(&event.name)
            );
        }
    }
    let _ = writeln!(
        out,
        "            _ => Err(crate::CommandError::command_not_found(command)),\n        }}\n    }}\n}}\n"
    );
}

fn write_events(rust_name: &str, of: &[(&Definition, &Data)], out: &mut String) {
    if of.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "impl {rust_name} {{\n    /// Makes an event of its name and its data, an object in any case.\n    ///\n    /// # Errors\n    ///\n    /// There is no such event, or its data are not what the schema says.\n    pub fn decode(name: &str, data: serde_json::Value) -> Result<Self, crate::CommandError> {{\n        let path = crate::Path::ROOT;\n        let path = path.member(\"data\");\n        match name {{"
    );
    for (event, data) in of {
        let variant = name::camel(&event.name);
        let made = match events::data_type(event, data) {
            Some(_) => format!("map(Self::{variant})"),
            None => format!("map(|crate::Empty {{}}| Self::{variant})"),
        };
        let _ = writeln!(
            out,
            "            \"{}\" => crate::Decode::decode(data, &path).{made},",
            event.name
        );
    }
    let _ = writeln!(
        out,
        "            _ => Err(crate::CommandError::generic(format!(\"There is no {} '{{name}}'\"))),\n        }}\n    }}\n}}\n",
        rust_name.to_ascii_lowercase()
    );
}
