//! The script's language: one step a line, words separated by spaces.

use core::str::{FromStr, SplitAsciiWhitespace};

/// Why a step cannot be executed, as the report says it.
pub type Wrong = &'static str;

/// Parses a number, in decimal or after `0x` in hexadecimal.
pub fn number(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => u64::from_str(word).ok(),
    }
}

/// The words of a step after its name.
#[derive(Debug, Clone)]
pub struct Words<'a>(SplitAsciiWhitespace<'a>);

impl<'a> Words<'a> {
    /// Splits a line into words.
    pub fn of(line: &'a str) -> Self {
        Self(line.split_ascii_whitespace())
    }

    /// The next word.
    pub fn word(&mut self) -> Result<&'a str, Wrong> {
        self.0.next().ok_or("a-word-is-missing")
    }

    /// The next word as a number.
    pub fn number<T: TryFrom<u64>>(&mut self) -> Result<T, Wrong> {
        let number = number(self.word()?).ok_or("not-a-number")?;
        T::try_from(number).map_err(|_| "the-number-is-too-large")
    }

    /// The next word, if there is one.
    pub fn rest(&mut self) -> Option<&'a str> {
        self.0.next()
    }
}
