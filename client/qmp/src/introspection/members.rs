//! Selects an object's members by the values of its tags.

use super::{Introspection, Member, Object, Type};

/// Limits nesting of unions in unions, which an invalid schema may make infinite.
const MOST_LEVELS: usize = 16;

/// An object's members, as far as its tags are known.
#[derive(Debug, Default)]
pub struct Choice<'a> {
    /// In the schema's order.
    pub members: Vec<&'a Member>,
    /// Tags without a value, or with one that has no known branch.
    pub open: Vec<(&'a str, &'a [(String, String)])>,
}

impl Introspection {
    /// Selects the members of an object. `tag_value` returns a tag's value.
    pub fn choose<'a>(
        &'a self,
        object: &'a Object,
        tag_value: impl Fn(&str) -> Option<String>,
    ) -> Choice<'a> {
        let mut choice = Choice::default();
        let mut next = Some(object);
        for _ in 0..MOST_LEVELS {
            let Some(object) = next.take() else { break };
            choice.members.extend(&object.members);
            let Some(tag) = object.tag.as_deref() else {
                break;
            };
            let value = tag_value(tag);
            let chosen = object
                .variants
                .iter()
                .find(|(case, _)| Some(case.as_str()) == value.as_deref());
            match chosen.map(|(_, of)| self.type_of(of)) {
                Some(Type::Object(object)) => next = Some(object),
                _ => choice.open.push((tag, &object.variants)),
            }
        }
        choice
    }

    /// The values of a tag whose branch has a member of this name.
    pub fn cases_with<'a>(&self, variants: &'a [(String, String)], member: &str) -> Vec<&'a str> {
        let has = |of: &str| match self.type_of(of) {
            Type::Object(object) => object.members.iter().any(|found| found.name == member),
            _ => false,
        };
        variants
            .iter()
            .filter(|(_, of)| has(of))
            .map(|(case, _)| case.as_str())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn names(tags: &[(&str, &str)]) -> Vec<String> {
        let introspection = samples::masked();
        let Type::Object(object) = introspection.type_of("0") else {
            panic!("no object");
        };
        let value = |tag: &str| {
            let found = tags.iter().find(|(name, _)| *name == tag);
            found.map(|(_, value)| (*value).to_owned())
        };
        let members = introspection.choose(object, value).members;
        let own = object.members.len();
        members[own..]
            .iter()
            .map(|member| member.name.clone())
            .collect()
    }

    #[test]
    fn a_tag_adds_its_branch_and_a_union_in_the_branch_adds_its_own() {
        assert!(names(&[]).is_empty());
        assert_eq!(names(&[("driver", "file")]), ["path"]);
        assert_eq!(names(&[("driver", "net")]), ["family", "port"]);
        let nested = names(&[("driver", "net"), ("family", "ip")]);
        assert_eq!(nested, ["family", "port", "host"]);
        assert!(names(&[("driver", "gone")]).is_empty());
    }

    #[test]
    fn a_union_that_is_its_own_branch_is_cut_off() {
        let answer = serde_json::json!([
            {"name": "a", "meta-type": "command", "arg-type": "0", "ret-type": "0"},
            {"name": "0", "meta-type": "object", "tag": "t", "members": [{"name": "t", "type": "s"}],
             "variants": [{"case": "x", "type": "0"}]}]);
        let introspection = Introspection::from_answer(answer).unwrap();
        let Type::Object(object) = introspection.type_of("0") else {
            panic!("no object");
        };
        let choice = introspection.choose(object, |_| Some("x".to_owned()));
        assert_eq!(choice.members.len(), MOST_LEVELS);
    }
}
