//! Events: their data, the signals that raise them, and notices, which have no signal.

use std::fmt::Write as _;

use super::Schema;
use super::documentation::write_doc;
use super::types::write_struct;
use crate::definition::{Data, Definition};
use crate::name;

/// Writes the events' data types, `Event`, `Notice`, `SignalName` and `Signals`.
pub(super) fn write(schema: &Schema<'_>, out: &mut String) {
    for (event, data) in schema.events() {
        if let Data::Members(members) = data {
            let members: Vec<_> = members.iter().map(|member| (event, member)).collect();
            write_struct(schema, event, &name::camel(&event.name), &members, out);
        }
    }
    let signals: Vec<_> = schema.signals().collect();
    let notices: Vec<_> = schema.notices().collect();
    let about = "/// An event of the schema that is raised as a signal.";
    write_enum("Event", about, &signals, out);
    let about = "/// An event of the schema that is no signal: it only says something of the stream it is in.";
    write_enum("Notice", about, &notices, out);
    write_data("Event", &signals, out);
    write_data("Notice", &notices, out);
    write_event(schema, &signals, out);
    write_signal_name(schema, &signals, out);
    write_signals(&signals, out);
}

/// The Rust type of an event's data, if it has any.
pub(super) fn data_type(event: &Definition, data: &Data) -> Option<String> {
    match data {
        Data::Empty => None,
        Data::Members(_) => Some(name::camel(&event.name)),
        Data::Named(name, _) => Some(name.clone()),
    }
}

fn write_enum(rust_name: &str, about: &str, events: &[(&Definition, &Data)], out: &mut String) {
    let _ = writeln!(
        out,
        "{about}\n#[derive(Clone, Debug, PartialEq, serde::Serialize)]\n#[serde(tag = \"event\", content = \"data\")]\npub enum {rust_name} {{"
    );
    for (event, data) in events {
        write_doc(out, event.doc.as_ref(), &event.name);
        let _ = writeln!(out, "    #[serde(rename = \"{}\")]", event.name);
        let variant = name::camel(&event.name);
        match data_type(event, data) {
            Some(data) => writeln!(out, "    {variant}({data}),"),
            None => writeln!(out, "    {variant},"),
        }
        .unwrap_or_default();
    }
    let _ = writeln!(out, "}}\n");
}

/// Writes what an enum of events offers to encoders that write the object around the data themselves.
fn write_data(rust_name: &str, events: &[(&Definition, &Data)], out: &mut String) {
    let mut names = String::new();
    let mut arms = String::new();
    for (event, data) in events {
        let (variant, wire) = (name::camel(&event.name), &event.name);
        let (pattern, value) = match data {
            Data::Empty => ("", "None"),
            _ => (
                "(data)",
                "Some(serde::Serialize::serialize(data, serializer))",
            ),
        };
        let ignored = pattern.replace("data", "_");
        let _ = writeln!(names, "            Self::{variant}{ignored} => \"{wire}\",");
        let _ = writeln!(arms, "            Self::{variant}{pattern} => {value},");
    }
    let whole = if events.is_empty() { "*self" } else { "self" };
    let has_data = events.iter().any(|(_, data)| !matches!(data, Data::Empty));
    let unused = if has_data {
        ""
    } else {
        "drop(serializer);\n        "
    };
    let _ = writeln!(
        out,
        r#"impl {rust_name} {{
    /// Its name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {{
        match {whole} {{
{names}        }}
    }}

    /// Serializes its data alone, if it has any.
    pub fn serialize_data<S: serde::Serializer>(&self, serializer: S) -> Option<Result<S::Ok, S::Error>> {{
        {unused}match {whole} {{
{arms}        }}
    }}
}}
"#
    );
}

