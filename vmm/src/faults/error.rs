//! Errors in the rules of an option or a file, with their origin.

use std::fmt;
use std::path::PathBuf;

use faultvisor_devices::block::fault::rule_error::RuleError;
use faultvisor_monitor::option_syntax::{OptionError, nearest, suggestion};
use faultvisor_schema::CommandError;

/// The longest error in bytes.
const MAX_LINE: usize = 2000;

/// A text as one readable line, whatever it quotes.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for character in text.chars() {
        if line.len() > MAX_LINE {
            line.push('…');
            break;
        }
        if character.is_control() {
            line.extend(character.escape_debug());
        } else {
            line.push(character);
        }
    }
    line
}

/// Where a rule is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In an option of the command line, by its name.
    Option(&'static str),
    /// In a file.
    File {
        /// The file, as on the command line.
        path: PathBuf,
        /// The line, from 1 on; `None` for an error of the whole file.
        line: Option<usize>,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option(name) => write!(formatter, "--{name}"),
            Self::File { path, line: None } => path.display().fmt(formatter),
            Self::File {
                path,
                line: Some(line),
            } => write!(formatter, "{}:{line}", path.display()),
        }
    }
}

/// The rules of a machine cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {}", one_line(&problem.to_string()))]
pub struct FaultsError {
    origin: Origin,
    problem: Box<Problem>,
}

impl FaultsError {
    /// The error.
    pub(super) fn new(origin: Origin, problem: Problem) -> Self {
        let problem = Box::new(problem);
        Self { origin, problem }
    }
}

/// An error in a file, and its line.
#[derive(Debug)]
pub(super) struct Mistake {
    pub line: usize,
    pub problem: Problem,
}

impl Mistake {
    /// The format is wrong.
    pub(super) fn syntax(line: usize, problem: impl Into<String>) -> Self {
        let problem = Problem::Syntax(problem.into());
        Self { line, problem }
    }
}

/// An error at some place.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The schema does not accept it.
    #[error(transparent)]
    Schema(#[from] CommandError),
    /// It is not a valid rule.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A file cannot be read, or is not text.
    #[error("{0}")]
    File(String),
    /// The text is not TOML, JSON or in blkdebug's format.
    #[error("{0}")]
    Syntax(String),
    /// A part without `=`, or an unknown or repeated key.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A list lacks an element.
    #[error("key '{key}' is given without '{missing}'")]
    Gap {
        /// An element that is present.
        key: String,
        /// The first one that is missing.
        missing: String,
    },
    /// A key that belongs to another action.
    #[error("key '{key}' does not go with the action '{action}'")]
    OfOtherAction {
        /// The key.
        key: String,
        /// The rule's action.
        action: String,
    },
    /// A value that its key does not accept.
    #[error("{key}={text}: expected {expected}")]
    Value {
        /// The key.
        key: String,
        /// Its value.
        text: String,
        /// What is expected.
        expected: &'static str,
    },
    /// A value that is not one of its key's words.
    #[error(transparent)]
    Word(#[from] Box<NoWord>),
    /// A rule for a disk that does not exist.
    #[error("there is no drive '{0}'")]
    NoDrive(String),
    /// A name that another rule has.
    #[error("the id '{id}' is that of another rule ({other})")]
    SameId {
        /// The name.
        id: String,
        /// The origin of the other rule.
        other: Origin,
    },
    /// The host has no random numbers.
    #[error("cannot choose a seed: {0}")]
    Seed(String),
}

/// A value that is not one of its key's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}={text}: expected {}one of {}{}", if *or_number { "a number, or " } else { "" }, known.join(", "),
    suggestion(nearest.as_deref()))]
pub struct NoWord {
    key: String,
    text: String,
    /// Whether a number is accepted, too.
    or_number: bool,
    /// All of the words.
    known: Vec<&'static str>,
    /// The nearest one.
    nearest: Option<String>,
}

impl Problem {
    /// [`Problem::Word`], with the nearest of the words.
    pub(super) fn no_word(
        key: &str,
        text: &str,
        known: Vec<&'static str>,
        or_number: bool,
    ) -> Self {
        let nearest = nearest(text, known.iter().copied());
        Self::Word(Box::new(NoWord {
            key: key.to_owned(),
            text: text.to_owned(),
            or_number,
            nearest: nearest.map(str::to_owned),
            known,
        }))
    }

    /// An unknown key, with the nearest known one.
    pub(super) fn unknown_key<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        OptionError::unknown(key, known).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_line_of_some_length() {
        let error = |key: &str| {
            let problem = Problem::unknown_key(key, ["count"]);
            FaultsError::new(Origin::Option("fault"), problem).to_string()
        };
        assert_eq!(error("a\nb\u{1b}"), "--fault: unknown key 'a\\nb\\u{1b}'");
        let long = error(&"ä".repeat(10_000_000));
        assert!(long.len() < 2100 && long.ends_with("ä…"), "{long}");
    }
}
