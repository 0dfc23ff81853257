//! A variable of a command's environment on the command line.

use std::env;
use std::str::FromStr;

/// A name and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// The name.
    pub name: String,
    /// The value; `None` if it is only named and the host has no such variable.
    pub value: Option<String>,
}

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, env::var(text).ok()),
        };
        if name.is_empty() {
            return Err("a variable must have a name".into());
        }
        Ok(Self {
            name: name.to_owned(),
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_a_value_has_the_hosts() {
        let variable: Variable = "A=b=c".parse().unwrap();
        assert_eq!(
            (variable.name.as_str(), variable.value.as_deref()),
            ("A", Some("b=c"))
        );
        let path: Variable = "PATH".parse().unwrap();
        assert_eq!(path.value, env::var("PATH").ok());
        let missing: Variable = "NO_SUCH_VARIABLE_HERE".parse().unwrap();
        assert_eq!(missing.value, None);
        assert!("=x".parse::<Variable>().is_err());
    }
}
