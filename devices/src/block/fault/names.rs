//! Names of rules and of states.

use super::rule_error::RuleError;

/// Longest name of a rule or a state, in bytes.
const MAX_NAME: usize = 127;

/// Checks the name of a rule or of a state.
///
/// # Errors
///
/// It is empty, too long, or has control characters.
pub fn check_name(member: &'static str, name: &str) -> Result<(), RuleError> {
    if name.is_empty() {
        Err(RuleError::Empty(member))
    } else if name.len() > MAX_NAME {
        Err(RuleError::TooLong {
            member,
            bytes: name.len(),
            most: MAX_NAME,
        })
    } else if name.chars().any(char::is_control) {
        let reason = "has control characters";
        Err(RuleError::text(member, name, reason))
    } else {
        Ok(())
    }
}
