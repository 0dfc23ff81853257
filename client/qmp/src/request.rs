//! A request as on the wire and in documents, `{"execute": …, "arguments": …}`, instead of a command.

use serde_json::{Map, Value};

use crate::client::Band;
use crate::failure::Failure;

/// Marks the client's messages in documents.
const ARROW: &str = "->";

/// A command with its arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The command.
    pub command: String,
    /// Its arguments, sent unchanged.
    pub arguments: Option<Value>,
    /// The band that it is sent in.
    pub band: Band,
}

impl Request {
    /// Reads a request, if the words begin with one.
    ///
    /// # Errors
    ///
    /// It is not JSON, or has members that a QMP request has not.
    pub fn from_words(words: &[String]) -> Result<Option<Self>, Failure> {
        let words = match words {
            [arrow, rest @ ..] if arrow == ARROW => rest,
            words => words,
        };
        let Some((text, rest)) = words.split_first() else {
            return Ok(None);
        };
        if !text.starts_with('{') {
            return Ok(None);
        }
        if !rest.is_empty() {
            return Err(refused("a request in JSON stands alone"));
        }
        let members: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| refused(&format!("a request that is not JSON: {error}")))?;
        Self::of(members).map(Some)
    }

    fn of(mut members: Map<String, Value>) -> Result<Self, Failure> {
        let arguments = members.remove("arguments");
        // The session assigns an id of its own.
        members.remove("id");
        let mut command = None;
        for (key, band) in [("execute", Band::In), ("exec-oob", Band::OutOf)] {
            let Some(name) = members.remove(key) else {
                continue;
            };
            let Value::String(name) = name else {
                return Err(refused(&format!("'{key}' must be the name of a command")));
            };
            if command.replace((name, band)).is_some() {
                return Err(refused("a request has one of 'execute' and 'exec-oob'"));
            }
        }
        if let Some(key) = members.keys().next() {
            return Err(refused(&format!(
                "a request has no '{key}'; there are: execute, exec-oob, arguments, id"
            )));
        }
        let (command, band) = command.ok_or_else(|| refused("a request needs 'execute'"))?;
        if arguments
            .as_ref()
            .is_some_and(|arguments| !arguments.is_object())
        {
            return Err(refused("'arguments' must be an object"));
        }
        Ok(Self {
            command,
            arguments,
            band,
        })
    }
}

fn refused(why: &str) -> Failure {
    Failure::Usage(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(words: &[&str]) -> Result<Option<Request>, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Request::from_words(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_request_is_a_command_with_its_arguments() {
        let stop = Request {
            command: "stop".to_owned(),
            arguments: None,
            band: Band::In,
        };
        let words = [r#"{"execute": "stop", "id": 7}"#];
        assert_eq!(request(&words), Ok(Some(stop.clone())));
        assert_eq!(request(&["->", words[0]]), Ok(Some(stop)));
        let resize = Request {
            command: "block_resize".to_owned(),
            arguments: Some(json!({"size": 1})),
            band: Band::OutOf,
        };
        let text = r#"{"exec-oob": "block_resize", "arguments": {"size": 1}}"#;
        assert_eq!(request(&[text]), Ok(Some(resize)));
    }

    #[test]
    fn other_words_are_a_command_line() {
        assert_eq!(request(&[]), Ok(None));
        assert_eq!(request(&["stop", "{}"]), Ok(None));
        assert_eq!(request(&["->", "stop"]), Ok(None));
    }

    #[test]
    fn unknown_members_of_a_request_are_refused_by_name() {
        for (text, why) in [
            ("{}", "a request needs 'execute'"),
            (
                r#"{"execute": 1}"#,
                "'execute' must be the name of a command",
            ),
            (
                r#"{"execute": "a", "exec-oob": "a"}"#,
                "a request has one of 'execute' and 'exec-oob'",
            ),
            (
                r#"{"execute": "a", "arguments": []}"#,
                "'arguments' must be an object",
            ),
            (
                r#"{"execute": "a", "argument": {}}"#,
                "a request has no 'argument'; there are: execute, exec-oob, arguments, id",
            ),
        ] {
            assert_eq!(request(&[text]), Err(why.to_owned()));
        }
        let alone = request(&[r#"{"execute": "a"}"#, "b=1"]);
        assert_eq!(alone, Err("a request in JSON stands alone".to_owned()));
        let broken = request(&["{'execute': 'a'}"]).unwrap_err();
        assert!(
            broken.starts_with("a request that is not JSON: "),
            "{broken}"
        );
    }
}
