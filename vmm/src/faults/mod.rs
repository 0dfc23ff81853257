//! How rules come in: from the schema's form, which clients and files have them in, to the
//! engine's.

mod action;
mod errno;
mod error;
mod log;
mod rule;

pub use action::{survival, tear_bytes, then};
pub use errno::errno_of;
pub use error::RuleError;
pub use log::{FaultLog, LogError, read};
pub use rule::{complete, name, rule};

#[cfg(test)]
mod tests;

/// A seed for whoever has given none. Every JSON library keeps numbers below 2^53 as they are.
pub fn any_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without the host's randomness it is some number all the same: it need not be a secret.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes) >> 11
}
