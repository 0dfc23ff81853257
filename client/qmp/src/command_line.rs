//! Completion of this program's command line in a shell: `qmp complete`.

use std::time::Duration;

use crate::client::Client;
use crate::completion::{Known, after};
use crate::options::ConnectionOptions;
use crate::words;

/// The longest wait for a server after TAB.
const PATIENCE: Duration = Duration::from_secs(2);

/// The options that take a value.
const WITH_VALUE: [&str; 5] = ["-s", "--socket", "--timeout", "--wait", "--count"];

/// Words that may stand in place of a command.
const ACTIONS: [&str; 3] = ["help", "shell", "watch"];

/// The candidates for the last word of a line, which may be empty. None if the server cannot be queried: completion
/// reports no errors.
pub fn candidates(line: &str, environment: &ConnectionOptions) -> Vec<String> {
    let Some(line) = Line::parse(line) else {
        return Vec::new();
    };
    let connection = ConnectionOptions {
        socket: line.socket.or_else(|| environment.socket.clone()),
        timeout: Some(PATIENCE),
        wait: None,
    };
    let before: Vec<&str> = line.words.iter().map(String::as_str).collect();
    let known = Client::connect(&connection).ok();
    let client = known.as_ref();
    match client.and_then(|client| Some((client, client.introspection().ok()?))) {
        Some((client, introspection)) => {
            let known = Known {
                introspection,
                names: &|key| client.names(key),
            };
            after(&known, &before, &line.current, &ACTIONS)
        }
        None if before.is_empty() => crate::completion::among(ACTIONS, &line.current),
        None => Vec::new(),
    }
}

/// A command line up to the cursor.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    socket: Option<String>,
    /// Without the program and the options.
    words: Vec<String>,
    current: String,
}

impl Line {
    /// Splits a line. None if the last word is an option, its value, or quoted.
    fn parse(line: &str) -> Option<Self> {
        let mut parsed = words::split(line).ok()?;
        let is_begun = !line.ends_with(char::is_whitespace);
        let current = parsed.pop_if(|_| is_begun);
        if current.as_ref().is_some_and(|word| !word.is_verbatim) {
            return None;
        }
        let current = current.map(|word| word.text).unwrap_or_default();
        if current.starts_with('-') {
            return None;
        }
        let mut socket = None;
        let mut words = Vec::new();
        let mut rest = parsed.into_iter().skip(1).map(|word| word.text);
        while let Some(word) = rest.next() {
            if let Some(value) = word.strip_prefix("--socket=") {
                socket = Some(value.to_owned());
            } else if WITH_VALUE.contains(&word.as_str()) {
                let value = rest.next()?;
                if matches!(word.as_str(), "-s" | "--socket") {
                    socket = Some(value);
                }
            } else if let Some(value) = word.strip_prefix("-s") {
                socket = Some(value.trim_start_matches('=').to_owned());
            } else if !word.starts_with('-') {
                words.push(word);
            }
        }
        Some(Self {
            socket,
            words,
            current,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(line: &str) -> Option<(Option<String>, Vec<String>, String)> {
        Line::parse(line).map(|line| (line.socket, line.words, line.current))
    }

    fn expected(
        socket: Option<&str>,
        words: &[&str],
        current: &str,
    ) -> Option<(Option<String>, Vec<String>, String)> {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Some((socket.map(str::to_owned), words, current.to_owned()))
    }

    #[test]
    fn options_are_separated_from_the_command_and_its_arguments() {
        assert_eq!(line("qmp "), expected(None, &[], ""));
        let socket = Some("q.sock");
        for text in [
            "qmp -s q.sock --json block_resize dev",
            "qmp --timeout 1 --socket=q.sock block_resize dev",
            "qmp block_resize -sq.sock dev",
            "/usr/bin/qmp --socket 'q.sock' block_resize dev",
        ] {
            assert_eq!(line(text), expected(socket, &["block_resize"], "dev"));
        }
    }

    #[test]
    fn options_their_values_and_quoted_words_are_left_to_the_shell() {
        for text in [
            "qmp -",
            "qmp -s ",
            "qmp -s q",
            "qmp --js",
            "qmp a 'b",
            "qmp a 'b'",
        ] {
            assert_eq!(line(text), None, "{text}");
        }
    }
}
