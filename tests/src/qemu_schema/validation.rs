//! Checks messages against a schema.

use serde_json::Value as Json;

use super::model::{Member, Model, Shape};

/// The members of an event.
const OF_EVENTS: [&str; 3] = ["event", "timestamp", "data"];

impl Model {
    /// Mismatches between a command's return value and its type, each with its place, such as
    /// `query-block: [].inserted.ro`.
    pub fn check_answer(&self, command: &str, returned: &Json) -> Vec<String> {
        let mut problems = Vec::new();
        match self.commands().get(command) {
            Some(found) => self.value(&found.returns, returned, command, &mut problems),
            None => problems.push(format!("{command}: is no command")),
        }
        problems
    }

    /// Mismatches of an event, as on the wire.
    pub fn check_event(&self, event: &Json) -> Vec<String> {
        let mut problems = Vec::new();
        let name = event["event"].as_str().unwrap_or("an event without a name");
        let Some(found) = self.events().get(name) else {
            return vec![format!("{name}: is no event")];
        };
        for member in event.as_object().into_iter().flat_map(|event| event.keys()) {
            if !OF_EVENTS.contains(&member.as_str()) {
                problems.push(format!("{name}: member '{member}' beside the data"));
            }
        }
        for unit in ["seconds", "microseconds"] {
            if !event["timestamp"][unit].is_i64() {
                problems.push(format!("{name}: timestamp has no '{unit}'"));
            }
        }
        let place = format!("{name}: data");
        let empty = Json::Object(serde_json::Map::new());
        let data = event.get("data").unwrap_or(&empty);
        self.value(&found.data, data, &place, &mut problems);
        problems
    }

    /// Mismatches of an error: its class has to be in the enumeration `QapiErrorClass`.
    pub fn check_error(&self, command: &str, error: &Json) -> Vec<String> {
        let mut problems = Vec::new();
        let place = format!("{command}: error.class");
        self.value("QapiErrorClass", &error["class"], &place, &mut problems);
        if !error["desc"].is_string() {
            problems.push(format!("{command}: error has no 'desc'"));
        }
        problems
    }

    /// Mismatches of a value of any type.
    pub fn check(&self, of: &str, value: &Json, place: &str) -> Vec<String> {
        let mut problems = Vec::new();
        self.value(of, value, place, &mut problems);
        problems
    }

    fn value(&self, of: &str, value: &Json, place: &str, problems: &mut Vec<String>) {
        let fits = match self.shape(of) {
            Shape::Any => true,
            Shape::Null => value.is_null(),
            Shape::Text => value.is_string(),
            Shape::Boolean => value.is_boolean(),
            Shape::Number => value.is_number(),
            Shape::Integer(least, most) => {
                let number = value.as_i64().map(i128::from);
                let number = number.or(value.as_u64().map(i128::from));
                number.is_some_and(|number| (*least..=*most).contains(&number))
            }
            Shape::Enumeration(values) => {
                let is_one = |name: &str| values.iter().any(|value| value.name == name);
                value.as_str().is_some_and(is_one)
            }
            Shape::Array(element) => match value.as_array() {
                Some(elements) => {
                    let place = format!("{place}[]");
                    for value in elements {
                        self.value(element, value, &place, problems);
                    }
                    true
                }
                None => false,
            },
            Shape::Object { .. } => match value.as_object() {
                Some(object) => {
                    self.object(of, object, place, problems);
                    true
                }
                None => false,
            },
            Shape::Alternate(types) => types.iter().any(|of| {
                let mut problems = Vec::new();
                self.value(of, value, place, &mut problems);
                problems.is_empty()
            }),
        };
        if !fits {
            problems.push(format!("{place}: {value} is no {of}"));
        }
    }

    fn object(
        &self,
        of: &str,
        object: &serde_json::Map<String, Json>,
        place: &str,
        problems: &mut Vec<String>,
    ) {
        let members = self.members_for(of, &|tag| object.get(tag)?.as_str().map(str::to_owned));
        for member in &members {
            match object.get(&member.name) {
                Some(value) => {
                    self.value(
                        &member.of,
                        value,
                        &format!("{place}.{}", member.name),
                        problems,
                    );
                }
                None if member.optional => {}
                None => problems.push(format!("{place}: member '{}' is missing", member.name)),
            }
        }
        for name in object.keys() {
            if !members.iter().any(|member| member.name == *name) {
                problems.push(format!("{place}: member '{name}' is not in {of}"));
            }
        }
    }

