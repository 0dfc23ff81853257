//! Disks under load, in each way that a disk can be set up: what is written is what is read, by fio's reckoning and by
//! that of file systems. Small in every run of all tests; `cargo xtask test --only soak` runs the full size.

mod configuration;
pub mod file_systems;
pub mod fio;
mod traffic;
pub mod tree;

use std::time::Duration;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::suite::{Context, Failure, Size};

/// How long one command in a guest may take.
fn patience(size: Size) -> Duration {
    Duration::from_secs(60 * size.choose(2, 120))
}

/// Skips the test where there are no such programs for guests.
pub fn need(context: &Context, tools: Tools) -> Result<(), Failure> {
    if context.guest().tools(tools).exists() {
        return Ok(());
    }
    Err(Failure::skip(format!("no {tools:?} for guests")))
}
