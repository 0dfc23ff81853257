//! A server's introspection, from the answer to `query-qmp-schema`.
//!
//! No command or type is known by name. Type names are the server's own, and are followed from the command or the event
//! that refers to them. A dangling reference, or a kind of type that is not known, is a type that admits any value.

mod answer;
mod description;
mod members;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::suggestion;

pub use description::{Rows, listed};
pub use members::Choice;

/// A server's commands and events, with the types that they use.
#[derive(Debug, Clone, Default)]
pub struct Introspection {
    commands: BTreeMap<String, Command>,
    events: BTreeMap<String, String>,
    types: BTreeMap<String, Type>,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The name of its arguments' object type.
    pub arguments: String,
    /// The name of its answer's type.
    pub returns: String,
    /// Whether it can be executed out of band.
    pub allow_oob: bool,
    /// Its features, such as "deprecated".
    pub features: Vec<String>,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// A value without members.
    Scalar(Scalar),
    /// One of these values.
    Enumeration(Vec<String>),
    /// A list of the named type.
    Array(String),
    /// An object.
    Object(Object),
    /// A value of one of the named types.
    Alternate(Vec<String>),
    /// Any value.
    Any,
}

/// A kind of scalar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// A string.
    String,
    /// A number of any kind.
    Number,
    /// A number without a fraction.
    Integer,
    /// True or false.
    Boolean,
    /// Null.
    Null,
}

/// An object type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Object {
    /// Members of every branch.
    pub members: Vec<Member>,
    /// The member that selects the branch.
    pub tag: Option<String>,
    /// The name of the object type that each of the tag's values adds.
    pub variants: Vec<(String, String)>,
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The name of its type.
    pub of: String,
    /// Whether it is optional.
    pub optional: bool,
}

/// An unusable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IntrospectionError {
    /// It is not a list.
    #[error("the answer to query-qmp-schema is no list")]
    NoList,
    /// It has no commands.
    #[error("the answer to query-qmp-schema describes no command")]
    NoCommand,
}

/// An unknown command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "CommandNotFound: the server has no command '{name}'{}",
    suggestion::question(nearest.as_deref())
)]
pub struct UnknownCommand {
    /// Its name as given.
    pub name: String,
    /// The known command most similar to it.
    pub nearest: Option<String>,
}

impl Introspection {
    /// Reads the answer to `query-qmp-schema`. Invalid entries are skipped.
    ///
    /// # Errors
    ///
    /// [`IntrospectionError`] if there is no valid command.
    pub fn from_answer(answer: Value) -> Result<Self, IntrospectionError> {
        answer::read(answer)
    }

    /// A command.
    ///
    /// # Errors
    ///
    /// [`UnknownCommand`], with the most similar one.
    pub fn command(&self, name: &str) -> Result<&Command, UnknownCommand> {
        self.commands.get(name).ok_or_else(|| UnknownCommand {
            name: name.to_owned(),
            nearest: suggestion::nearest(name, self.command_names()).map(str::to_owned),
        })
    }

    /// The names of all commands, sorted.
    pub fn command_names(&self) -> impl Iterator<Item = &str> {
        self.commands.keys().map(String::as_str)
    }

    /// The type name of an event's data, if the event exists.
    #[must_use]
    pub fn event_type(&self, name: &str) -> Option<&str> {
        self.events.get(name).map(String::as_str)
    }

    /// The names of all events, sorted.
    pub fn event_names(&self) -> impl Iterator<Item = &str> {
        self.events.keys().map(String::as_str)
    }

    /// The type of this name.
    #[must_use]
    pub fn type_of(&self, name: &str) -> &Type {
        const ANY: &Type = &Type::Any;
        self.types.get(name).unwrap_or(ANY)
    }
}

#[cfg(test)]
pub mod samples {
    //! Schemas for tests.

    use super::*;
    use serde_json::json;

    /// Faultvisor's own schema.
    pub fn faultvisor() -> Introspection {
        let answer = serde_json::to_value(faultvisor_schema::introspection()).unwrap();
        Introspection::from_answer(answer).unwrap()
    }

    /// A schema with every construct of the language and with hidden type names.
    pub fn masked() -> Introspection {
        let answer = json!([
            {"name": "open", "meta-type": "command", "arg-type": "0", "ret-type": "9", "allow-oob": true},
            {"name": "close", "meta-type": "command", "arg-type": "9", "ret-type": "9",
             "features": ["deprecated"]},
            {"name": "HAPPENED", "meta-type": "event", "arg-type": "6"},
            {"name": "0", "meta-type": "object", "tag": "driver",
             "members": [{"name": "driver", "type": "1"},
                         {"name": "name", "type": "str", "default": null},
                         {"name": "on-error", "type": "1", "default": null},
                         {"name": "limits", "type": "6", "default": null},
                         {"name": "backing", "type": "8", "default": null},
                         {"name": "words", "type": "[str]", "default": null},
                         {"name": "kinds", "type": "[1]", "default": null},
                         {"name": "parts", "type": "[6]", "default": null},
                         {"name": "whatever", "type": "any", "default": null}],
             "variants": [{"case": "file", "type": "2"}, {"case": "net", "type": "3"}, {"case": "gone", "type": "77"}]},
            {"name": "1", "meta-type": "enum", "values": ["file", "net", "gone"]},
            {"name": "2", "meta-type": "object", "members": [{"name": "path", "type": "str"}]},
            {"name": "3", "meta-type": "object", "tag": "family",
             "members": [{"name": "family", "type": "4"}, {"name": "port", "type": "int", "default": null}],
             "variants": [{"case": "ip", "type": "5"}]},
            {"name": "4", "meta-type": "enum", "members": [{"name": "ip"}, {"name": "unix"}]},
            {"name": "5", "meta-type": "object", "members": [{"name": "host", "type": "str"}]},
            {"name": "6", "meta-type": "object",
             "members": [{"name": "bps", "type": "int"},
                         {"name": "share", "type": "number", "default": null},
                         {"name": "strict", "type": "bool", "default": null}]},
            {"name": "8", "meta-type": "alternate",
             "members": [{"type": "str"}, {"type": "0"}, {"type": "null"}]},
            {"name": "9", "meta-type": "object", "members": []},
            {"name": "[str]", "meta-type": "array", "element-type": "str"},
            {"name": "[1]", "meta-type": "array", "element-type": "1"},
            {"name": "[6]", "meta-type": "array", "element-type": "6"},
            {"name": "str", "meta-type": "builtin", "json-type": "string"},
            {"name": "int", "meta-type": "builtin", "json-type": "int"},
            {"name": "number", "meta-type": "builtin", "json-type": "number"},
            {"name": "bool", "meta-type": "builtin", "json-type": "boolean"},
            {"name": "null", "meta-type": "builtin", "json-type": "null"},
            {"name": "any", "meta-type": "builtin", "json-type": "value"},
        ]);
        Introspection::from_answer(answer).unwrap()
    }
}