    /// The members of an object, given its discriminators' values.
    pub(super) fn members_for(
        &self,
        of: &str,
        value_of: &dyn Fn(&str) -> Option<String>,
    ) -> Vec<&Member> {
        let Shape::Object { members, variants } = self.shape(of) else {
            return Vec::new();
        };
        let mut all: Vec<&Member> = members.iter().collect();
        if let Some(variants) = variants
            && let Some(value) = value_of(&variants.tag)
            && let Some(case) = variants.cases.get(&value)
        {
            all.extend(self.members_for(case, value_of));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn model() -> Model {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("schema.json");
        let text = "
            { 'enum': 'QapiErrorClass', 'data': [ 'GenericError' ], 'if': 'CONFIG_ANY' }
            { 'enum': 'Kind', 'data': [ 'plain', { 'name': 'fat', 'if': 'CONFIG_FAT' } ] }
            { 'struct': 'Base', 'data': { 'id': 'uint8' } }
            { 'struct': 'Fat', 'data': { 'mass': { 'type': 'number', 'if': 'CONFIG_FAT' } } }
            { 'struct': 'Head', 'base': 'Base', 'data': { 'kind': 'Kind', '*tags': [ 'str' ] } }
            { 'union': 'Thing', 'base': 'Head', 'discriminator': 'kind', 'data': { 'fat': 'Fat' } }
            { 'alternate': 'Size', 'data': { 'number': 'int', 'none': 'null' } }
            { 'command': 'things', 'returns': [ 'Thing' ], 'gen': false }
            { 'event': 'SIZED', 'data': { 'size': 'Size' } }";
        std::fs::write(&path, text).unwrap();
        Model::foreign(&path).unwrap()
    }

    #[test]
    fn a_conforming_message_has_no_mismatch() {
        let model = model();
        let answer = json!([
            { "id": 255, "kind": "plain", "tags": ["a"] },
            { "id": 0, "kind": "fat", "mass": 1.5 },
        ]);
        assert_eq!(model.check_answer("things", &answer), Vec::<String>::new());
        let event = json!({
            "event": "SIZED",
            "data": { "size": null },
            "timestamp": { "seconds": 1, "microseconds": 2 },
        });
        assert_eq!(model.check_event(&event), Vec::<String>::new());
        let error = json!({ "class": "GenericError", "desc": "no" });
        assert_eq!(model.check_error("things", &error), Vec::<String>::new());
    }

    #[test]
    fn every_mismatch_is_named_with_its_place() {
        let model = model();
        let answer = json!([
            { "id": 256, "kind": "plain", "mass": 1 },
            { "kind": "fat", "tags": [1] },
            { "id": 1, "kind": "thin" },
            7,
        ]);
        assert_eq!(
            model.check_answer("things", &answer),
            [
                "things[].id: 256 is no uint8",
                "things[]: member 'mass' is not in Thing",
                "things[]: member 'id' is missing",
                "things[].tags[]: 1 is no str",
                "things[]: member 'mass' is missing",
                "things[].kind: \"thin\" is no Kind",
                "things[]: 7 is no Thing",
            ]
        );
        let event = json!({ "event": "SIZED", "data": { "size": "x" }, "tag": 1 });
        assert_eq!(
            model.check_event(&event),
            [
                "SIZED: member 'tag' beside the data",
                "SIZED: timestamp has no 'seconds'",
                "SIZED: timestamp has no 'microseconds'",
                "SIZED: data.size: \"x\" is no Size",
            ]
        );
        let error = json!({ "class": "NewError" });
        assert_eq!(
            model.check_error("things", &error),
            [
                "things: error.class: \"NewError\" is no QapiErrorClass",
                "things: error has no 'desc'"
            ]
        );
        assert_eq!(
            model.check_answer("stop", &json!({})),
            ["stop: is no command"]
        );
    }
}
