//! `cargo xtask bench fault`: the fault engine's cost per request of a disk, with up to 1,000 rules.

use std::error::Error;
use std::process::ExitCode;

use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

const BENCHMARK: [&str; 5] = [
    "bench",
    "--package",
    "faultvisor-devices",
    "--bench",
    "fault_engine",
];

/// Runs the benchmark, which prints its results itself.
pub fn perform(workspace: &Workspace) -> Result<ExitCode, Box<dyn Error>> {
    let mut command = build::cargo();
    command.current_dir(workspace.root()).args(BENCHMARK);
    let status = command.status()?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
