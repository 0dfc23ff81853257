//! The error of a failed command.

use serde::Serialize;

/// The class of an error, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ErrorClass {
    /// Any failure without a class of its own.
    GenericError,
    /// The command does not exist, or is not available now.
    CommandNotFound,
    /// The device does not exist.
    DeviceNotFound,
    /// The device exists, but is not in use.
    DeviceNotActive,
    /// The host's KVM lacks a capability.
    KVMMissingCap,
    /// A parameter has the right type, but names nothing that exists.
    InvalidParameterValue,
}

/// The longest description, in bytes.
const DESCRIPTION_LIMIT: usize = 1024;

/// The error of a failed command, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{desc}")]
pub struct CommandError {
    /// Its class.
    pub class: ErrorClass,
    /// Its description, for people.
    pub desc: String,
}

impl CommandError {
    /// An error of any class. A longer description is cut.
    pub fn new(class: ErrorClass, desc: impl Into<String>) -> Self {
        let mut desc = desc.into();
        if desc.len() > DESCRIPTION_LIMIT {
            let is_boundary = |at: &usize| desc.is_char_boundary(*at);
            desc.truncate((0..=DESCRIPTION_LIMIT).rev().find(is_boundary).unwrap_or(0));
            desc.push('…');
        }
        Self { class, desc }
    }

    /// An error without a class of its own.
    pub fn generic(desc: impl Into<String>) -> Self {
        Self::new(ErrorClass::GenericError, desc)
    }

    /// The command does not exist.
    #[must_use]
    pub fn command_not_found(name: &str) -> Self {
        Self::new(
            ErrorClass::CommandNotFound,
            format!("The command {name} has not been found"),
        )
    }

    /// The device does not exist.
    #[must_use]
    pub fn device_not_found(name: &str) -> Self {
        Self::new(
            ErrorClass::DeviceNotFound,
            format!("Device '{name}' not found"),
        )
    }

    /// The parameter has a value that is not expected there.
    #[must_use]
    pub fn invalid_parameter_value(name: &str, expected: &str) -> Self {
        Self::new(
            ErrorClass::InvalidParameterValue,
            format!("Parameter '{name}' expects {expected}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_description_is_cut_between_characters() {
        let error = CommandError::generic("ä".repeat(1000));
        assert_eq!(error.desc.chars().count(), 513);
        assert!(error.desc.ends_with("ä…"));
        let short = "x".repeat(DESCRIPTION_LIMIT);
        assert_eq!(CommandError::generic(short.clone()).desc, short);
    }
}
