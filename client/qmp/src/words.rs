//! Splits a line into words.
//!
//! Words end at white space, except within quotes and JSON. Single quotes preserve everything, double quotes all but
//! backslash escapes. JSON starts at the beginning of a word or a value, with a bracket of either kind, or with a quote
//! after `:=`; it is kept unchanged, with its quotes.

/// A word, with its position on the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The offset of its first byte.
    pub start: usize,
    /// Its text, without quotes.
    pub text: String,
    /// Whether the text is the same as on the line.
    pub is_verbatim: bool,
}

/// A line that ends within a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// A quote is not closed.
    #[error("a quote without its end")]
    Quote,
    /// JSON is not closed.
    #[error("a bracket without its end")]
    Bracket,
}

/// Splits a line.
///
/// # Errors
///
/// [`LineError`] if it ends within a word.
pub fn split(line: &str) -> Result<Vec<Word>, LineError> {
    let mut rest = Rest { line, at: 0 };
    let mut words = Vec::new();
    while let Some(start) = rest.skip_space() {
        let text = rest.word()?;
        let is_verbatim = line.get(start..rest.at) == Some(text.as_str());
        words.push(Word {
            start,
            text,
            is_verbatim,
        });
    }
    Ok(words)
}

/// The unread part of a line.
struct Rest<'a> {
    line: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.line.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    /// Skips white space, to the offset of the next word.
    fn skip_space(&mut self) -> Option<usize> {
        while self.peek()?.is_whitespace() {
            self.next();
        }
        Some(self.at)
    }

    fn word(&mut self) -> Result<String, LineError> {
        let mut text = String::new();
        let mut in_value = false;
        self.json(&mut text, false)?;
        while let Some(character) = self.peek().filter(|next| !next.is_whitespace()) {
            self.next();
            match character {
                '\'' => self.single_quoted(&mut text)?,
                '"' => self.double_quoted(&mut text)?,
                '\\' => text.extend(self.next()),
                '=' if !in_value => {
                    let is_json = text.ends_with(':');
                    in_value = true;
                    text.push('=');
                    self.json(&mut text, is_json)?;
                }
                character => text.push(character),
            }
        }
        Ok(text)
    }

    fn single_quoted(&mut self, text: &mut String) -> Result<(), LineError> {
        loop {
            match self.next().ok_or(LineError::Quote)? {
                '\'' => return Ok(()),
                character => text.push(character),
            }
        }
    }

    fn double_quoted(&mut self, text: &mut String) -> Result<(), LineError> {
        loop {
            match self.next().ok_or(LineError::Quote)? {
                '"' => return Ok(()),
                '\\' => match self.next().ok_or(LineError::Quote)? {
                    protected @ ('"' | '\\') => text.push(protected),
                    other => text.extend(['\\', other]),
                },
                character => text.push(character),
            }
        }
    }

    /// Copies JSON, if it starts here: to its closing bracket, or to its closing quote if it `may_be_quoted`.
    fn json(&mut self, text: &mut String, may_be_quoted: bool) -> Result<(), LineError> {
        match self.peek() {
            Some('{' | '[') => {}
            Some('"') if may_be_quoted => {}
            _ => return Ok(()),
        }
        let mut depth = 0usize;
        loop {
            let character = self.next().ok_or(LineError::Bracket)?;
            text.push(character);
            match character {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                '"' => self.json_string(text)?,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Copies the rest of a JSON string.
    fn json_string(&mut self, text: &mut String) -> Result<(), LineError> {
        loop {
            let character = self.next().ok_or(LineError::Quote)?;
            text.push(character);
            match character {
                '"' => return Ok(()),
                '\\' => text.extend(self.next()),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(line: &str) -> Vec<String> {
        split(line)
            .unwrap()
            .into_iter()
            .map(|word| word.text)
            .collect()
    }

    #[test]
    fn words_end_at_spaces_outside_quotes() {
        assert_eq!(texts("  a  b=c\td "), ["a", "b=c", "d"]);
        assert_eq!(
            texts("a='b c'd \"e \\\" f\" g\\ h"),
            ["a=b cd", "e \" f", "g h"]
        );
        assert_eq!(texts("a='' ''"), ["a=", ""]);
        assert_eq!(texts("it=\"c:\\dir\""), ["it=c:\\dir"]);
        assert!(texts("").is_empty());
    }

    #[test]
    fn json_is_one_word_and_keeps_its_quotes() {
        assert_eq!(
            texts("c {\"a\": \"} ' \\\" x\"} d"),
            ["c", "{\"a\": \"} ' \\\" x\"}", "d"]
        );
        assert_eq!(
            texts("rule={\"a\": [1, 2]} b=[ 1 ]"),
            ["rule={\"a\": [1, 2]}", "b=[ 1 ]"]
        );
        assert_eq!(texts("a:=\"b c\" d"), ["a:=\"b c\"", "d"]);
        // Elsewhere a bracket is an ordinary character.
        assert_eq!(texts("a=x{ b}"), ["a=x{", "b}"]);
    }

    #[test]
    fn a_line_that_ends_within_a_word_is_refused() {
        assert_eq!(split("a='b"), Err(LineError::Quote));
        assert_eq!(split("a=\"b"), Err(LineError::Quote));
        assert_eq!(split("a={\"b\": 1"), Err(LineError::Bracket));
        assert_eq!(split("{\"b"), Err(LineError::Quote));
    }

    #[test]
    fn words_have_their_offsets() {
        let words = split("ä b='c'").unwrap();
        assert_eq!((words[1].start, words[1].is_verbatim), (3, false));
        assert_eq!((words[0].start, words[0].is_verbatim), (0, true));
    }

    proptest! {
        #[test]
        fn any_line_is_words_or_an_error(line in any::<String>()) {
            if let Ok(words) = split(&line) {
                prop_assert!(words.iter().all(|word| line.is_char_boundary(word.start)));
            }
        }

        #[test]
        fn single_quotes_keep_everything(text in "[^']{1,12}") {
            let quoted = format!("x '{}'", text);
            prop_assert_eq!(texts(&quoted), ["x".to_owned(), text]);
        }

        #[test]
        fn json_is_kept(number in any::<i32>(), text in any::<String>()) {
            let json = serde_json::json!({"a": [number, {"b": text}]});
            prop_assert_eq!(texts(&format!("c x={json:#}")), ["c".to_owned(), format!("x={json:#}")]);
        }
    }
}
