//! The members of a rule and their types, from the schema at run time.

use faultvisor_schema::{
    BlockFaultRule, CommandError, Decode, Path, SchemaInfoBranch, SchemaInfoObject, introspection,
};
use serde_json::Value;

use super::error::Problem;

/// A type of the schema.
#[derive(Debug, Clone, Copy)]
pub(super) struct Type(&'static SchemaInfoBranch);

impl Type {
    /// The type of a rule, the argument of `block-fault-add`. Types have no names at run time.
    pub(super) fn rule() -> Option<Self> {
        match Self::named("block-fault-add")?.0 {
            SchemaInfoBranch::Command(command) => Self::named(&command.arg_type),
            _ => None,
        }
    }

    fn named(name: &str) -> Option<Self> {
        let mut all = introspection().iter();
        let found = all.find(|entity| entity.name == name)?;
        Some(Self(&found.meta_type))
    }

    /// Its kind.
    pub(super) fn branch(self) -> &'static SchemaInfoBranch {
        self.0
    }

    /// The element type of an array.
    pub(super) fn element(self) -> Option<Self> {
        match self.0 {
            SchemaInfoBranch::Array(array) => Self::named(&array.element_type),
            _ => None,
        }
    }

    /// The words of an enumeration; of an alternate with a number, that it accepts a number, too.
    fn words(self) -> Option<(Vec<&'static str>, bool)> {
        match self.0 {
            SchemaInfoBranch::Enum(of) => {
                let words = of.members.iter().map(|member| member.name.as_str());
                Some((words.collect(), false))
            }
            SchemaInfoBranch::Alternate(of) => {
                let all = of
                    .members
                    .iter()
                    .filter_map(|member| Self::named(&member.r#type));
                let words = all.filter_map(Self::words).map(|(words, _)| words);
                let words: Vec<_> = words.flatten().collect();
                (!words.is_empty()).then_some((words, true))
            }
            _ => None,
        }
    }

    fn object(self) -> Option<&'static SchemaInfoObject> {
        match self.0 {
            SchemaInfoBranch::Object(object) => Some(object),
            _ => None,
        }
    }

    /// Names and types of an object's members: those of every value, and those of one variant, or of any.
    fn members(self, case: Option<&str>) -> Vec<(&'static str, &'static str)> {
        let Some(object) = self.object() else {
            return Vec::new();
        };
        let own = object.members.iter();
        let mut members: Vec<_> = own
            .map(|member| (member.name.as_str(), member.r#type.as_str()))
            .collect();
        for variant in object.variants.iter().flatten() {
            if case.is_none_or(|case| case == variant.case)
                && let Some(of) = Self::named(&variant.r#type)
            {
                members.extend(of.members(None));
            }
        }
        members
    }

    /// The type of a member, in whichever variant the object has it.
    pub(super) fn member(self, name: &str) -> Option<Self> {
        let all = self.members(None);
        let (_, of) = all.into_iter().find(|(member, _)| *member == name)?;
        Self::named(of)
    }
}

/// A rule cannot be decoded; with the member concerned, if it is known.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Problem,
    pub(super) key: Option<String>,
}

impl From<CommandError> for Refused {
    fn from(error: CommandError) -> Self {
        Self {
            problem: error.into(),
            key: None,
        }
    }
}

/// Decodes a rule.
pub(super) fn decode(value: Value) -> Result<BlockFaultRule, Refused> {
    if let Value::Object(members) = &value {
        let action = members.get("action").and_then(Value::as_str);
        let known = names(action);
        if let Some(key) = members.keys().find(|key| !known.contains(&key.as_str())) {
            return Err(Refused {
                problem: unknown(key, action),
                key: Some(key.clone()),
            });
        }
    }
    check_words(&value, Type::rule(), "")?;
    Ok(BlockFaultRule::decode(value, &Path::ROOT)?)
}

/// Checks the words of enumerations: the schema names the wrong one, but not the valid ones.
fn check_words(value: &Value, of: Option<Type>, path: &str) -> Result<(), Refused> {
    let Some(of) = of else {
        return Ok(());
    };
    let under = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        Value::Object(members) => members
            .iter()
            .try_for_each(|(name, value)| check_words(value, of.member(name), &under(name))),
        Value::Array(elements) => (0..)
            .zip(elements)
            .try_for_each(|(index, value): (usize, _)| {
                check_words(value, of.element(), &under(&index.to_string()))
            }),
        Value::String(text) => match of.words() {
            Some((words, or_number)) if !words.contains(&text.as_str()) => Err(Refused {
                problem: Problem::no_word(path, text, words, or_number),
                key: path.split('.').next().map(str::to_owned),
            }),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

/// The members that a rule with this action can have. With an unknown action it can have any, as the action is the
/// error.
fn names(action: Option<&str>) -> Vec<&'static str> {
    let Some(rule) = Type::rule() else {
        return Vec::new();
    };
    let cases = rule.object().and_then(|object| object.variants.as_ref());
    let has_case = |action: &&str| cases.into_iter().flatten().any(|of| of.case == *action);
    let members = rule.members(action.filter(has_case));
    members.into_iter().map(|(name, _)| name).collect()
}

fn unknown(key: &str, action: Option<&str>) -> Problem {
    match action {
        Some(action) if names(None).contains(&key) => Problem::OfOtherAction {
            key: key.to_owned(),
            action: action.to_owned(),
        },
        _ => Problem::unknown_key(key, names(action)),
    }
}