fn write_event(schema: &Schema<'_>, signals: &[(&Definition, &Data)], out: &mut String) {
    let _ = writeln!(
        out,
        "impl Event {{\n    /// The signal that raises it.\n    #[must_use]\n    pub const fn signal(&self) -> SignalName {{\n        match self {{"
    );
    for (event, data) in signals {
        let variant = name::camel(&event.name);
        let pattern = if matches!(data, Data::Empty) {
            ""
        } else {
            "(_)"
        };
        let _ = writeln!(
            out,
            "            Self::{variant}{pattern} => SignalName::{variant},"
        );
    }
    let _ = writeln!(
        out,
        "        }}\n    }}\n\n    /// The device that it is about.\n    #[must_use]\n    pub fn device(&self) -> Option<&str> {{\n        match self {{"
    );
    let mut without = Vec::new();
    for (event, data) in signals {
        let variant = name::camel(&event.name);
        match schema.device(event, data) {
            Some(member) if member.optional => {
                let _ = writeln!(
                    out,
                    "            Self::{variant}(data) => data.device.as_deref(),"
                );
            }
            Some(_) => {
                let _ = writeln!(
                    out,
                    "            Self::{variant}(data) => Some(&data.device),"
                );
            }
            None if matches!(data, Data::Empty) => without.push(format!("Self::{variant}")),
            None => without.push(format!("Self::{variant}(_)")),
        }
    }
    if !without.is_empty() {
        let _ = writeln!(out, "            {} => None,", without.join(" | "));
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
}

fn write_signal_name(schema: &Schema<'_>, signals: &[(&Definition, &Data)], out: &mut String) {
    let _ = writeln!(
        out,
        "/// Which signal: an event of the schema as something to connect to.\n#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\npub enum SignalName {{"
    );
    for (event, _) in signals {
        let _ = writeln!(
            out,
            "    /// Raises `{}`.\n    {},",
            event.name,
            name::camel(&event.name)
        );
    }
    let _ = writeln!(out, "}}\n\nimpl SignalName {{");
    let list: Vec<String> = signals
        .iter()
        .map(|(event, _)| format!("Self::{}", name::camel(&event.name)))
        .collect();
    let _ = writeln!(
        out,
        "    /// Every signal, in the schema's order.\n    pub const ALL: &'static [Self] = &[{}];\n",
        list.join(", ")
    );
    write_names(out, "The name of its events.", "name", signals, |event| {
        event.to_owned()
    });
    write_names(
        out,
        "The command that connects to it.",
        "accessor",
        signals,
        name::accessor,
    );
    let _ = writeln!(
        out,
        "    /// Whether its events say which device they are about, so that a connection can be to one device only.\n    #[must_use]\n    pub const fn has_device(self) -> bool {{\n        match self {{"
    );
    for answer in [true, false] {
        let of: Vec<String> = signals
            .iter()
            .filter(|(event, data)| schema.device(event, data).is_some() == answer)
            .map(|(event, _)| format!("Self::{}", name::camel(&event.name)))
            .collect();
        if !of.is_empty() {
            let _ = writeln!(out, "            {} => {answer},", of.join(" | "));
        }
    }
    let _ = writeln!(out, "        }}\n    }}\n}}\n");
}

/// Writes `Signals`, with a field for each signal, and the methods for all of them.
fn write_signals(signals: &[(&Definition, &Data)], out: &mut String) {
    let _ = writeln!(
        out,
        "/// The signals of the schema, to be raised and to be connected to. Clones are the same signals.\n#[derive(Clone, Debug, Default)]\npub struct Signals {{"
    );
    for (event, data) in signals {
        let of = data_type(event, data).unwrap_or_else(|| "crate::Empty".to_owned());
        let field = name::snake(&event.name);
        let _ = writeln!(
            out,
            "    /// Raises `{}`.\n    pub {field}: crate::Signal<{of}>,",
            event.name
        );
    }
    let _ = writeln!(
        out,
        "}}\n\nimpl Signals {{\n    /// Raises an event on the signal that it is of.\n    pub fn raise(&self, event: Event) {{\n        match event {{"
    );
    for (event, data) in signals {
        let variant = name::camel(&event.name);
        let field = name::snake(&event.name);
        let (pattern, data) = match data {
            Data::Empty => ("", "&crate::Empty {}"),
            _ => ("(data)", "&data"),
        };
        let _ = writeln!(
            out,
            "            Event::{variant}{pattern} => self.{field}.raise({data}),"
        );
    }
    let _ = writeln!(
        out,
        "        }}\n    }}\n\n    /// Connects to every signal with one handler.\n    pub fn connect_all(&self, handler: &std::sync::Arc<dyn Fn(Event) + Send + Sync>) -> Vec<crate::Connection> {{\n        vec!["
    );
    for (event, data) in signals {
        let variant = name::camel(&event.name);
        let field = name::snake(&event.name);
        let (parameter, made) = match data {
            Data::Empty => ("_", format!("Event::{variant}")),
            _ => ("data", format!("Event::{variant}(data.clone())")),
        };
        let _ = writeln!(
            out,
            "            {{ let handler = std::sync::Arc::clone(handler); self.{field}.connect(move |{parameter}| handler({made})) }},"
        );
    }
    let _ = writeln!(out, "        ]\n    }}\n}}\n");
}

fn write_names(
    out: &mut String,
    about: &str,
    method: &str,
    signals: &[(&Definition, &Data)],
    text: impl Fn(&str) -> String,
) {
    let _ = writeln!(
        out,
        "    /// {about}\n    #[must_use]\n    pub const fn {method}(self) -> &'static str {{\n        match self {{"
    );
    for (event, _) in signals {
        let variant = name::camel(&event.name);
        let _ = writeln!(
            out,
            "            Self::{variant} => \"{}\",",
            text(&event.name)
        );
    }
    let _ = writeln!(out, "        }}\n    }}\n");
}
