//! A disk's error policy, write threshold and statistics.

pub mod error_policy;
pub mod statistics;
pub mod write_threshold;
