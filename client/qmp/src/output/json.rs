//! JSON.

use serde_json::Value;

use super::escape;

/// On one line.
pub fn compact(value: &Value) -> String {
    escape::in_json(format!("{value}\n"))
}

/// On several lines.
pub fn pretty(value: &Value) -> String {
    escape::in_json(format!("{value:#}\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_forms_are_the_same_value_without_invisible_characters(
            text in any::<String>(), key in "[\u{1}-\u{ff}\u{2028}-\u{202f}]{0,5}") {
            let value = serde_json::json!({key: [text, 1.5, null]});
            for written in [compact(&value), pretty(&value)] {
                prop_assert_eq!(&serde_json::from_str::<Value>(&written).unwrap(), &value);
                prop_assert!(!written.contains(|found: char| found.is_control() && found != '\n'));
            }
            prop_assert_eq!(compact(&value).matches('\n').count(), 1);
        }
    }
}
