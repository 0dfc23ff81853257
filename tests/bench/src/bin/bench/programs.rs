//! The measured programs, as shipped, and the measuring ones.

use std::path::PathBuf;

use faultvisor_tests::build::{self, Progress};
use faultvisor_tests::tool::ToolError;
use faultvisor_tests::workspace::Workspace;

use crate::console;

/// The paths of the programs.
pub struct Programs {
    /// The program, as shipped.
    pub faultvisor: PathBuf,
    /// The benchmark of the monitor.
    pub qmp: PathBuf,
    /// The benchmark that runs beside guests.
    pub guests: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
}

/// Builds all of them.
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
        bare_guest: build::guest(workspace, build::Guest::Bare)?,
    })
}
