//! Errors of a rule.

use std::borrow::Cow;
use std::fmt;

/// The length of a text that an error quotes.
const SHOWN: usize = 40;

/// A rule is invalid, in a sentence that names the member and its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A value that its member does not accept.
    #[error("'{member}' is {value}, which {reason}")]
    Value {
        /// The member.
        member: Cow<'static, str>,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },
    /// An empty text or list.
    #[error("'{0}' is empty")]
    Empty(&'static str),
    /// A text that is too long to quote.
    #[error("'{member}' has {bytes} bytes, which is more than {most}")]
    TooLong {
        /// The member.
        member: &'static str,
        /// Its length.
        bytes: usize,
        /// The maximum length.
        most: usize,
    },
    /// A member that another one requires is missing.
    #[error("'{member}' is missing{reason}")]
    Missing {
        /// The member.
        member: &'static str,
        /// Why it is required, as the end of the sentence.
        reason: Cow<'static, str>,
    },
    /// An action without the members that describe it, or with too many.
    #[error("'{action}' needs one of {members}")]
    Choice {
        /// The action.
        action: &'static str,
        /// The members of which it needs one.
        members: &'static str,
    },
    /// A repeated operation.
    #[error("'operations' has '{0}' twice")]
    Twice(&'static str),
    /// An action that does not apply to an operation.
    #[error("'{action}' can be done to {to}, not to '{operation}'")]
    Inapplicable {
        /// The action.
        action: &'static str,
        /// What it applies to.
        to: &'static str,
        /// The operation.
        operation: &'static str,
    },
    /// A rule that can never fire, or never change anything.
    #[error("{0}")]
    Futile(String),
    /// A range beyond the disk.
    #[error("{} on the disk, which has {disk}", part(*first, *last))]
    OffDisk {
        /// Its first sector.
        first: u64,
        /// Its last sector, which may exceed a sector's range.
        last: u128,
        /// The disk's size in sectors.
        disk: u64,
    },
}

impl RuleError {
    /// [`RuleError::Value`] for a value that is quoted as it is.
    pub(super) fn value(
        member: impl Into<Cow<'static, str>>,
        value: &dyn fmt::Display,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Value {
            member: member.into(),
            value: value.to_string(),
            reason: reason.into(),
        }
    }

    /// [`RuleError::Value`] for a number with a fraction.
    pub(super) fn number(
        member: impl Into<Cow<'static, str>>,
        value: f64,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::value(member, &plain(value), reason)
    }

    /// [`RuleError::Value`] for a text, whose beginning is quoted.
    pub(super) fn text(
        member: &'static str,
        value: &str,
        reason: impl Into<Cow<'static, str>>,
    ) -> Self {
        let beginning: String = value.chars().take(SHOWN).collect();
        let rest = if beginning.len() < value.len() {
            "…"
        } else {
            ""
        };
        Self::value(
            member,
            &format_args!("'{}{rest}'", beginning.escape_debug()),
            reason,
        )
    }
}

/// A number as people write it: 2 and not 2.0, 1e300 and not 300 zeroes.
pub(super) fn plain(value: f64) -> String {
    let text = format!("{value:?}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn part(first: u64, last: u128) -> String {
    if last == u128::from(first) {
        format!("sector {first} is not")
    } else {
        format!("sectors {first} to {last} are not all")
    }
}
