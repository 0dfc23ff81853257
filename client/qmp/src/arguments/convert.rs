//! Converts parsed words to JSON, by the types of introspection.

use serde_json::{Map, Value};

use super::scalar;
use super::{ArgumentError, Node, Text};
use crate::introspection::{Choice, Introspection, Member, Object, Scalar, Type};
use crate::suggestion;

/// The arguments of a command.
pub fn arguments(
    introspection: &Introspection,
    of: &Type,
    tree: &Node,
) -> Result<Value, ArgumentError> {
    let converter = Converter { introspection };
    match of {
        Type::Object(object) => converter.object(object, tree, ""),
        // The arguments' type is unknown: infer each value's.
        _ => converter.any_object(tree, ""),
    }
}

struct Converter<'a> {
    introspection: &'a Introspection,
}

type Converted = Result<Value, ArgumentError>;

impl Converter<'_> {
    fn value(&self, of: &Type, node: &Node, key: &str) -> Converted {
        if !node.texts.is_empty() && !node.parts.is_empty() {
            return Err(ArgumentError::Mixed(key.to_owned()));
        }
        match node.texts.as_slice() {
            [] => self.parts(of, node, key),
            [Text::Json(text)] => json(text, key),
            [Text::Plain(text)] => self.text(of, text, key),
            texts => self.several(of, texts, key),
        }
    }

    /// Converts a value given by its members.
    fn parts(&self, of: &Type, node: &Node, key: &str) -> Converted {
        match of {
            Type::Object(object) => self.object(object, node, key),
            Type::Array(element) => self.elements(element, node, key),
            Type::Alternate(types) => self.alternate_parts(of, types, node, key),
            Type::Any => self.any_object(node, key),
            Type::Scalar(_) | Type::Enumeration(_) => Err(self.no_parts(of, node, key)),
        }
    }

    fn no_parts(&self, of: &Type, node: &Node, key: &str) -> ArgumentError {
        ArgumentError::NoParts {
            key: key.to_owned(),
            part: node.parts.keys().next().cloned().unwrap_or_default(),
            expected: self.introspection.describe(of),
        }
    }

    fn object(&self, object: &Object, node: &Node, key: &str) -> Converted {
        let choice = self.introspection.choose(object, |tag| node.word(tag));
        self.tags_are_there(&choice, node, key)?;
        let mut members = Map::new();
        for (name, part) in &node.parts {
            let path = joined(key, name);
            let member = choice.members.iter().find(|member| member.name == *name);
            let value = match (member, part.only_text()) {
                (Some(member), _) => self.value(self.type_of(member), part, &path)?,
                (None, Some(Text::Json(text))) if part.parts.is_empty() => json(text, &path)?,
                (None, _) => return Err(self.unknown(object, &choice, node, key, name)),
            };
            members.insert(name.clone(), value);
        }
        let missing = choice
            .members
            .iter()
            .find(|member| !member.optional && !members.contains_key(&member.name));
        match missing {
            Some(member) => Err(self.missing(member, key)),
            None => Ok(Value::Object(members)),
        }
    }

    /// Tags are checked first: other errors may follow from a wrong tag.
    fn tags_are_there(
        &self,
        choice: &Choice<'_>,
        node: &Node,
        key: &str,
    ) -> Result<(), ArgumentError> {
        for (tag, _) in &choice.open {
            let Some(member) = choice.members.iter().find(|member| member.name == *tag) else {
                continue;
            };
            match node.parts.get(*tag) {
                Some(part) => {
                    self.value(self.type_of(member), part, &joined(key, tag))?;
                }
                None if member.optional => {}
                None => return Err(self.missing(member, key)),
            }
        }
        Ok(())
    }

    fn type_of(&self, member: &Member) -> &Type {
        self.introspection.type_of(&member.of)
    }

    fn missing(&self, member: &Member, key: &str) -> ArgumentError {
        ArgumentError::Missing {
            key: joined(key, &member.name),
            expected: self.introspection.describe(self.type_of(member)),
        }
    }

    fn unknown(
        &self,
        object: &Object,
        choice: &Choice<'_>,
        node: &Node,
        key: &str,
        name: &str,
    ) -> ArgumentError {
        let tag = object.tag.as_deref();
        let other_branch = tag.zip(tag.and_then(|tag| node.word(tag)));
        let cases = self.introspection.cases_with(&object.variants, name);
        if let (Some((tag, given)), false) = (other_branch, cases.is_empty()) {
            return ArgumentError::OtherBranch {
                key: joined(key, name),
                tag: joined(key, tag),
                given,
                cases: cases.into_iter().map(str::to_owned).collect(),
            };
        }
        let names = || choice.members.iter().map(|member| member.name.as_str());
        ArgumentError::Unknown {
            key: joined(key, name),
            nearest: suggestion::nearest(name, names()).map(|name| joined(key, name)),
            known: names().map(|name| joined(key, name)).collect(),
        }
    }

    /// Converts elements given by their indices.
    fn elements(&self, element: &str, node: &Node, key: &str) -> Converted {
        let of = self.introspection.type_of(element);
        let number = |index: usize| node.parts.get(&index.to_string());
        (0..node.parts.len())
            .map(|index| {
                let part = number(index).ok_or_else(|| ArgumentError::Index {
                    key: key.to_owned(),
                })?;
                self.value(of, part, &joined(key, &index.to_string()))
            })
            .collect::<Result<Vec<Value>, _>>()
            .map(Value::Array)
    }

    /// Converts to the first alternative that the members fit. If none does, the error is the first one's.
    fn alternate_parts(&self, of: &Type, types: &[String], node: &Node, key: &str) -> Converted {
        let mut first = None;
        for alternative in types.iter().map(|name| self.introspection.type_of(name)) {
            if !matches!(alternative, Type::Object(_) | Type::Array(_) | Type::Any) {
                continue;
            }
            match self.parts(alternative, node, key) {
                Ok(value) => return Ok(value),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| self.no_parts(of, node, key)))
    }

    /// Converts members of an unknown type.
    fn any_object(&self, node: &Node, key: &str) -> Converted {
        let mut members = Map::new();
        for (name, part) in &node.parts {
            let path = joined(key, name);
            members.insert(name.clone(), self.value(&Type::Any, part, &path)?);
        }
        Ok(Value::Object(members))
    }

    /// Converts a single text after `=`.
    fn text(&self, of: &Type, text: &str, key: &str) -> Converted {
        match of {
            Type::Scalar(kind) => {
                scalar::convert(*kind, text).ok_or_else(|| self.unfit(of, text, key))
            }
            Type::Enumeration(words) => word(words, text, key),
            Type::Array(_) if text.starts_with('[') => json(text, key),
            Type::Array(element) => self.separated(of, element, &[text], key),
            Type::Object(_) if text.starts_with('{') => json(text, key),
            Type::Object(_) => Err(self.unfit(of, text, key)),
            Type::Alternate(types) => self.alternate(of, types, text, key),
            Type::Any => Ok(serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))),
        }
    }

    fn unfit(&self, of: &Type, text: &str, key: &str) -> ArgumentError {
        let hint = match of {
            Type::Object(_) => format!(" ({key}.MEMBER=…, or JSON)"),
            Type::Array(_) => format!(" ({key}.0.MEMBER=…, or JSON)"),
            _ => String::new(),
        };
        ArgumentError::Value {
            key: key.to_owned(),
            text: text.to_owned(),
            expected: format!("{}{hint}", self.introspection.describe(of)),
        }
    }

    /// Converts a key that is given several times.
    fn several(&self, of: &Type, texts: &[Text], key: &str) -> Converted {
        let plain = |text: &'_ Text| match text {
            Text::Plain(text) => Some(text.clone()),
            Text::Json(_) => None,
        };
        let plain: Option<Vec<String>> = texts.iter().map(plain).collect();
        match (of, plain) {
            (Type::Array(element), Some(texts)) => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                self.separated(of, element, &texts, key)
            }
            _ => Err(ArgumentError::Twice(key.to_owned())),
        }
    }

    /// Converts a list of scalars. Each text holds some, separated by commas.
    fn separated(&self, of: &Type, element: &str, texts: &[&str], key: &str) -> Converted {
        let element = self.introspection.type_of(element);
        if !self.is_simple(element) {
            return Err(self.unfit(of, &texts.join(","), key));
        }
        if texts == [""] {
            return Ok(Value::Array(Vec::new()));
        }
        let elements = texts.iter().flat_map(|text| text.split(','));
        let converted = elements.map(|text| self.text(element, text, key));
        converted
            .collect::<Result<Vec<Value>, _>>()
            .map(Value::Array)
    }

    fn is_simple(&self, of: &Type) -> bool {
        let is_simple = |of: &Type| matches!(of, Type::Scalar(_) | Type::Enumeration(_));
        match of {
            Type::Alternate(types) => types
                .iter()
                .any(|name| is_simple(self.introspection.type_of(name))),
            of => is_simple(of),
        }
    }

    /// Converts to the first alternative that the text fits, strings last.
    fn alternate(&self, of: &Type, types: &[String], text: &str, key: &str) -> Converted {
        const STRING: Type = Type::Scalar(Scalar::String);
        let types = || types.iter().map(|name| self.introspection.type_of(name));
        let fits = |alternative: &Type| match alternative {
            // QAPI has no alternates within alternates.
            Type::Alternate(_) => None,
            Type::Array(_) if !text.starts_with('[') => None,
            alternative => self.text(alternative, text, key).ok(),
        };
        types()
            .filter(|alternative| **alternative != STRING)
            .find_map(fits)
            .or_else(|| types().find(|of| **of == STRING).and_then(fits))
            .ok_or_else(|| self.no_alternative(of, types(), text, key))
    }

    /// The error for a text that fits no alternative. Prefers that of an enumeration with a similar value.
    fn no_alternative<'t>(
        &self,
        of: &Type,
        mut types: impl Iterator<Item = &'t Type>,
        text: &str,
        key: &str,
    ) -> ArgumentError {
        let unfit = self.unfit(of, text, key);
        let nearest = types.find_map(|of| match of {
            Type::Enumeration(words) => suggestion::nearest(text, words.iter().map(String::as_str)),
            _ => None,
        });
        match (unfit, nearest) {
            (
                ArgumentError::Value {
                    key,
                    text,
                    expected,
                },
                Some(nearest),
            ) => {
                let expected = format!("{expected}{}", suggestion::question(Some(nearest)));
                ArgumentError::Value {
                    key,
                    text,
                    expected,
                }
            }
            (unfit, _) => unfit,
        }
    }
}

fn joined(key: &str, name: &str) -> String {
    if key.is_empty() {
        name.to_owned()
    } else {
        format!("{key}.{name}")
    }
}

fn json(text: &str, key: &str) -> Converted {
    serde_json::from_str(text).map_err(|error| ArgumentError::Json {
        key: key.to_owned(),
        reason: error.to_string(),
    })
}

fn word(words: &[String], text: &str, key: &str) -> Converted {
    if words.iter().any(|word| word == text) {
        return Ok(Value::from(text));
    }
    let nearest = suggestion::nearest(text, words.iter().map(String::as_str));
    Err(ArgumentError::Word {
        key: key.to_owned(),
        text: text.to_owned(),
        nearest: nearest.map(str::to_owned),
        known: words.to_vec(),
    })
}
