//! QEMU's option syntax: `key=value,key=value`, with `,,` for a comma in a value.

use std::collections::BTreeMap;

use faultvisor_devices::block::throttle::limits::LimitsError;
pub use faultvisor_monitor::option_syntax::nearest;
use faultvisor_monitor::option_syntax::{split, suggestion};

/// What is wrong with an option's value. The option itself is named by whoever reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A part without `=`.
    #[error("'{0}' is not of the form key=value")]
    NoValue(String),
    /// A key that stands alone.
    #[error("key '{0}' needs a value: {0}=…")]
    Bare(String),
    /// A key that appears twice.
    #[error("key '{0}' is given twice")]
    Twice(String),
    /// A key that the option does not have.
    #[error("unknown key '{key}'{}", suggestion(nearest.as_deref()))]
    Unknown {
        /// As it was given.
        key: String,
        /// The known key that looks most like it.
        nearest: Option<String>,
    },
    /// A value that its key cannot have.
    #[error("{key}={value}: {reason}")]
    Value {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// Why not.
        reason: String,
    },
    /// Limits that do not go together.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// What is wrong with a value of an implied key.
    #[error("{0}")]
    Other(String),
    /// A key that must be there.
    #[error("key '{0}' is missing")]
    Missing(&'static str),
}

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
    /// [`KeyError`] for a part that is no pair, or a key that is unknown or there twice.
    pub fn parse(text: &str, known: &[&'static str]) -> Result<Self, KeyError> {
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
    ) -> Result<Self, KeyError> {
        Self::read(Some(implied), text, known, words)
    }

    fn read(
        mut implied: Option<&'static str>,
        text: &str,
        known: &[&'static str],
        words: &[Word],
    ) -> Result<Self, KeyError> {
        let mut values = BTreeMap::new();
        for part in split(text) {
            let implied = implied.take();
            let word = || words.iter().find(|(word, ..)| *word == part);
            let (key, value) = if let Some(pair) = part.split_once('=') {
                pair
            } else if let Some(key) = implied {
                (key, part.as_str())
            } else if let Some((_, key, value)) = word() {
                (*key, *value)
            } else if known.contains(&part.as_str()) {
                return Err(KeyError::Bare(part));
            } else {
                return Err(KeyError::NoValue(part));
            };
            if !known.contains(&key) {
                return Err(KeyError::Unknown {
                    key: key.to_owned(),
                    nearest: nearest(key, known.iter().copied()).map(str::to_owned),
                });
            }
            if values.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(KeyError::Twice(key.to_owned()));
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
    /// [`KeyError::Value`].
    pub fn take_with<T, E: ToString>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<T>, KeyError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match parse(&value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(reason) => Err(KeyError::Value {
                key,
                value,
                reason: reason.to_string(),
            }),
        }
    }
}

/// QEMU's words for a switch.
///
/// # Errors
///
/// The words, when it is none of them.
pub fn switch(word: &str) -> Result<bool, &'static str> {
    match word {
        "on" | "yes" | "true" => Ok(true),
        "off" | "no" | "false" => Ok(false),
        _ => Err("expected on or off"),
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
        assert_eq!(parse("id=a,id=b"), KeyError::Twice("id".into()));
        assert_eq!(parse("id"), KeyError::Bare("id".into()));
        assert_eq!(parse("x"), KeyError::NoValue("x".into()));
        assert_eq!(parse("id=a,"), KeyError::NoValue(String::new()));
    }
}
