//! The forms of a command's arguments.

use std::fs;
use std::io;

use serde_json::Value;

use super::ArgumentError;

/// The words after a command, before introspection is queried.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// No arguments.
    None,
    /// All arguments as one JSON object, sent unchanged.
    Object(Value),
    /// `key=value` words.
    Words(Vec<String>),
}

impl Source {
    /// Tells the form of the words: `{…}` is JSON, `@FILE` a file of JSON, `-` standard input.
    ///
    /// # Errors
    ///
    /// [`ArgumentError`] for JSON that is not an object or not alone, and for files that cannot be read.
    pub fn from_words(words: &[String]) -> Result<Self, ArgumentError> {
        match words {
            [] => Ok(Self::None),
            [word] if is_whole(word) => object(&text(word)?).map(Self::Object),
            words if words.iter().any(|word| is_whole(word)) => Err(ArgumentError::NotAlone),
            words => Ok(Self::Words(words.to_vec())),
        }
    }
}

fn is_whole(word: &str) -> bool {
    word == "-" || word.starts_with(['{', '@'])
}

fn text(word: &str) -> Result<String, ArgumentError> {
    let (path, read) = match word.strip_prefix('@') {
        Some(path) => (path, fs::read_to_string(path)),
        None if word == "-" => ("standard input", io::read_to_string(io::stdin().lock())),
        None => return Ok(word.to_owned()),
    };
    read.map_err(|error| ArgumentError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn object(text: &str) -> Result<Value, ArgumentError> {
    let value: Value = serde_json::from_str(text).map_err(|error| ArgumentError::Json {
        key: "arguments".to_owned(),
        reason: error.to_string(),
    })?;
    if value.is_object() {
        Ok(value)
    } else {
        Err(ArgumentError::NoObject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn source(words: &[&str]) -> Result<Source, ArgumentError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Source::from_words(&words)
    }

    #[test]
    fn an_object_is_the_only_argument_and_may_be_in_a_file() {
        assert_eq!(source(&[]), Ok(Source::None));
        let object = Source::Object(json!({"a": [1]}));
        assert_eq!(source(&["{\"a\": [1]}"]), Ok(object.clone()));
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "\n{\"a\": [1]}\n").unwrap();
        let word = format!("@{}", file.path().display());
        assert_eq!(source(&[&word]), Ok(object));
        assert_eq!(source(&["a=1", "{}"]), Err(ArgumentError::NotAlone));
        let words = Source::Words(vec!["a={}".to_owned(), "b=@c".to_owned()]);
        assert_eq!(source(&["a={}", "b=@c"]), Ok(words));
    }

    #[test]
    fn json_that_is_not_an_object_is_refused_with_a_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "[1]").unwrap();
        let word = format!("@{}", file.path().display());
        assert_eq!(source(&[&word]), Err(ArgumentError::NoObject));
        let error = source(&["{\"a\": }"]).unwrap_err().to_string();
        assert!(
            error.starts_with("arguments: not JSON: expected value"),
            "{error}"
        );
        let error = source(&["@/no/such/file"]).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/file: No such file"), "{error}");
    }
}
