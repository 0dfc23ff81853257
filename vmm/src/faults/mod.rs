//! How rules come in: from the schema's form, which clients and files have them in, to the
//! engine's.

mod action;
mod errno;
mod error;
mod rule;

pub use action::{survival, tear_bytes, then};
pub use errno::errno_of;
pub use error::RuleError;
pub use rule::{complete, name, rule};

#[cfg(test)]
mod tests;
