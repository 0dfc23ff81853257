//! Types: members, bases, and which type may be used where.

use super::{BUILT_IN, Checker};
use crate::definition::{Data, Definition, Kind, Member, Type};
use crate::error::{Location, SchemaError};
use crate::name;

impl<'a> Checker<'a> {
    pub(super) fn structure(
        &self,
        definition: &Definition,
        base: Option<&str>,
        members: &[Member],
    ) -> Result<(), SchemaError> {
        self.members(definition, members)?;
        let Some(base) = base else {
            return Ok(());
        };
        self.is_struct(base, &definition.location)?;
        self.base_ends(definition)?;
        for inherited in self.struct_members(base) {
            if let Some(twice) = members.iter().find(|own| clash(own, inherited)) {
                let message = format!("member '{}' is there in base '{base}' already", twice.name);
                return Err(twice.location.error(message));
            }
        }
        Ok(())
    }

    pub(super) fn members(
        &self,
        definition: &Definition,
        members: &[Member],
    ) -> Result<(), SchemaError> {
        for (index, member) in members.iter().enumerate() {
            self.member_name(definition, member)?;
            // 'a' and '*a' are two keys of the JSON object and one member.
            if members[..index].iter().any(|other| clash(other, member)) {
                let message = format!("member '{}' is there twice", member.name);
                return Err(member.location.error(message));
            }
            self.is_type(&member.of)?;
        }
        Ok(())
    }

    fn member_name(&self, definition: &Definition, member: &Member) -> Result<(), SchemaError> {
        let name = &member.name;
        let good =
            name::is_dashed(name) || (self.loose_members(definition) && name::is_loose(name));
        if !good {
            let message = format!("'{name}': a member is lower-case words with dashes");
            return Err(member.location.error(message));
        }
        if matches!(name.as_str(), "self" | "super" | "crate" | "u")
            || name.starts_with("has-")
            || name.starts_with("q-")
        {
            let message = format!("no member may be called '{name}'");
            return Err(member.location.error(message));
        }
        Ok(())
    }

    pub(super) fn loose_members(&self, definition: &Definition) -> bool {
        self.pragmas.member_names.contains(&definition.name)
    }

    pub(super) fn is_type(&self, of: &Type) -> Result<(), SchemaError> {
        if BUILT_IN.contains(&of.name.as_str()) {
            return Ok(());
        }
        match self.kind(&of.name) {
            Some(Kind::Command(_) | Kind::Event(_)) => {
                Err(of.location.error(format!("'{}' is no type", of.name)))
            }
            Some(_) => Ok(()),
            None => Err(of.location.error(format!("there is no type '{}'", of.name))),
        }
    }

    pub(super) fn is_struct(&self, name: &str, location: &Location) -> Result<(), SchemaError> {
        match self.kind(name) {
            Some(Kind::Struct { .. }) => Ok(()),
            Some(_) => Err(location.error(format!("'{name}' is no struct"))),
            None => Err(location.error(format!("there is no type '{name}'"))),
        }
    }

    pub(super) fn is_object(&self, name: &str, location: &Location) -> Result<(), SchemaError> {
        match self.kind(name) {
            Some(Kind::Struct { .. } | Kind::Union(_)) => Ok(()),
            Some(_) => Err(location.error(format!("'{name}' is no object type"))),
            None => Err(location.error(format!("there is no type '{name}'"))),
        }
    }

    pub(super) fn kind(&self, name: &str) -> Option<&'a Kind> {
        self.by_name.get(name).map(|definition| &definition.kind)
    }

    /// Refuses a circle of bases.
    fn base_ends(&self, definition: &Definition) -> Result<(), SchemaError> {
        let mut chain = vec![definition.name.as_str()];
        let mut kind = Some(&definition.kind);
        while let Some(Kind::Struct {
            base: Some(base), ..
        }) = kind
        {
            if chain.contains(&base.as_str()) {
                return Err(definition
                    .location
                    .error(format!("'{base}' is its own base")));
            }
            chain.push(base);
            kind = self.kind(base);
        }
        Ok(())
    }

    /// The members of a struct and of its bases, each once even in a circle of bases.
    pub(super) fn struct_members(&self, name: &str) -> Vec<&'a Member> {
        let mut all = Vec::new();
        let mut seen = Vec::new();
        let mut next = self.by_name.get_key_value(name);
        while let Some((name, definition)) = next
            && let Kind::Struct { base, members } = &definition.kind
            && !seen.contains(name)
        {
            seen.push(*name);
            all.extend(members);
            next = base
                .as_deref()
                .and_then(|base| self.by_name.get_key_value(base));
        }
        all
    }

    pub(super) fn data(&self, definition: &Definition, data: &Data) -> Result<(), SchemaError> {
        match data {
            Data::Empty => Ok(()),
            Data::Members(members) => self.members(definition, members),
            Data::Named(name, location) => {
                self.is_object(name, location)?;
                if matches!(self.kind(name), Some(Kind::Union(_))) && !definition.boxed {
                    let message = format!("'{name}' is a union, and needs 'boxed': true here");
                    return Err(location.error(message));
                }
                Ok(())
            }
        }
    }

    pub(super) fn returns(
        &self,
        definition: &Definition,
        returns: &Type,
    ) -> Result<(), SchemaError> {
        if self.pragmas.command_returns.contains(&definition.name) {
            self.is_type(returns)
        } else {
            self.is_object(&returns.name, &returns.location)
        }
    }
}

/// Whether two members would have the same name in Rust or in C.
pub(super) fn clash(one: &Member, other: &Member) -> bool {
    name::snake(&one.name) == name::snake(&other.name)
}
