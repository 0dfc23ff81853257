//! Types in words, for errors and help.

use super::{Introspection, Member, Object, Scalar, Type};

/// The most values of an enumeration that are listed; further ones are counted.
const MOST_VALUES: usize = 40;
/// The most types of an alternate that are described.
const MOST_TYPES: usize = 8;
/// The most levels of nested objects that are described.
const MOST_LEVELS: usize = 4;
/// The most members of a type that are described.
const MOST_ROWS: usize = 400;

/// Lists words, up to a limit.
pub fn listed<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    let shown = words.get(..MOST_VALUES).unwrap_or(&words).join(", ");
    if words.len() > MOST_VALUES {
        format!("{shown}, … ({} in all)", words.len())
    } else {
        shown
    }
}

impl Scalar {
    fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Number => "number",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::Null => "null",
        }
    }
}

impl Introspection {
    /// Describes a type in a few words.
    #[must_use]
    pub fn describe(&self, of: &Type) -> String {
        self.describe_to(of, MOST_LEVELS)
    }

    fn describe_to(&self, of: &Type, levels: usize) -> String {
        let Some(levels) = levels.checked_sub(1) else {
            return "…".to_owned();
        };
        match of {
            Type::Scalar(scalar) => scalar.word().to_owned(),
            Type::Enumeration(values) => {
                format!("one of {}", listed(values.iter().map(String::as_str)))
            }
            Type::Array(element) => {
                let element = self.describe_to(self.type_of(element), levels);
                format!("list of {element}")
            }
            Type::Object(_) => "object".to_owned(),
            Type::Alternate(types) => {
                let each = |of: &String| self.describe_to(self.type_of(of), levels);
                let types: Vec<String> = types.iter().take(MOST_TYPES).map(each).collect();
                types.join(", or ")
            }
            Type::Any => "any value".to_owned(),
        }
    }
}

/// The members of a type, a row each, followed by those of the objects in them.
#[derive(Debug)]
pub struct Rows<'a> {
    introspection: &'a Introspection,
    rows: Vec<(String, String)>,
    /// The types around the current member: one that contains itself is described once.
    within: Vec<&'a str>,
}

impl<'a> Rows<'a> {
    /// The rows of a type: a name, in brackets if optional, and a description.
    #[must_use]
    pub fn of(introspection: &'a Introspection, name: &'a str) -> Vec<(String, String)> {
        let mut rows = Self {
            introspection,
            rows: Vec::new(),
            within: vec![name],
        };
        match introspection.type_of(name) {
            Type::Object(object) => rows.object("", object),
            of => rows.unnamed(of),
        }
        rows.rows
    }

    /// Adds a type that is not an object, and so has no member's name.
    fn unnamed(&mut self, of: &'a Type) {
        let description = self.introspection.describe(of);
        self.add(String::new(), description);
        if let Type::Array(element) = of {
            self.inner("N", element);
        }
    }

    fn add(&mut self, name: String, description: String) {
        if self.rows.len() < MOST_ROWS {
            self.rows.push((name, description));
        } else if self.rows.len() == MOST_ROWS {
            self.rows.push(("…".to_owned(), "and more".to_owned()));
        }
    }

    fn object(&mut self, prefix: &str, object: &'a Object) {
        for member in &object.members {
            self.member(prefix, member);
        }
        let Some(tag) = &object.tag else { return };
        for (case, of) in &object.variants {
            let Type::Object(variant) = self.introspection.type_of(of) else {
                continue;
            };
            if variant.members.is_empty() || !self.enter(of) {
                continue;
            }
            self.add(format!("with {prefix}{tag}={case}:"), String::new());
            self.object(prefix, variant);
            self.within.pop();
        }
    }

    fn member(&mut self, prefix: &str, member: &'a Member) {
        let name = format!("{prefix}{}", member.name);
        let shown = if member.optional {
            format!("[{name}]")
        } else {
            name.clone()
        };
        let of = self.introspection.type_of(&member.of);
        self.add(shown, self.introspection.describe(of));
        match of {
            Type::Object(_) => self.inner(&name, &member.of),
            Type::Array(element) => self.inner(&format!("{name}.N"), element),
            _ => {}
        }
    }

    /// Adds the members of a nested object.
    fn inner(&mut self, name: &str, of: &'a str) {
        let Type::Object(object) = self.introspection.type_of(of) else {
            return;
        };
        if self.enter(of) {
            self.object(&format!("{name}."), object);
            self.within.pop();
        }
    }

    fn enter(&mut self, of: &'a str) -> bool {
        let enters = self.within.len() < MOST_LEVELS
            && self.rows.len() <= MOST_ROWS
            && !self.within.contains(&of);
        if enters {
            self.within.push(of);
        }
        enters
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn members_are_shown_with_their_types_and_branches_with_their_tag() {
        let introspection = samples::masked();
        let rows = Rows::of(&introspection, "0");
        let has = |name: &str, of: &str| {
            let found = rows
                .iter()
                .any(|row| (row.0.as_str(), row.1.as_str()) == (name, of));
            assert!(found, "no {name}: {of} in {rows:#?}");
        };
        has("driver", "one of file, net, gone");
        has("[name]", "string");
        has("[limits]", "object");
        has("limits.bps", "integer");
        has("[limits.share]", "number");
        has("[backing]", "string, or object, or null");
        has("[words]", "list of string");
        has("parts.N.bps", "integer");
        has("[whatever]", "any value");
        has("with driver=file:", "");
        has("path", "string");
        has("with driver=net:", "");
        has("with family=ip:", "");
        has("host", "string");
    }

    #[test]
    fn a_list_is_described_by_its_elements() {
        let introspection = samples::masked();
        let rows = Rows::of(&introspection, "[6]");
        assert_eq!(rows[0], (String::new(), "list of object".to_owned()));
        assert_eq!(rows[1].0, "N.bps");
    }

    #[test]
    fn recursive_types_are_described_once() {
        let answer = serde_json::json!([
            {"name": "a", "meta-type": "command", "arg-type": "0", "ret-type": "l"},
            {"name": "0", "meta-type": "object",
             "members": [{"name": "x", "type": "0"}, {"name": "y", "type": "w"}, {"name": "z", "type": "l"}]},
            {"name": "w", "meta-type": "alternate", "members": [{"type": "w"}, {"type": "w"}]},
            {"name": "l", "meta-type": "array", "element-type": "l"}]);
        let introspection = Introspection::from_answer(answer).unwrap();
        assert_eq!(Rows::of(&introspection, "0").len(), 3);
        assert_eq!(Rows::of(&introspection, "l").len(), 1);
        assert!(
            introspection
                .describe(introspection.type_of("w"))
                .contains('…')
        );
    }

    #[test]
    fn many_values_are_counted() {
        let words: Vec<String> = (0..50).map(|number| number.to_string()).collect();
        let text = listed(words.iter().map(String::as_str));
        assert!(text.ends_with("38, 39, … (50 in all)"), "{text}");
    }
}
