//! Disks under load, in each configuration: reads return what was written, as verified by fio and by file systems.
//! Every complete run takes the small size; `cargo xtask test --only soak` runs the full one.

mod configuration;
pub mod file_systems;
pub mod fio;
mod traffic;
pub mod tree;

use std::time::Duration;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::suite::{Context, Failure, Size};

/// The timeout of one command in a guest.
fn patience(size: Size) -> Duration {
    Duration::from_secs(60 * size.choose(2, 120))
}

/// Skips the test if these programs were not built for guests.
pub fn need(context: &Context, tools: Tools) -> Result<(), Failure> {
    if context.guest().tools(tools).exists() {
        return Ok(());
    }
    Err(Failure::skip(format!("no {tools:?} for guests")))
}
