//! Options whose keys are known, and given once each.

use std::collections::BTreeMap;

use super::error::OptionError;
use super::parts::parts;

/// A word that stands for a key and its value.
pub type Word = (&'static str, &'static str, &'static str);

/// The keys and values of one option, each of which is taken once.
#[derive(Debug)]
pub struct KeyValues(BTreeMap<String, String>);

impl KeyValues {
    /// Splits an option's text, and checks its keys.
    ///
    /// # Errors
    ///
    /// [`OptionError`] for a part that is no pair, or a key that is unknown or there twice.
    pub fn parse(text: &str, known: &[&'static str]) -> Result<Self, OptionError> {
        Self::read(None, text, known, &[])
    }

    /// As [`Self::parse`], where a first part without `=` is the value of the key `implied`, and a later one may be a word
    /// that stands for a key and its value.
    ///
    /// # Errors
    ///
    /// As [`Self::parse`].
    pub fn parse_implying(
        implied: &'static str,
        text: &str,
        known: &[&'static str],
        words: &[Word],
    ) -> Result<Self, OptionError> {
        Self::read(Some(implied), text, known, words)
    }

    fn read(
        mut implied: Option<&'static str>,
        text: &str,
        known: &[&'static str],
        words: &[Word],
    ) -> Result<Self, OptionError> {
        let mut values = BTreeMap::new();
        for part in parts(text) {
            let implied = implied.take();
            let text = part.text();
            let word = || words.iter().find(|(word, ..)| *word == text);
            let (key, value) = if let Some(pair) = part.pair() {
                pair
            } else if let Some(key) = implied {
                (key, text)
            } else if let Some((_, key, value)) = word() {
                (*key, *value)
            } else if known.contains(&text) {
                return Err(OptionError::Bare(text.to_owned()));
            } else {
                return Err(OptionError::NoValue(text.to_owned()));
            };
            if !known.contains(&key) {
                return Err(OptionError::unknown(key, known.iter().copied()));
            }
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(OptionError::Twice(key.to_owned()));
            }
        }
        Ok(Self(values))
    }

    /// Takes a key's value, if it is there.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.0.remove(key)
    }

    /// Takes a key's value and understands it with `parse`, which says why it cannot.
    ///
    /// # Errors
    ///
    /// [`OptionError::Value`].
    pub fn take_with<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, OptionError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(reason) => Err(OptionError::Value {
                key,
                value,
                reason: reason.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_comma_is_a_comma_in_a_value() {
        let mut values = KeyValues::parse("file=a,,b=c,,,id=x", &["file", "id"]).unwrap();
        assert_eq!(values.take("file").unwrap(), "a,b=c,");
        assert_eq!(values.take("id").unwrap(), "x");
    }

    #[test]
    fn an_unknown_key_is_named_with_the_nearest_known_one() {
        let known = ["werror", "rerror", "readonly"];
        let error = KeyValues::parse("werorr=stop", &known).unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown key 'werorr'; did you mean 'werror'?"
        );
        let error = KeyValues::parse("zzzzzz=1", &known).unwrap_err();
        assert_eq!(error.to_string(), "unknown key 'zzzzzz'");
    }

    #[test]
    fn a_key_counts_once_and_needs_a_value() {
        let parse = |text| KeyValues::parse(text, &["id"]).unwrap_err();
        assert_eq!(parse("id=a,id=b"), OptionError::Twice("id".into()));
        assert_eq!(parse("id"), OptionError::Bare("id".into()));
        assert_eq!(parse("x"), OptionError::NoValue("x".into()));
        assert_eq!(parse("id=a,"), OptionError::NoValue(String::new()));
    }
}
