//! How rules come in: from the schema's form, which clients and files have them in, to the
//! engine's. And what is written of what they do.

mod action;
mod blkdebug;
mod errno;
mod error;
mod feasibility;
mod file;
mod given;
mod key_value;
mod log;
mod members;
mod profile;
mod rule;

pub use action::{survival, tear_bytes, then};
pub use blkdebug::blkdebug;
pub use errno::errno_of;
pub use error::FaultsError;
pub use feasibility::{Doubt, Target, doubts, lossless_power_cut};
pub use given::{GivenRule, check, option, random_seed, resolve};
pub use log::{FaultLog, LogError, read};
pub use profile::profile;
pub use rule::{complete, name, rule};

#[cfg(test)]
mod tests;
