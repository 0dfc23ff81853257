//! Writes a schema's Rust code and its reference manual.
//!
//! Each file writes one part: types (unions and alternates in files of their own), events, their delivery and their
//! accessors, commands, the decoding of answers and events, introspection, and the reference manual.

mod accessor;
mod alternates;
mod c;
mod client;
mod commands;
mod decoding;
mod delivery;
mod documentation;
mod events;
mod introspection;
mod reference;
mod types;
mod unions;

pub use c::CLibrary;

use std::collections::HashMap;

use crate::NOTICE_FEATURE;
use crate::check::BUILT_IN;
use crate::definition::{Command, Data, Definition, Kind, Member, Type, Union};
use crate::error::SchemaError;
use crate::load::Loaded;
use crate::name;

/// Who executes the commands of each module.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    /// The modules whose commands the monitor executes. The machine executes all others.
    pub monitor: Vec<String>,
}

/// Writes the server's side.
pub(crate) fn generate(definitions: &[Definition], owners: &Owners) -> Result<String, SchemaError> {
    let schema = Schema::new(definitions);
    schema.one_name_each()?;
    commands::check(&schema, owners)?;
    let mut out = String::new();
    types::write(&schema, &mut out)?;
    events::write(&schema, &mut out);
    delivery::write(&schema, &mut out);
    commands::write(&schema, owners, &mut out);
    decoding::write(&schema, owners, &mut out);
    introspection::write(&schema, &mut out);
    Ok(out)
}

/// Writes a client's methods.
pub(crate) fn client(definitions: &[Definition]) -> String {
    client::write(&Schema::new(definitions))
}

/// Writes the reference manual.
pub(crate) fn reference(loaded: &Loaded, owners: &Owners) -> String {
    reference::write(&Schema::new(&loaded.definitions), &loaded.topics, owners)
}

/// Writes the C library.
pub(crate) fn c_library(loaded: &Loaded) -> Result<CLibrary, SchemaError> {
    c::library(loaded)
}

/// The definitions, indexed for the writers.
struct Schema<'a> {
    definitions: &'a [Definition],
    by_name: HashMap<&'a str, &'a Definition>,
}

impl<'a> Schema<'a> {
    fn new(definitions: &'a [Definition]) -> Self {
        let by_name = definitions.iter().map(|d| (d.name.as_str(), d)).collect();
        Self {
            definitions,
            by_name,
        }
    }

    fn commands(&self) -> impl Iterator<Item = (&'a Definition, &'a Command)> {
        self.definitions
            .iter()
            .filter_map(|definition| match &definition.kind {
                Kind::Command(command) => Some((definition, command)),
                _ => None,
            })
    }

    fn events(&self) -> impl Iterator<Item = (&'a Definition, &'a Data)> {
        self.definitions
            .iter()
            .filter_map(|definition| match &definition.kind {
                Kind::Event(data) => Some((definition, data)),
                _ => None,
            })
    }

    /// The events that can be connected to.
    fn signals(&self) -> impl Iterator<Item = (&'a Definition, &'a Data)> {
        self.events()
            .filter(|(definition, _)| !definition.has_feature(NOTICE_FEATURE))
    }

    /// The events without a signal: only part of a session's stream.
    fn notices(&self) -> impl Iterator<Item = (&'a Definition, &'a Data)> {
        self.events()
            .filter(|(definition, _)| definition.has_feature(NOTICE_FEATURE))
    }

    /// The members of a struct, its base's first, or of every branch of a union, each with the definition that documents
    /// it.
    fn all_members(&self, name: &str) -> Vec<(&'a Definition, &'a Member)> {
        let Some(definition) = self.by_name.get(name) else {
            return Vec::new();
        };
        match &definition.kind {
            Kind::Struct { base, members } => {
                let mut all = base
                    .as_ref()
                    .map(|base| self.all_members(base))
                    .unwrap_or_default();
                all.extend(members.iter().map(|member| (*definition, member)));
                all
            }
            Kind::Union(union) => self.data_members(definition, &union.base),
            _ => Vec::new(),
        }
    }

    /// The members of a command's arguments or an event's data.
    fn data_members(
        &self,
        of: &'a Definition,
        data: &'a Data,
    ) -> Vec<(&'a Definition, &'a Member)> {
        match data {
            Data::Empty => Vec::new(),
            Data::Members(members) => members.iter().map(|member| (of, member)).collect(),
            Data::Named(name, _) => self.all_members(name),
        }
    }

