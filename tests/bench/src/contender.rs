//! The VMMs to measure, and their list, which one process passes to another.

use serde_json::{Value, json};

/// Why a text is not a list of contenders.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It is not JSON.
    #[error("not a list of contenders: {0}")]
    NotAList(#[from] serde_json::Error),
    /// A contender lacks a member.
    #[error("a contender without its '{0}'")]
    Lacks(&'static str),
}

/// A VMM and how it boots the guest, with the serial console on stdio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contender {
    /// Its name: one word.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
}

/// Encodes contenders as a text for another process.
pub fn to_json(contenders: &[Contender]) -> String {
    let list = contenders
        .iter()
        .map(|contender| json!({ "name": contender.name, "command": contender.command }));
    Value::Array(list.collect()).to_string()
}

/// Decodes contenders that [`to_json`] encoded.
///
/// # Errors
///
/// The text is not such a list.
pub fn from_json(text: &str) -> Result<Vec<Contender>, ListError> {
    let list: Vec<Value> = serde_json::from_str(text)?;
    list.iter().map(Contender::from_value).collect()
}

impl Contender {
    pub(crate) fn from_value(value: &Value) -> Result<Self, ListError> {
        let name = value["name"].as_str().ok_or(ListError::Lacks("name"))?;
        let words = value["command"]
            .as_array()
            .ok_or(ListError::Lacks("command"))?;
        let command: Vec<String> = words
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        if command.is_empty() {
            return Err(ListError::Lacks("command"));
        }
        Ok(Self {
            name: name.to_owned(),
            command,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contenders_read_back_as_written() {
        let contenders = vec![Contender {
            name: "microvm".to_owned(),
            command: ["qemu", "-append", "it's \"quoted\""]
                .map(str::to_owned)
                .to_vec(),
        }];
        assert_eq!(from_json(&to_json(&contenders)).unwrap(), contenders);
        assert!(matches!(
            from_json(r#"[{"name": "x", "command": []}]"#),
            Err(ListError::Lacks("command"))
        ));
    }
}
