//! How rules come in: from the schema's form, which clients and files have them in, to the
//! engine's.

mod action;
mod errno;
mod error;
mod log;
mod rule;
mod seed;

pub use action::{survival, tear_bytes, then};
pub use errno::errno_of;
pub use error::RuleError;
pub use log::{FaultLog, LogError, read};
pub use rule::{complete, name, rule};
pub use seed::any_seed;

#[cfg(test)]
mod tests;
