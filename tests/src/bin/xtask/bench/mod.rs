//! `cargo xtask bench`: Faultvisor and what it is measured beside, in one run on one machine.

mod block;
mod boot;
mod fault;
mod idle;
mod qmp;
mod side_by_side;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use faultvisor_tests::packages;
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

/// What to measure.
#[derive(Subcommand)]
pub enum Bench {
    /// How fast a guest's disk is, and what CPU time it takes.
    Block(block::Options),
    /// How long a VMM takes from exec to the guest's init, and what memory it needs beside the guest's.
    Boot(boot::Options),
    /// What the fault engine costs a request of a disk.
    Fault,
    /// What CPU time a guest takes that does nothing.
    Idle(idle::Options),
    /// How long the monitor's answers and events take, and how much it can take on.
    Qmp(qmp::Options),
}

/// Measures.
pub fn perform(workspace: &Workspace, bench: &Bench) -> Result<ExitCode, Box<dyn Error>> {
    match bench {
        Bench::Block(options) => block::perform(workspace, options),
        Bench::Boot(options) => boot::perform(workspace, options),
        Bench::Fault => fault::perform(workspace),
        Bench::Idle(options) => idle::perform(workspace, options),
        Bench::Qmp(options) => qmp::perform(workspace, options),
    }
}

fn qemu() -> Result<PathBuf, ToolError> {
    let program = packages::QEMU.program;
    tool::find(program).ok_or_else(|| ToolError::Missing(program.to_owned()))
}
