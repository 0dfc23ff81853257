//! Rules from options and files, in the schema's form, which are converted for the devices' fault engine; and the log
//! of fault decisions.

mod blkdebug;
mod error;
mod feasibility;
mod file;
mod given;
mod key_value;
mod log;
mod members;
mod profile;

pub use blkdebug::blkdebug;
pub use error::FaultsError;
pub use feasibility::{Doubt, Target, doubts, lossless_power_cut};
pub use given::{GivenRule, check, option, random_seed, resolve};
pub use log::{FaultLog, LogError, read};
pub use profile::profile;

#[cfg(test)]
mod tests;
