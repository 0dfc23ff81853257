//! What a schema must not say: names that break the rules, types that are not there, and what nobody documented.

use std::collections::HashMap;

use crate::NOTICE_FEATURE;
use crate::definition::{Command, Data, Definition, EnumValue, Feature, Kind, Member, Type};
use crate::doc::{Described, Doc};
use crate::error::{Location, SchemaError};
use crate::name;
use crate::pragma::Pragmas;

/// The types of the language.
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
                self.members(definition, members)?;
                if let Some(base) = base {
                    self.is_struct(base, &definition.location)?;
                    self.base(definition, members)?;
                }
            }
            Kind::Command(command) => {
                self.data(definition, &command.data)?;
                if let Some(returns) = &command.returns {
                    self.returns(definition, returns)?;
                }
            }
            Kind::Event(data) => self.data(definition, data)?,
        }
        if definition.has_feature(NOTICE_FEATURE) && !matches!(definition.kind, Kind::Event(_)) {
            let message = format!("only an event can have the feature '{NOTICE_FEATURE}'");
            return Err(definition.location.error(message));
        }
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
        if good {
            Ok(())
        } else {
            Err(definition.location.error(format!("'{name}': {rule}")))
        }
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

    fn members(&self, definition: &Definition, members: &[Member]) -> Result<(), SchemaError> {
        let mut seen: Vec<&str> = Vec::new();
        for member in members {
            let good = name::is_dashed(&member.name)
                || (self.loose_members(definition) && name::is_loose(&member.name));
            if !good {
                let message = format!(
                    "'{}': a member is lower-case words with dashes",
                    member.name
                );
                return Err(member.location.error(message));
            }
            if matches!(member.name.as_str(), "self" | "super" | "crate" | "u")
                || member.name.starts_with("has-")
                || member.name.starts_with("q-")
            {
                let message = format!("no member may be called '{}'", member.name);
                return Err(member.location.error(message));
            }
            // 'a' and '*a' are two keys of the object and one member.
            if seen.contains(&member.name.as_str()) {
                let message = format!("member '{}' is there twice", member.name);
                return Err(member.location.error(message));
            }
            seen.push(&member.name);
            self.is_type(&member.of)?;
        }
        Ok(())
    }

    fn loose_members(&self, definition: &Definition) -> bool {
        self.pragmas.member_names.contains(&definition.name)
    }

    fn is_type(&self, of: &Type) -> Result<(), SchemaError> {
        if BUILT_IN.contains(&of.name.as_str()) {
            return Ok(());
        }
        match self
            .by_name
            .get(of.name.as_str())
            .map(|definition| &definition.kind)
        {
            Some(Kind::Enum(_) | Kind::Struct { .. }) => Ok(()),
            Some(_) => Err(of.location.error(format!("'{}' is no type", of.name))),
            None => Err(of.location.error(format!("there is no type '{}'", of.name))),
        }
    }

    fn is_struct(&self, name: &str, location: &Location) -> Result<(), SchemaError> {
        match self.by_name.get(name).map(|definition| &definition.kind) {
            Some(Kind::Struct { .. }) => Ok(()),
            Some(_) => Err(location.error(format!("'{name}' is no struct"))),
            None => Err(location.error(format!("there is no type '{name}'"))),
        }
    }

    /// A base must end somewhere, and its members must not come again.
    fn base(&self, definition: &Definition, own: &[Member]) -> Result<(), SchemaError> {
        let mut chain = vec![definition.name.as_str()];
        let mut current = definition;
        while let Kind::Struct {
            base: Some(base), ..
        } = &current.kind
        {
            if chain.contains(&base.as_str()) {
                return Err(definition
                    .location
                    .error(format!("'{base}' is its own base")));
            }
            chain.push(base);
            let Some(next) = self.by_name.get(base.as_str()) else {
                break;
            };
            current = next;
            if let Kind::Struct { members, .. } = &current.kind
                && let Some(twice) = own
                    .iter()
                    .find(|m| members.iter().any(|b| b.name == m.name))
            {
                let message = format!("member '{}' is there in base '{base}' already", twice.name);
                return Err(twice.location.error(message));
            }
        }
        Ok(())
    }

    fn data(&self, definition: &Definition, data: &Data) -> Result<(), SchemaError> {
        match data {
            Data::Empty => Ok(()),
            Data::Members(members) => self.members(definition, members),
            Data::Named(name, location) => self.is_struct(name, location),
        }
    }

    fn returns(&self, definition: &Definition, returns: &Type) -> Result<(), SchemaError> {
        if self.pragmas.command_returns.contains(&definition.name) {
            self.is_type(returns)
        } else {
            self.is_struct(&returns.name, &returns.location)
        }
    }

    fn documentation(&self, definition: &Definition) -> Result<(), SchemaError> {
        let Some(doc) = &definition.doc else {
            if !self.pragmas.doc_required {
                return Ok(());
            }
            return Err(definition
                .location
                .error(format!("'{}' is not documented", definition.name)));
        };
        if doc.symbol.as_ref() != Some(&definition.name) {
            let symbol = doc.symbol.as_deref().unwrap_or_default();
            let message = format!(
                "this documents '{symbol}', but '{}' follows",
                definition.name
            );
            return Err(doc.location.error(message));
        }
        if self.pragmas.doc_required && doc.body.is_empty() {
            return Err(doc
                .location
                .error(format!("'{}' is not described", definition.name)));
        }
        if self.pragmas.doc_required && doc.since.as_deref().is_none_or(str::is_empty) {
            return Err(doc.location.error("'Since:' is missing"));
        }
        self.documented_members(definition, doc)?;
        let features = features(definition);
        described("feature", &features, &doc.features, doc)?;
        let returns =
            matches!(&definition.kind, Kind::Command(command) if command.returns.is_some());
        match (&doc.returns, returns) {
            (Some(_), false) => Err(doc.location.error("'Returns:' where nothing is returned")),
            (None, true) if self.pragmas.doc_required => {
                Err(doc.location.error("'Returns:' is missing"))
            }
            _ => Ok(()),
        }
    }

    fn documented_members(&self, definition: &Definition, doc: &Doc) -> Result<(), SchemaError> {
        let names = |members: &[Member]| members.iter().map(|m| m.name.clone()).collect();
        let names: Vec<String> = match &definition.kind {
            Kind::Enum(values) => values.iter().map(|value| value.name.clone()).collect(),
            Kind::Struct { members, .. } => names(members),
            Kind::Command(command) => data_names(&command.data),
            Kind::Event(data) => data_names(data),
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if self.pragmas.documentation.contains(&definition.name) {
            let there: Vec<&str> = doc.members.iter().map(|d| d.name.as_str()).collect();
            let of_these: Vec<&str> = names.into_iter().filter(|n| there.contains(n)).collect();
            return described("member", &of_these, &doc.members, doc);
        }
        described("member", &names, &doc.members, doc)
    }
}

