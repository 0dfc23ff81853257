//! Answers as tables: a row for each object if they fit, otherwise a line for each value.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::flat::{flat, text};

/// Between columns.
const GAP: &str = "  ";
/// More columns are unreadable at any width.
const MOST_COLUMNS: usize = 64;
/// Columns that identify a row come first.
const FIRST: [&str; 4] = ["id", "name", "device", "node-name"];

/// Whether a value reads better as a table than as JSON.
pub fn suits(value: &Value) -> bool {
    match value {
        Value::Object(_) => true,
        Value::Array(elements) => !elements.is_empty() && elements.iter().all(Value::is_object),
        _ => false,
    }
}

/// A value as a table. An empty object, the answer of a command that returns nothing, gives no text.
pub fn table(value: &Value, width: Option<usize>) -> String {
    match value {
        Value::Object(members) if members.is_empty() => String::new(),
        Value::Object(_) => record(value),
        Value::Array(elements) if suits(value) => objects(elements, width),
        Value::Array(elements) if elements.is_empty() => "(an empty list)\n".to_owned(),
        Value::Array(elements) => elements.iter().map(|value| text(value) + "\n").collect(),
        value => text(value) + "\n",
    }
}

/// An object with a line for each value.
fn record(value: &Value) -> String {
    let rows = flat(value);
    let width = rows.iter().map(|(name, _)| name.width()).max();
    let line = |(name, value): (String, String)| {
        let line = padded(&name, width.unwrap_or(0)) + GAP + &value;
        line.trim_end().to_owned() + "\n"
    };
    rows.into_iter().map(line).collect()
}

fn objects(elements: &[Value], width: Option<usize>) -> String {
    let rows: Vec<BTreeMap<String, String>> = elements
        .iter()
        .map(|element| flat(element).into_iter().collect())
        .collect();
    rows_in_columns(&rows, width).unwrap_or_else(|| {
        let records: Vec<String> = elements.iter().map(record).collect();
        records.join("\n")
    })
}

/// The rows in columns, if they fit.
fn rows_in_columns(rows: &[BTreeMap<String, String>], width: Option<usize>) -> Option<String> {
    let names: BTreeSet<&str> = rows
        .iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    if names.len() > MOST_COLUMNS {
        return None;
    }
    let first = FIRST.into_iter().filter(|name| names.contains(name));
    let rest = names.iter().copied().filter(|name| !FIRST.contains(name));
    let columns: Vec<&str> = first.chain(rest).collect();
    let cell =
        |row: &BTreeMap<String, String>, name: &str| row.get(name).cloned().unwrap_or_default();
    let width_of = |name: &&str| {
        let cells = rows.iter().filter_map(|row| row.get(*name));
        cells
            .map(|cell| cell.width())
            .max()
            .unwrap_or(0)
            .max(name.width())
    };
    let widths: Vec<usize> = columns.iter().map(width_of).collect();
    let total = widths.iter().sum::<usize>() + GAP.len() * columns.len().saturating_sub(1);
    if width.is_some_and(|width| total > width) {
        return None;
    }
    let line = |cells: Vec<String>| {
        let cells = cells.iter().zip(&widths);
        let cells: Vec<String> = cells.map(|(cell, width)| padded(cell, *width)).collect();
        cells.join(GAP).trim_end().to_owned() + "\n"
    };
    let head = line(columns.iter().map(|name| name.to_uppercase()).collect());
    let rows = rows
        .iter()
        .map(|row| line(columns.iter().map(|name| cell(row, name)).collect()));
    Some(head + &rows.collect::<String>())
}

fn padded(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(text.width());
    text.to_owned() + &" ".repeat(missing)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_of_objects_has_a_row_for_each() {
        let list = json!([{"device": "disk0", "ro": false, "size": 4096}, {"device": "d", "size": 1, "x": {"y": "ü"}}]);
        let expected = "DEVICE  RO     SIZE  X.Y\n\
                        disk0   false  4096\n\
                        d              1     ü\n";
        assert_eq!(table(&list, Some(30)), expected);
        assert_eq!(table(&list, None), expected);
    }

    #[test]
    fn rows_that_do_not_fit_become_records() {
        let list = json!([{"device": "disk0", "file": "a long name"}, {"device": "disk1", "file": "another"}]);
        let expected = "device  disk0\nfile    a long name\n\ndevice  disk1\nfile    another\n";
        assert_eq!(table(&list, Some(15)), expected);
    }

    #[test]
    fn other_answers_are_lines() {
        assert_eq!(
            table(&json!({"a": {"b": [1, 2]}, "c": "d"}), None),
            "a.b  1, 2\nc    d\n"
        );
        assert_eq!(table(&json!({}), None), "");
        assert_eq!(table(&json!([]), None), "(an empty list)\n");
        assert_eq!(table(&json!(["a", 1]), None), "a\n1\n");
        assert_eq!(table(&json!("a\tb"), None), "a\\tb\n");
    }

    #[test]
    fn objects_without_common_members_are_not_a_square_of_cells() {
        let list: Vec<Value> = (0..3000)
            .map(|number| json!({format!("k{number}"): 1}))
            .collect();
        let written = table(&Value::Array(list), None);
        assert_eq!(written.lines().count(), 3000 * 2 - 1);
    }

    proptest! {
        #[test]
        fn no_row_is_too_wide_or_has_invisible_characters(
            rows in prop::collection::vec(
                prop::collection::btree_map("[a-c\u{1b}]{1,3}", any::<String>(), 1..4), 1..5),
            width in 10usize..60) {
            let value = serde_json::to_value(&rows).unwrap();
            let written = table(&value, Some(width));
            prop_assert!(!written.contains(|found: char| found.is_control() && found != '\n'));
            let flat: Vec<_> = value.as_array().unwrap().iter().map(|row| flat(row).into_iter().collect()).collect();
            if let Some(columns) = rows_in_columns(&flat, Some(width)) {
                prop_assert!(columns.lines().all(|line| line.width() <= width));
                prop_assert_eq!(columns.lines().count(), rows.len() + 1);
            }
        }
    }
}