    /// The member by which an event names its device.
    fn device(&self, event: &'a Definition, data: &'a Data) -> Option<&'a Member> {
        let members = self.data_members(event, data);
        let devices = members.into_iter().filter(|(_, m)| m.name == "device");
        devices
            .map(|(_, member)| member)
            .find(|m| m.of.name == "str" && !m.of.array)
    }

    /// The Rust type of a value.
    fn rust_type(&self, of: &Type) -> String {
        let name = match of.name.as_str() {
            "str" => "String".to_owned(),
            "number" => "f64".to_owned(),
            "int" | "int64" => "i64".to_owned(),
            "int8" => "i8".to_owned(),
            "int16" => "i16".to_owned(),
            "int32" => "i32".to_owned(),
            "uint8" => "u8".to_owned(),
            "uint16" => "u16".to_owned(),
            "uint32" => "u32".to_owned(),
            "uint64" | "size" => "u64".to_owned(),
            "null" => "crate::Null".to_owned(),
            "any" => "serde_json::Value".to_owned(),
            name => name.to_owned(),
        };
        if of.array {
            format!("Vec<{name}>")
        } else {
            name
        }
    }

    /// The Rust type of a member of `owner`, boxed where `owner` would contain itself.
    fn member_type(&self, owner: &str, member: &Member) -> String {
        let mut rust = self.rust_type(&member.of);
        if !member.of.array && self.reaches(&member.of.name, owner, &mut Vec::new()) {
            rust = format!("Box<{rust}>");
        }
        if member.optional {
            format!("Option<{rust}>")
        } else {
            rust
        }
    }

    /// Whether a value of type `from` may contain, without an array between, one of type `to`.
    fn reaches(&self, from: &str, to: &str, seen: &mut Vec<String>) -> bool {
        if from == to {
            return true;
        }
        if seen.iter().any(|name| name == from) {
            return false;
        }
        seen.push(from.to_owned());
        let branches = match self.by_name.get(from).map(|definition| &definition.kind) {
            Some(Kind::Union(Union { branches, .. }) | Kind::Alternate(branches)) => {
                branches.as_slice()
            }
            _ => &[],
        };
        let members = self.all_members(from).into_iter();
        members
            .map(|(_, member)| &member.of)
            .chain(branches.iter().map(|branch| &branch.of))
            .any(|of| !of.array && self.reaches(&of.name, to, seen))
    }

    /// The Rust type of a branch of `owner`, boxed where `owner` would contain itself.
    fn branch_type(&self, owner: &str, of: &Type) -> String {
        let rust = self.rust_type(of);
        if !of.array && self.reaches(&of.name, owner, &mut Vec::new()) {
            format!("Box<{rust}>")
        } else {
            rust
        }
    }

    /// Refuses two types of one Rust name.
    fn one_name_each(&self) -> Result<(), SchemaError> {
        let mut names: HashMap<String, &str> = HashMap::new();
        for definition in self.definitions {
            for name in rust_types(definition) {
                let of = &definition.name;
                if RESERVED.contains(&name.as_str()) {
                    let message = format!("'{of}' would be '{name}' in Rust, which is taken");
                    return Err(definition.location.error(message));
                }
                if let Some(other) = names.insert(name.clone(), of) {
                    let message = format!("'{of}' would be '{name}' in Rust, as '{other}' is");
                    return Err(definition.location.error(message));
                }
            }
        }
        let accessors: Vec<_> = self
            .signals()
            .map(|(event, _)| (name::accessor(&event.name), event))
            .collect();
        for (accessor, event) in accessors {
            if self.by_name.contains_key(accessor.as_str()) {
                let message = format!(
                    "'{accessor}' is defined, and '{}' makes it again",
                    event.name
                );
                return Err(event.location.error(message));
            }
        }
        Ok(())
    }
}

/// Type names that the generated code needs: fixed types, and those of Rust's own that it uses.
const RESERVED: [&str; 24] = [
    "Command",
    "MachineCommand",
    "MonitorCommand",
    "MachineReturn",
    "MonitorReturn",
    "MachineCommands",
    "MonitorCommands",
    "Event",
    "Notice",
    "Signal",
    "SignalName",
    "Signals",
    "Connection",
    "Empty",
    "Reply",
    "Box",
    "Option",
    "Result",
    "String",
    "Vec",
    "Err",
    "None",
    "Ok",
    "Some",
];

/// The Rust types that a definition becomes.
fn rust_types(definition: &Definition) -> Vec<String> {
    match &definition.kind {
        Kind::Enum(_) | Kind::Struct { .. } | Kind::Alternate(_) => vec![definition.name.clone()],
        Kind::Union(_) => vec![
            definition.name.clone(),
            unions::branch_enum(&definition.name),
        ],
        Kind::Event(Data::Members(_)) => vec![name::camel(&definition.name)],
        Kind::Command(Command {
            data: Data::Members(_),
            ..
        }) => vec![commands::arguments_type(&definition.name)],
        Kind::Event(_) | Kind::Command(_) => Vec::new(),
    }
}

/// Whether a type is built into the language.
fn is_built_in(name: &str) -> bool {
    BUILT_IN.contains(&name)
}
