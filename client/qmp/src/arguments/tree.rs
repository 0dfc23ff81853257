//! Parsed words: the values and members of each key, before types are known.

use std::collections::BTreeMap;

use super::ArgumentError;

/// Deeper than any schema's objects, and shallow enough for recursion.
const MOST_LEVELS: usize = 64;

/// What was given for a key: values, or members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Values, in the order given.
    pub texts: Vec<Text>,
    /// Members, by name.
    pub parts: BTreeMap<String, Node>,
}

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// After `=`.
    Plain(String),
    /// After `:=`.
    Json(String),
}

impl Node {
    /// Parses words.
    ///
    /// # Errors
    ///
    /// A word is not a pair, or its key is invalid.
    pub fn from_words(words: &[String]) -> Result<Self, ArgumentError> {
        let mut root = Self::default();
        for word in words {
            root.add(word)?;
        }
        Ok(root)
    }

    /// As [`from_words`](Self::from_words), but ignores invalid words, for completion of an unfinished line.
    #[must_use]
    pub fn from_good_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut root = Self::default();
        for word in words {
            // Errors are reported when the line is complete.
            let _ = root.add(word);
        }
        root
    }

    fn add(&mut self, word: &str) -> Result<(), ArgumentError> {
        let (key, value) = word
            .split_once('=')
            .ok_or_else(|| ArgumentError::NoPair(word.to_owned()))?;
        let (key, text) = match key.strip_suffix(':') {
            Some(key) => (key, Text::Json(value.to_owned())),
            None => (key, Text::Plain(value.to_owned())),
        };
        let segments: Vec<&str> = key.split('.').collect();
        if segments.iter().any(|segment| segment.is_empty()) {
            return Err(ArgumentError::Key(key.to_owned()));
        }
        if segments.len() > MOST_LEVELS {
            return Err(ArgumentError::Depth(segments[..4].join(".")));
        }
        let node = segments.into_iter().fold(self, |node, segment| {
            node.parts.entry(segment.to_owned()).or_default()
        });
        node.texts.push(text);
        Ok(())
    }

    /// The value, if exactly one is given.
    pub fn only_text(&self) -> Option<&Text> {
        match self.texts.as_slice() {
            [text] => Some(text),
            _ => None,
        }
    }

    /// The value of a member, as a value of an enumeration.
    #[must_use]
    pub fn word(&self, part: &str) -> Option<String> {
        match self.parts.get(part)?.only_text()? {
            Text::Plain(text) => Some(text.clone()),
            Text::Json(text) => serde_json::from_str(text).ok(),
        }
    }
}
