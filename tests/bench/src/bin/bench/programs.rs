//! The programs that are measured, as they are shipped, and those that measure them.

use std::path::PathBuf;

use faultvisor_tests::build::{self, Progress};
use faultvisor_tests::tool::ToolError;
use faultvisor_tests::workspace::Workspace;

use crate::console;

/// Where they are.
pub struct Programs {
    /// The program, as it is shipped.
    pub faultvisor: PathBuf,
    /// The benchmark of the monitor.
    pub qmp: PathBuf,
    /// What measures guests.
    pub guests: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
}

/// Builds them.
pub fn build(workspace: &Workspace) -> Result<Programs, ToolError> {
    console::note(
        "building the program and its benchmarks, which takes some minutes the first time",
    );
    let mut cargo = build::cargo();
    cargo.args(["build", "--release"]);
    for package in ["faultvisor", "faultvisor-bench"] {
        cargo.args(["--package", package]);
    }
    for program in ["faultvisor", "bench-qmp", "bench-guests"] {
        cargo.args(["--bin", program]);
    }
    build::run(workspace, &mut cargo, Progress::OnTerminal)?;
    let directory = workspace.target().join("release");
    Ok(Programs {
        faultvisor: directory.join("faultvisor"),
        qmp: directory.join("bench-qmp"),
        guests: directory.join("bench-guests"),
        bare_guest: build::bare_guest(workspace)?,
    })
}
