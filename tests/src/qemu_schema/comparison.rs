//! Compares our schema with QEMU's: what a client generated from QEMU's schema would not understand, or could not send.

use std::collections::BTreeSet;

use super::model::{Member, Model, Shape, Value};

/// The sender of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Flow {
    /// The client: we should understand everything that QEMU understands.
    Argument,
    /// The server: a client of QEMU's should understand everything that we send.
    Answer,
}

/// Every difference with its place, such as `query-block: [].inserted: member 'active' is missing`. Commands, events
/// and types that only one of the two has are not differences.
pub fn compare(ours: &Model, theirs: &Model) -> BTreeSet<String> {
    let mut comparison = Comparison {
        ours,
        theirs,
        seen: BTreeSet::new(),
        differences: BTreeSet::new(),
    };
    for (name, our) in ours.commands() {
        let Some(their) = theirs.commands().get(name) else {
            continue;
        };
        comparison.features(name, &our.features, &their.features);
        if our.allow_oob != their.allow_oob {
            comparison.add(name, "differs in whether it may be executed out of band");
        }
        comparison.types(Flow::Argument, &our.arguments, &their.arguments, name);
        comparison.types(Flow::Answer, &our.returns, &their.returns, name);
    }
    for (name, our) in ours.events() {
        if let Some(their) = theirs.events().get(name) {
            comparison.features(name, &our.features, &their.features);
            comparison.types(Flow::Answer, &our.data, &their.data, name);
        }
    }
    let named = theirs.type_names();
    for name in ours.type_names() {
        let seen = |flow| (flow, name.to_owned(), name.to_owned());
        let is_seen = [Flow::Argument, Flow::Answer]
            .into_iter()
            .any(|flow| comparison.seen.contains(&seen(flow)));
        if named.contains(&name) && !is_seen {
            comparison.types(Flow::Answer, name, name, name);
        }
    }
    comparison.differences
}

struct Comparison<'a> {
    ours: &'a Model,
    theirs: &'a Model,
    seen: BTreeSet<(Flow, String, String)>,
    differences: BTreeSet<String>,
}

impl Comparison<'_> {
    fn add(&mut self, place: &str, what: &str) {
        self.differences.insert(format!("{place}: {what}"));
    }

    fn features(&mut self, place: &str, ours: &[String], theirs: &[String]) {
        for feature in ours.iter().filter(|feature| !theirs.contains(feature)) {
            self.add(place, &format!("feature '{feature}' is ours alone"));
        }
        for feature in theirs.iter().filter(|feature| !ours.contains(feature)) {
            self.add(place, &format!("feature '{feature}' is missing"));
        }
    }

    /// Compares a type of ours with one of theirs. Each pair is compared once, and reported at its first place.
    fn types(&mut self, flow: Flow, our: &str, their: &str, place: &str) {
        if !self.seen.insert((flow, our.to_owned(), their.to_owned())) {
            return;
        }
        let is_named = our.starts_with(|c: char| c.is_ascii_uppercase());
        let place = if is_named { our } else { place };
        match (self.ours.shape(our), self.theirs.shape(their)) {
            (_, Shape::Any) if flow == Flow::Answer => {}
            (Shape::Any, _) if flow == Flow::Argument => {}
            (Shape::Text, Shape::Text)
            | (Shape::Null, Shape::Null)
            | (Shape::Boolean, Shape::Boolean)
            | (Shape::Number, Shape::Number) => {}
            (Shape::Integer(..), Shape::Number) if flow == Flow::Answer => {}
            (Shape::Number, Shape::Integer(..)) if flow == Flow::Argument => {}
            (Shape::Integer(our_least, our_most), Shape::Integer(least, most)) => {
                let fits = match flow {
                    Flow::Answer => our_least >= least && our_most <= most,
                    Flow::Argument => our_least <= least && our_most >= most,
                };
                if !fits {
                    self.add(place, &format!("{our} where QEMU has {their}"));
                }
            }
            (Shape::Enumeration(ours), Shape::Enumeration(theirs)) => {
                self.values(flow, ours, theirs, place);
            }
            (Shape::Array(our), Shape::Array(their)) => {
                self.types(flow, our, their, &format!("{place}[]"));
            }
            (Shape::Object { .. }, Shape::Object { .. }) => self.objects(flow, our, their, place),
            (ours, theirs) if ours == theirs => {}
            _ => self.add(place, &format!("{our} where QEMU has {their}")),
        }
    }

    fn values(&mut self, flow: Flow, ours: &[Value], theirs: &[Value], place: &str) {
        for our in ours {
            let value = format!("value '{}'", our.name);
            match theirs.iter().find(|their| their.name == our.name) {
                Some(their) => {
                    self.features(&format!("{place}: {value}"), &our.features, &their.features);
                }
                None => self.add(place, &format!("{value} is ours alone")),
            }
        }
        if flow == Flow::Argument {
            for their in theirs {
                if !ours.iter().any(|our| our.name == their.name) {
                    self.add(place, &format!("value '{}' is not accepted", their.name));
                }
            }
        }
    }

    /// Compares objects, once for each value of the discriminator.
    fn objects(&mut self, flow: Flow, our: &str, their: &str, place: &str) {
        let (ours, theirs) = (self.ours, self.theirs);
        let Some(tag) = tag(theirs, their).or_else(|| tag(ours, our)) else {
            let value_of = |_: &str| None;
            let our = ours.members_for(our, &value_of);
            let their = theirs.members_for(their, &value_of);
            self.members(flow, &our, &their, place);
            return;
        };
        let of_ours = ours.members_for(our, &|_| None);
        let member = of_ours.iter().find(|member| member.name == tag);
        let Some(Shape::Enumeration(values)) = member.map(|member| ours.shape(&member.of)) else {
            self.add(
                place,
                &format!("member '{tag}' decides about others in QEMU"),
            );
            return;
        };
        for value in values {
            let value_of = |name: &str| (name == tag).then(|| value.name.clone());
            let our = ours.members_for(our, &value_of);
            let their = theirs.members_for(their, &value_of);
            self.members(flow, &our, &their, place);
        }
    }

    fn members(&mut self, flow: Flow, ours: &[&Member], theirs: &[&Member], place: &str) {
        for our in ours {
            let name = &our.name;
            let Some(their) = theirs.iter().find(|their| their.name == *name) else {
                self.add(place, &format!("member '{name}' is ours alone"));
                continue;
            };
            let inner = format!("{place}.{name}");
            self.features(&inner, &our.features, &their.features);
            match flow {
                Flow::Answer if our.optional && !their.optional => {
                    self.add(place, &format!("member '{name}' may be missing"));
                }
                Flow::Argument if !our.optional && their.optional => {
                    self.add(place, &format!("member '{name}' must be there"));
                }
                _ => {}
            }
            self.types(flow, &our.of, &their.of, &inner);
        }
        for their in theirs {
            let name = &their.name;
            if ours.iter().any(|our| our.name == *name) {
                continue;
            }
            match flow {
                Flow::Answer if their.optional => {}
                Flow::Answer => self.add(place, &format!("member '{name}' is missing")),
                Flow::Argument => self.add(place, &format!("member '{name}' is not accepted")),
            }
        }
    }
}

