//! Refuses names that break the rules, types that do not exist, and what is not documented.

//! One file each for types, branches, delivery features and documentation.
//! documentation.

mod branches;
mod delivery;
mod documentation;
mod types;

pub(crate) use branches::{JsonKind, json_kind};

use std::collections::HashMap;

use crate::definition::{Definition, EnumValue, Kind};
use crate::error::SchemaError;
use crate::name;
use crate::pragma::Pragmas;

/// The language's built-in types.
pub(crate) const BUILT_IN: [&str; 15] = [
    "str", "number", "int", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "size", "bool", "null", "any",
];

/// Checks a whole schema.
pub(crate) fn check(definitions: &[Definition], pragmas: &Pragmas) -> Result<(), SchemaError> {
    let mut by_name: HashMap<&str, &Definition> = HashMap::new();
    for definition in definitions {
        if BUILT_IN.contains(&definition.name.as_str()) {
            let message = format!("'{}' is a type of the language", definition.name);
            return Err(definition.location.error(message));
        }
        if let Some(first) = by_name.insert(&definition.name, definition) {
            let message = format!(
                "'{}' is defined in {} already",
                definition.name, first.location
            );
            return Err(definition.location.error(message));
        }
    }
    let checker = Checker { by_name, pragmas };
    definitions
        .iter()
        .try_for_each(|definition| checker.definition(definition))
}

struct Checker<'a> {
    by_name: HashMap<&'a str, &'a Definition>,
    pragmas: &'a Pragmas,
}

impl Checker<'_> {
    fn definition(&self, definition: &Definition) -> Result<(), SchemaError> {
        self.name(definition)?;
        match &definition.kind {
            Kind::Enum(values) => self.values(definition, values)?,
            Kind::Struct { base, members } => {
                self.structure(definition, base.as_deref(), members)?;
            }
            Kind::Union(union) => self.union(definition, union)?,
            Kind::Alternate(alternatives) => self.alternate(alternatives)?,
            Kind::Command(command) => {
                self.data(definition, &command.data)?;
                if let Some(returns) = &command.returns {
                    self.returns(definition, returns)?;
                }
            }
            Kind::Event(data) => self.data(definition, data)?,
        }
        self.delivery(definition)?;
        self.documentation(definition)
    }

    fn name(&self, definition: &Definition) -> Result<(), SchemaError> {
        let name = &definition.name;
        let (good, rule) = match definition.kind {
            Kind::Command(_) => (
                name::is_dashed(name)
                    || (self.pragmas.command_names.contains(name) && name::is_loose(name)),
                "a command's name is lower-case words with dashes",
            ),
            Kind::Event(_) => (
                name::is_event(name),
                "an event's name is capitals with underscores",
            ),
            _ => (
                name::is_type(name),
                "a type's name is words with capitals, joined",
            ),
        };
        if !good {
            return Err(definition.location.error(format!("'{name}': {rule}")));
        }
        // QEMU's generator gives every array type such a name.
        if name.ends_with("List") {
            let message = format!("'{name}': no name ends in 'List'");
            return Err(definition.location.error(message));
        }
        Ok(())
    }

    fn values(&self, definition: &Definition, values: &[EnumValue]) -> Result<(), SchemaError> {
        let mut seen: Vec<&str> = Vec::new();
        for value in values {
            if !name::is_dashed(&value.name) && !self.loose_members(definition) {
                let message = format!("'{}': a value is lower-case words with dashes", value.name);
                return Err(value.location.error(message));
            }
            if seen.contains(&value.name.as_str()) {
                return Err(value
                    .location
                    .error(format!("value '{}' is there twice", value.name)));
            }
            seen.push(&value.name);
        }
        Ok(())
    }
}
