//! What is decided and counted for a disk: errors, the write threshold, statistics.

pub mod error_policy;
pub mod statistics;
pub mod write_threshold;
