//! Escapes what would control the terminal: text comes from the server.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character is invisible: a control character, or one that changes the direction of writing.
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Text on one line, with invisible characters escaped.
#[must_use]
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unseen) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().fold(String::new(), |mut line, character| {
        match character {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            character if is_unseen(character) => push_escaped(&mut line, character),
            character => line.push(character),
        }
        line
    }))
}

/// JSON text, with invisible characters escaped but for line ends. All others are within strings.
#[must_use]
pub fn in_json(text: String) -> String {
    let is_in_string = |character: char| character != '\n' && is_unseen(character);
    if !text.contains(is_in_string) {
        return text;
    }
    text.chars().fold(String::new(), |mut json, character| {
        if is_in_string(character) {
            push_escaped(&mut json, character);
        } else {
            json.push(character);
        }
        json
    })
}

/// They have at most four hexadecimal digits, so the escape is JSON's, too.
fn push_escaped(text: &mut String, character: char) {
    // Writing into a string cannot fail.
    let _ = write!(text, "\\u{:04x}", u32::from(character));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_invisible_character_is_left() {
        assert_eq!(on_one_line("plain – ü"), "plain – ü");
        let hostile = "\u{1b}[2Ja\nb\u{7f}\u{9b}31m\u{202e}x";
        let shown = "\\u001b[2Ja\\nb\\u007f\\u009b31m\\u202ex";
        assert_eq!(on_one_line(hostile), shown);
    }
}
