//! How rules come in: from the schema's form, which clients, options and files have them in, to the
//! engine's.

mod action;
mod blkdebug;
mod errno;
mod error;
mod file;
mod given;
mod key_value;
mod members;
mod profile;
mod rule;

#[allow(unused_imports, reason = "what the machine's commands need")]
pub use action::{survival, tear_bytes, then};
pub use blkdebug::blkdebug;
#[allow(unused_imports, reason = "what the machine's commands need")]
pub use errno::errno_of;
pub use error::FaultsError;
#[allow(unused_imports, reason = "what the machine's commands need")]
pub use error::RuleError;
pub use given::{GivenRule, check, option, resolve};
#[allow(unused_imports, reason = "what the machine's commands need")]
pub use given::{free_ids, random_seed};
pub use profile::profile;
#[allow(unused_imports, reason = "what the machine's commands need")]
pub use rule::name;
pub use rule::{complete, rule};

#[cfg(test)]
mod tests;
