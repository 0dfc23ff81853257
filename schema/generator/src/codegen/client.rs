//! The client's side: a session's method for each command and each accessor, blocking and asynchronous.
//!
//! The crate that includes the output has, at its root, `Session`, `Events`, `Error` and the types that every command
//! uses; with its feature `tokio`, the module `asynchronous` has a session and events, too.

use std::fmt::Write as _;

use super::commands::{data_type, return_type};
use super::documentation::write_doc;
use super::events;
use super::{Schema, rust_types};
use crate::definition::{Command, Data, Definition};
use crate::name;

/// Whether a client's method blocks or is awaited.
#[derive(Clone, Copy)]
enum Waiting {
    Blocking,
    Awaiting,
}

impl Waiting {
    fn function(self) -> &'static str {
        match self {
            Self::Blocking => "pub fn",
            Self::Awaiting => "pub async fn",
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Blocking => "",
            Self::Awaiting => ".await",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Blocking => "crate",
            Self::Awaiting => "crate::asynchronous",
        }
    }
}

/// Writes the methods of both kinds of session.
pub(super) fn write(schema: &Schema<'_>) -> String {
    let mut out = String::new();
    write_types(schema, &mut out);
    write_events(schema, Waiting::Blocking, &mut out);
    write_session(schema, Waiting::Blocking, &mut out);
    let _ = writeln!(
        out,
        "#[cfg(feature = \"tokio\")]\n/// The objects of events, as streams.\npub mod streams {{\n    use super::*;\n"
    );
    write_events(schema, Waiting::Awaiting, &mut out);
    let _ = writeln!(out, "}}\n\n#[cfg(feature = \"tokio\")]");
    write_session(schema, Waiting::Awaiting, &mut out);
    out
}

/// Methods of a session that are not commands, and whose names commands cannot have.
const TAKEN: [&str; 9] = [
    "as_fd", "call", "close", "connect", "dispatch", "event", "greeting", "options", "process",
];

/// The method's name for a command.
pub(super) fn method(command: &str) -> String {
    let method = name::snake(command);
    if TAKEN.contains(&method.as_str()) {
        format!("{method}_command")
    } else {
        method
    }
}

/// Writes the imports of the types.
fn write_types(schema: &Schema<'_>, out: &mut String) {
    let types: Vec<String> = schema.definitions.iter().flat_map(rust_types).collect();
    let _ = writeln!(
        out,
        "pub use faultvisor_schema::{{{}}};\n",
        types.join(", ")
    );
}

/// The Rust type of an event's object.
fn event_type(event: &Definition) -> String {
    format!("{}Event", name::camel(&event.name))
}

fn write_events(schema: &Schema<'_>, waiting: Waiting, out: &mut String) {
    for (event, data) in schema.signals() {
        let holds = events::data_type(event, data).unwrap_or_else(|| "crate::Empty".to_owned());
        let _ = writeln!(
            out,
            "/// The connection to the signal behind `{}`; dropping it disconnects.\npub type {} = {}::Events<{holds}>;\n",
            event.name,
            event_type(event),
            waiting.module(),
        );
    }
}

fn write_session(schema: &Schema<'_>, waiting: Waiting, out: &mut String) {
    let _ = writeln!(out, "impl {}::Session {{", waiting.module());
    for (definition, command) in schema.commands() {
        write_command(schema, waiting, definition, command, out);
    }
    for (event, data) in schema.signals() {
        write_accessor(schema, waiting, event, data, out);
    }
    let _ = writeln!(out, "}}\n");
}

fn write_command(
    schema: &Schema<'_>,
    waiting: Waiting,
    definition: &Definition,
    command: &Command,
    out: &mut String,
) {
    write_doc(out, definition.doc.as_ref(), &definition.name);
    let has_errors = definition
        .doc
        .as_ref()
        .is_some_and(|doc| doc.errors.is_some());
    let heading = if has_errors {
        ""
    } else {
        "///\n/// # Errors\n"
    };
    let _ = writeln!(
        out,
        "{heading}///\n/// [`Error::Command`](crate::Error::Command) is the server's; the others tell of the connection."
    );
    let (parameter, arguments) = match data_type(definition, command) {
        Some(data) => (format!(", arguments: &{data}"), "Some(arguments)"),
        None => (String::new(), "None::<&crate::Empty>"),
    };
    let _ = writeln!(
        out,
        "    {} {}(&self{parameter}) -> Result<{}, crate::Error> {{\n        self.call(\"{}\", {arguments}){}\n    }}\n",
        waiting.function(),
        method(&definition.name),
        return_type(schema, command),
        definition.name,
        waiting.suffix(),
    );
}

fn write_accessor(
    schema: &Schema<'_>,
    waiting: Waiting,
    event: &Definition,
    data: &Data,
    out: &mut String,
) {
    let accessor = name::snake(&name::accessor(&event.name));
    let of = match waiting {
        Waiting::Blocking => event_type(event),
        Waiting::Awaiting => format!("streams::{}", event_type(event)),
    };
    let device = match schema.device(event, data) {
        Some(_) => ", of one device or of all",
        None => "",
    };
    let (function, suffix) = (waiting.function(), waiting.suffix());
    let name = &event.name;
    let _ = writeln!(
        out,
        "    /// Connects to the signal behind `{name}`. Its events arrive at the object that is returned, and dropping that disconnects.\n    ///\n    /// # Errors\n    ///\n    /// The server has no such event, or the connection failed.\n    {function} {accessor}(&self) -> Result<{of}, crate::Error> {{\n        self.event(\"{name}\", &crate::AccessorArguments::default()){suffix}\n    }}\n"
    );
    let _ = writeln!(
        out,
        "    /// Connects to the signal behind `{name}`{device}, and begins with the present state if that is asked for.\n    ///\n    /// # Errors\n    ///\n    /// There is no such device, the server has no such event, or the connection failed.\n    {function} {accessor}_with(&self, arguments: &crate::AccessorArguments) -> Result<{of}, crate::Error> {{\n        self.event(\"{name}\", arguments){suffix}\n    }}\n"
    );
}
