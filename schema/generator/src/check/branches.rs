//! Unions and alternates: every value belongs to exactly one branch.

use super::types::clash;
use super::{BUILT_IN, Checker};
use crate::definition::{Branch, Data, Definition, EnumValue, Kind, Member, Type, Union};
use crate::error::SchemaError;
use crate::name;

/// The kind of a JSON value, by which alternatives are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonKind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

impl JsonKind {
    /// The number of kinds.
    pub(crate) const COUNT: usize = 6;
}

impl Checker<'_> {
    pub(super) fn union(&self, definition: &Definition, union: &Union) -> Result<(), SchemaError> {
        let base = match &union.base {
            Data::Named(name, location) => {
                self.is_struct(name, location)?;
                self.struct_members(name)
            }
            Data::Members(members) => {
                self.members(definition, members)?;
                members.iter().collect()
            }
            Data::Empty => Vec::new(),
        };
        let values = self.discriminator(union, &base)?;
        for branch in &union.branches {
            self.branch(branch, values, &base)?;
        }
        Ok(())
    }

    /// The values of a union's discriminator.
    fn discriminator(&self, union: &Union, base: &[&Member]) -> Result<&[EnumValue], SchemaError> {
        let name = &union.discriminator;
        let location = &union.discriminator_location;
        let Some(member) = base.iter().find(|member| member.name == *name) else {
            return Err(location.error(format!("discriminator '{name}' is no member of the base")));
        };
        if member.optional {
            return Err(location.error(format!("discriminator '{name}' must not be optional")));
        }
        match self.kind(&member.of.name) {
            Some(Kind::Enum(values)) if !member.of.array && !values.is_empty() => Ok(values),
            _ => Err(location.error(format!(
                "discriminator '{name}' must be of an enum with values"
            ))),
        }
    }

    fn branch(
        &self,
        branch: &Branch,
        values: &[EnumValue],
        base: &[&Member],
    ) -> Result<(), SchemaError> {
        let Branch { name, of, location } = branch;
        if !values.iter().any(|value| value.name == *name) {
            let message = format!("branch '{name}' is no value of the discriminator");
            return Err(location.error(message));
        }
        if of.array {
            return Err(location.error(format!("branch '{name}' must be an object type")));
        }
        self.is_object(&of.name, location)?;
        for member in self.any_members(&of.name, &mut Vec::new()) {
            if base.iter().any(|of_base| clash(of_base, member)) {
                let message = format!(
                    "member '{}' of branch '{name}' is there in the base already",
                    member.name
                );
                return Err(location.error(message));
            }
        }
        Ok(())
    }

    /// Every member that an object of a type can have, in any branch.
    fn any_members<'s>(&'s self, of: &'s str, seen: &mut Vec<&'s str>) -> Vec<&'s Member> {
        let Some(Kind::Union(union)) = self.kind(of) else {
            return self.struct_members(of);
        };
        if seen.contains(&of) {
            return Vec::new();
        }
        seen.push(of);
        let mut all = match &union.base {
            Data::Named(base, _) => self.struct_members(base),
            Data::Members(members) => members.iter().collect(),
            Data::Empty => Vec::new(),
        };
        for branch in &union.branches {
            all.extend(self.any_members(&branch.of.name, seen));
        }
        all
    }

    pub(super) fn alternate(&self, alternatives: &[Branch]) -> Result<(), SchemaError> {
        let mut taken: Vec<(JsonKind, &str)> = Vec::new();
        for alternative in alternatives {
            let name = alternative.name.as_str();
            if !name::is_dashed(name) {
                let message = format!("'{name}': an alternative is lower-case words with dashes");
                return Err(alternative.location.error(message));
            }
            self.is_type(&alternative.of)?;
            let Some(kind) = self.json_kind(&alternative.of) else {
                let message = format!("'{}' cannot be an alternative", alternative.of.name);
                return Err(alternative.location.error(message));
            };
            for kind in self.claimed(&alternative.of, kind) {
                if let Some((_, other)) = taken.iter().find(|(taken, _)| *taken == kind) {
                    let message = format!("alternative '{name}' cannot be told from '{other}'");
                    return Err(alternative.location.error(message));
                }
                taken.push((kind, name));
            }
        }
        Ok(())
    }

    /// The JSON kind of a type's values; `None` if they are of several.
    fn json_kind(&self, of: &Type) -> Option<JsonKind> {
        json_kind(of, self.kind(&of.name))
    }

    /// The JSON kinds that no other alternative may have: the type's own, and those that QEMU's command line, where every
    /// value is text, would confuse with it.
    fn claimed(&self, of: &Type, kind: JsonKind) -> Vec<JsonKind> {
        let mut kinds = vec![kind];
        if kind == JsonKind::String {
            let (boolean, number) = match self.kind(&of.name) {
                Some(Kind::Enum(values)) => (
                    values
                        .iter()
                        .any(|v| matches!(v.name.as_str(), "on" | "off")),
                    values.iter().any(|v| {
                        v.name
                            .starts_with(|c: char| "-+.".contains(c) || c.is_ascii_digit())
                    }),
                ),
                _ => (true, true),
            };
            kinds.extend(boolean.then_some(JsonKind::Boolean));
            kinds.extend(number.then_some(JsonKind::Number));
        }
        kinds
    }
}

/// The JSON kind of a type's values; `None` if they are of several. `kind` is the type's definition.
pub(crate) fn json_kind(of: &Type, kind: Option<&Kind>) -> Option<JsonKind> {
    if of.array {
        return Some(JsonKind::Array);
    }
    if BUILT_IN.contains(&of.name.as_str()) {
        return match of.name.as_str() {
            "str" => Some(JsonKind::String),
            "bool" => Some(JsonKind::Boolean),
            "null" => Some(JsonKind::Null),
            "any" => None,
            _ => Some(JsonKind::Number),
        };
    }
    match kind? {
        Kind::Enum(_) => Some(JsonKind::String),
        Kind::Struct { .. } | Kind::Union(_) => Some(JsonKind::Object),
        Kind::Alternate(_) | Kind::Command(_) | Kind::Event(_) => None,
    }
}
