//! How a command fails.

use serde::Serialize;

/// What kind of failure it is, for a client that wants to tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum ErrorClass {
    /// Any failure that needs no kind of its own.
    GenericError,
    /// There is no such command, or not now.
    CommandNotFound,
    /// There is no such device.
    DeviceNotFound,
    /// The device is there, but not in use.
    DeviceNotActive,
    /// The host's KVM cannot do what this needs.
    KVMMissingCap,
    /// A parameter is of the right type, and names nothing that is there.
    InvalidParameterValue,
}

/// How many bytes a description may have.
const DESCRIPTION_LIMIT: usize = 1024;

/// A command's failure, as the client reads it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
#[error("{desc}")]
pub struct CommandError {
    /// Its kind.
    pub class: ErrorClass,
    /// Its description, for people.
    pub desc: String,
}

impl CommandError {
    /// A failure of any kind. What a client's names make too long is cut.
    pub fn new(class: ErrorClass, desc: impl Into<String>) -> Self {
        let mut desc = desc.into();
        if desc.len() > DESCRIPTION_LIMIT {
            let is_boundary = |at: &usize| desc.is_char_boundary(*at);
            desc.truncate((0..=DESCRIPTION_LIMIT).rev().find(is_boundary).unwrap_or(0));
            desc.push('…');
        }
        Self { class, desc }
    }

    /// A failure without a kind of its own.
    pub fn generic(desc: impl Into<String>) -> Self {
        Self::new(ErrorClass::GenericError, desc)
    }

    /// There is no command of that name.
    #[must_use]
    pub fn command_not_found(name: &str) -> Self {
        Self::new(
            ErrorClass::CommandNotFound,
            format!("The command {name} has not been found"),
        )
    }

    /// There is no device of that name.
    #[must_use]
    pub fn device_not_found(name: &str) -> Self {
        Self::new(
            ErrorClass::DeviceNotFound,
            format!("Device '{name}' not found"),
        )
    }

    /// A parameter's value is not one of those that are expected there.
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
    fn a_description_has_a_bound_that_splits_no_character() {
        let error = CommandError::generic("ä".repeat(1000));
        assert_eq!(error.desc.chars().count(), 513);
        assert!(error.desc.ends_with("ä…"));
        let short = "x".repeat(DESCRIPTION_LIMIT);
        assert_eq!(CommandError::generic(short.clone()).desc, short);
    }
}