/// The features of a definition and of its members; one documentation serves those of one name.
fn features(definition: &Definition) -> Vec<&str> {
    let of_members: Vec<&Feature> = match &definition.kind {
        Kind::Enum(values) => values.iter().flat_map(|value| &value.features).collect(),
        Kind::Struct { members, .. }
        | Kind::Command(Command {
            data: Data::Members(members),
            ..
        })
        | Kind::Event(Data::Members(members)) => {
            members.iter().flat_map(|member| &member.features).collect()
        }
        Kind::Command(_) | Kind::Event(_) => Vec::new(),
    };
    let all = definition.features.iter().chain(of_members);
    all.map(|feature| feature.name.as_str()).collect()
}

fn data_names(data: &Data) -> Vec<String> {
    match data {
        Data::Members(members) => members.iter().map(|member| member.name.clone()).collect(),
        Data::Empty | Data::Named(..) => Vec::new(),
    }
}

/// Everything that is there is described, and nothing else is.
fn described(
    what: &str,
    names: &[&str],
    described: &[Described],
    doc: &Doc,
) -> Result<(), SchemaError> {
    for name in names {
        match described.iter().find(|d| d.name == **name) {
            None => {
                return Err(doc
                    .location
                    .error(format!("{what} '{name}' is not documented")));
            }
            Some(d) if d.text.is_empty() => {
                return Err(d
                    .location
                    .error(format!("{what} '{name}' is not described")));
            }
            Some(_) => {}
        }
    }
    match described.iter().find(|d| !names.contains(&d.name.as_str())) {
        Some(d) => Err(d
            .location
            .error(format!("there is no {what} '{}' to document", d.name))),
        None => Ok(()),
    }
}
