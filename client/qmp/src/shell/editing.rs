//! Completion, hints and continuation lines for the line editor.

use std::borrow::Cow;
use std::rc::Rc;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::{Hint, Hinter};
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Helper, Result};

use super::builtin::Builtin;
use crate::client::Client;
use crate::completion::{Known, after, among, missing};
use crate::words::{self, LineError, Word};

/// Completes with the server's introspection.
pub struct Assistant {
    client: Rc<Client>,
}

impl Assistant {
    /// Queries the server on first use.
    pub fn new(client: Rc<Client>) -> Self {
        Self { client }
    }
}

impl Helper for Assistant {}

impl Validator for Assistant {
    /// A line with open JSON brackets continues on the next.
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(match words::split(context.input()) {
            Err(LineError::Bracket) => ValidationResult::Incomplete,
            _ => ValidationResult::Valid(None),
        })
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        Cow::Owned(format!("\u{1b}[2m{hint}\u{1b}[0m"))
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> Result<(usize, Vec<Pair>)> {
        let before = line.get(..position).unwrap_or(line);
        let Ok(introspection) = self.client.introspection() else {
            return Ok((position, Vec::new()));
        };
        let known = Known {
            introspection,
            names: &|key| self.client.names(key),
        };
        let (start, candidates) = complete(&known, before);
        let pair = |replacement: String| Pair {
            display: replacement.trim_end().to_owned(),
            replacement,
        };
        Ok((start, candidates.into_iter().map(pair).collect()))
    }
}

impl Hinter for Assistant {
    type Hint = Missing;

    fn hint(&self, line: &str, position: usize, _: &Context<'_>) -> Option<Missing> {
        let at_end = position == line.len() && line.ends_with(' ');
        // A hint does not query the server.
        let introspection = self.client.known_introspection().filter(|_| at_end)?;
        let words = words::split(line).ok()?;
        let words: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let (command, before) = words.split_first()?;
        let missing = missing(introspection, command, before);
        (!missing.is_empty()).then(|| Missing(missing.join(" ")))
    }
}

/// Missing arguments. They are displayed and not inserted: their values are missing, too.
#[derive(Debug)]
pub struct Missing(String);

impl Hint for Missing {
    fn display(&self) -> &str {
        &self.0
    }

    fn completion(&self) -> Option<&str> {
        None
    }
}

/// The start of the word at the end of `line`, and its candidates.
fn complete(known: &Known<'_>, line: &str) -> (usize, Vec<String>) {
    let nothing = (line.len(), Vec::new());
    let Ok(mut words) = words::split(line) else {
        return nothing;
    };
    let is_begun = !line.is_empty() && !line.ends_with(char::is_whitespace);
    let current = words.pop_if(|_| is_begun).unwrap_or(Word {
        start: line.len(),
        text: String::new(),
        is_verbatim: true,
    });
    // Quoted text has another length than on the line.
    if !current.is_verbatim {
        return nothing;
    }
    let before: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let mut candidates = candidates(known, &before, &current.text);
    if let [only] = candidates.as_mut_slice()
        && !only.ends_with(['=', '.'])
    {
        only.push(' ');
    }
    (current.start, candidates)
}

fn candidates(known: &Known<'_>, before: &[&str], current: &str) -> Vec<String> {
    match before {
        [] => {
            let mut words = after(known, before, current, &Builtin::NAMES);
            words.extend(among(["--oob"], current));
            words
        }
        ["--oob"] => after(known, &[], current, &[]),
        ["--oob", before @ ..] => after(known, before, current, &[]),
        ["watch", ..] => {
            let mut words = after(known, before, current, &[]);
            words.extend(among(["--initial"], current));
            words
        }
        before => after(known, before, current, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::introspection::samples;

    fn completed(line: &str) -> (usize, Vec<String>) {
        let known = Known {
            introspection: &samples::masked(),
            names: &|_| vec!["disk0".to_owned()],
        };
        complete(&known, line)
    }

    fn owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_first_word_is_a_command_and_ends_with_a_space() {
        assert_eq!(completed("op"), (0, owned(&["open "])));
        assert_eq!(completed("  op"), (2, owned(&["open "])));
        assert_eq!(completed("--oob cl"), (6, owned(&["close "])));
        assert_eq!(completed("quit"), (0, owned(&["quit-shell "])));
        assert_eq!(
            completed("").1,
            owned(&[
                "close",
                "open",
                "help",
                "quit-shell",
                "unwatch",
                "watch",
                "--oob"
            ])
        );
    }

    #[test]
    fn later_words_are_arguments() {
        assert_eq!(
            completed("open driver=file pa"),
            (17, owned(&["parts=", "path="]))
        );
        assert_eq!(completed("open lim"), (5, owned(&["limits."])));
        assert_eq!(completed("open driver=n"), (5, owned(&["driver=net "])));
        assert_eq!(
            completed("--oob open driver=n"),
            (11, owned(&["driver=net "]))
        );
    }

    #[test]
    fn help_and_watch_know_events() {
        assert_eq!(completed("help o"), (5, owned(&["open "])));
        assert_eq!(completed("watch HAP"), (6, owned(&["HAPPENED "])));
        assert_eq!(completed("watch dev"), (6, owned(&["device="])));
        assert_eq!(completed("watch device="), (6, owned(&["device=disk0 "])));
        assert_eq!(completed("watch --in"), (6, owned(&["--initial "])));
    }

    #[test]
    fn nothing_is_completed_within_quotes_and_json() {
        assert!(completed("open 'dri").1.is_empty());
        assert!(completed("open 'dri'").1.is_empty());
        assert!(completed("open {\"dri").1.is_empty());
    }
}
