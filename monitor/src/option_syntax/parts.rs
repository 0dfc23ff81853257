//! The parts of an option, between its commas.

/// A part of an option: a key with its value, or a bare word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part(String);

impl Part {
    /// The part as it is given, with single commas.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The part behind a prefix; none if it begins with something else.
    #[must_use]
    pub fn without_prefix(&self, prefix: &str) -> Option<Self> {
        let rest = self.0.strip_prefix(prefix)?;
        Some(Self(rest.to_owned()))
    }

    /// The key and the value on both sides of the first `=`; none for a bare word.
    #[must_use]
    pub fn pair(&self) -> Option<(&str, &str)> {
        self.0.split_once('=')
    }
}

/// Splits an option at its commas; two in a row are one that belongs to the text. There is one part at least.
#[must_use]
pub fn parts(text: &str) -> Vec<Part> {
    let mut parts = vec![Part(String::new())];
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == ',' && characters.next_if_eq(&',').is_none() {
            parts.push(Part(String::new()));
        } else if let Some(Part(last)) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        parts(text).into_iter().map(|Part(text)| text).collect()
    }

    #[test]
    fn a_double_comma_is_a_comma_in_the_text() {
        assert_eq!(split("a,,b,c,,,"), ["a,b", "c,", ""]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn a_value_has_everything_behind_the_first_equals_sign() {
        let parts = parts("file=a=b,,c,server");
        assert_eq!(parts[0].pair(), Some(("file", "a=b,c")));
        assert_eq!(parts[1].pair(), None);
        assert_eq!(parts[1].text(), "server");
    }
}