/// The discriminator of a union.
fn tag(model: &Model, name: &str) -> Option<String> {
    match model.shape(name) {
        Shape::Object { variants, .. } => variants.as_ref().map(|variants| variants.tag.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(text: &str) -> Model {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("schema.json");
        std::fs::write(&path, text).unwrap();
        Model::foreign(&path).unwrap()
    }

    fn differences(ours: &str, theirs: &str) -> Vec<String> {
        compare(&model(ours), &model(theirs)).into_iter().collect()
    }

    #[test]
    fn an_answer_may_lack_optional_members_and_arguments_may_not() {
        let ours = "{ 'struct': 'Info', 'data': { 'a': 'int' } }
                    { 'command': 'ask', 'data': { '*x': 'bool' }, 'returns': 'Info' }";
        let theirs = "{ 'struct': 'Info', 'data': { 'a': 'int', '*b': 'str' } }
                      { 'command': 'ask', 'data': { '*x': 'bool', '*y': 'bool' }, 'returns': 'Info' }";
        assert_eq!(
            differences(ours, theirs),
            ["ask: member 'y' is not accepted"]
        );
        assert_eq!(
            differences(theirs, ours),
            [
                "Info: member 'b' is ours alone",
                "ask: member 'y' is ours alone"
            ]
        );
    }

    #[test]
    fn mandatory_members_are_compared() {
        let ours = "{ 'struct': 'Info', 'data': { '*a': 'int' } }
                    { 'command': 'ask', 'data': { 'x': 'bool' }, 'returns': [ 'Info' ] }
                    { 'event': 'HEARD' }";
        let theirs = "{ 'struct': 'Info', 'data': { 'a': 'uint8', 'c': 'str' } }
                      { 'command': 'ask', 'data': { '*x': 'bool' }, 'returns': [ 'Info' ], 'allow-oob': true }
                      { 'event': 'HEARD', 'data': { 'who': 'str' } }";
        assert_eq!(
            differences(ours, theirs),
            [
                "HEARD: member 'who' is missing",
                "Info.a: int where QEMU has uint8",
                "Info: member 'a' may be missing",
                "Info: member 'c' is missing",
                "ask: differs in whether it may be executed out of band",
                "ask: member 'x' must be there",
            ]
        );
    }

    #[test]
    fn values_features_and_branches_are_compared() {
        let ours = "{ 'enum': 'Kind', 'data': [ 'a', 'own' ] }
                    { 'struct': 'Thing', 'data': { 'kind': 'Kind', 'size': 'int' } }
                    { 'command': 'make', 'data': { 'kind': 'Kind' } }
                    { 'event': 'MADE', 'data': { 'thing': 'Thing' } }";
        let theirs =
            "{ 'enum': 'Kind', 'data': [ { 'name': 'a', 'features': [ 'deprecated' ] }, 'b' ] }
                      { 'struct': 'OfA', 'data': { 'length': 'int' } }
                      { 'union': 'Thing', 'base': { 'kind': 'Kind', 'size': 'int' },
                        'discriminator': 'kind', 'data': { 'a': 'OfA' } }
                      { 'command': 'make', 'data': { 'kind': 'Kind' } }
                      { 'event': 'MADE', 'data': { 'thing': 'Thing' } }";
        assert_eq!(
            differences(ours, theirs),
            [
                "Kind: value 'a': feature 'deprecated' is missing",
                "Kind: value 'b' is not accepted",
                "Kind: value 'own' is ours alone",
                "Thing: member 'length' is missing",
            ]
        );
        assert_eq!(differences(ours, ours), Vec::<String>::new());
    }

    #[test]
    fn unused_types_are_compared_by_name() {
        let ours = "{ 'struct': 'Alone', 'data': { 'a': 'str' } }";
        let theirs = "{ 'struct': 'Alone', 'data': { 'a': 'bool' } }";
        assert_eq!(
            differences(ours, theirs),
            ["Alone.a: str where QEMU has bool"]
        );
    }
}
