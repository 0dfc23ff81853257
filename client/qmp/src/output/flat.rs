//! Nested values, flattened to dotted names.

use serde_json::Value;

use super::escape::on_one_line;

/// Every scalar in a value, with its dotted name: `throttle.bps`, `rules.0.id`.
pub fn flat(value: &Value) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    add("", value, &mut rows);
    rows
}

fn add(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    let inner = |part: &str| match name {
        "" => on_one_line(part).into_owned(),
        name => format!("{name}.{}", on_one_line(part)),
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (part, value) in members {
                add(&inner(part), value, rows);
            }
        }
        Value::Array(elements) if elements.iter().any(has_parts) => {
            for (index, value) in elements.iter().enumerate() {
                add(&inner(&index.to_string()), value, rows);
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let elements: Vec<String> = elements.iter().map(text).collect();
            rows.push((name.to_owned(), elements.join(", ")));
        }
        value => rows.push((name.to_owned(), text(value))),
    }
}

fn has_parts(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

/// A scalar on one line.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => on_one_line(text).into_owned(),
        value => on_one_line(&value.to_string()).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_have_dots_in_their_names_and_simple_lists_are_one_value() {
        let value = json!({"a": {"b": 1, "c": {}}, "l": [1, 2], "o": [{"x": null}], "e": [], "s": "", "t\n": true});
        let rows = flat(&value);
        let rows: Vec<(&str, &str)> = rows
            .iter()
            .map(|row| (row.0.as_str(), row.1.as_str()))
            .collect();
        assert_eq!(
            rows,
            [
                ("a.b", "1"),
                ("a.c", "{}"),
                ("e", "[]"),
                ("l", "1, 2"),
                ("o.0.x", "null"),
                ("s", "\"\""),
                ("t\\n", "true")
            ]
        );
    }
}
