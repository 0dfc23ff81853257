//! The program and the end-to-end tests as static binaries, which run here as well as in the lab.

use std::ffi::OsString;
use std::path::PathBuf;

use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::{cargo, console};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "lab";

/// Where they are.
pub struct Binaries {
    /// The program under test.
    pub faultvisor: PathBuf,
    /// The end-to-end tests.
    pub e2e: PathBuf,
}

/// Builds them.
pub fn build(workspace: &Workspace) -> Result<Binaries, ToolError> {
    console::note("building the program and the end-to-end tests");
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(OsString::from(" -C target-feature=+crt-static"));
    let mut cargo = cargo::command();
    cargo.args(["build", "--quiet", "--profile", PROFILE, "--target", TARGET]);
    cargo.args([
        "--package",
        "faultvisor",
        "--package",
        "faultvisor-tests",
        "--bin",
        "faultvisor",
        "--bin",
        "e2e",
    ]);
    tool::run(cargo.env("RUSTFLAGS", flags).current_dir(workspace.root()))?;
    let directory = workspace.target().join(TARGET).join(PROFILE);
    Ok(Binaries {
        faultvisor: directory.join("faultvisor"),
        e2e: directory.join("e2e"),
    })
}
