//! Builds the programs: for tests, and for shipping.
//!
//! There are two sets of flags, to compile little twice. Everything that runs in tests has the profile of the unit
//! tests, with overflow checks and assertions. The other is the release profile.

use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::build::{self, Progress};
use faultvisor_tests::tool::ToolError;
use faultvisor_tests::workspace::Workspace;
use serde_json::Value;

use crate::{console, progress};

/// The programs for tests.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The program under test.
    pub faultvisor: PathBuf,
    /// The command-line client.
    pub qmp: PathBuf,
    /// The program that runs programs in guests.
    pub fvctl: PathBuf,
    /// The agent for guests.
    pub agent: PathBuf,
    /// The end-to-end tests.
    pub e2e: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
    /// The C library, for static linking.
    pub c_library: PathBuf,
}

/// Builds the programs for tests.
pub fn build(workspace: &Workspace) -> Result<Binaries, ToolError> {
    console::note("building the programs and the end-to-end tests");
    let mut cargo = build::cargo();
    // In one build, so that common dependencies have the same features.
    cargo.args(["build", "--lib", "--package", "libqmp-capi"]);
    let names = ["faultvisor", "qmp", "fvctl", "e2e"];
    run(workspace, programs(&mut cargo, &names))?;
    let directory = workspace.target().join("debug");
    Ok(Binaries {
        faultvisor: directory.join("faultvisor"),
        qmp: directory.join("qmp"),
        fvctl: directory.join("fvctl"),
        agent: build::guest(workspace, build::Guest::Agent)?,
        e2e: directory.join("e2e"),
        c_library: directory.join("libqmp.a"),
        bare_guest: build::guest(workspace, build::Guest::Bare)?,
    })
}

/// Builds what is shipped, as `cargo build --release` does, or with another profile. Returns its directory.
pub fn build_shipped(
    workspace: &Workspace,
    profile: &str,
    mut cargo: Command,
) -> Result<PathBuf, ToolError> {
    cargo.args(["build", "--profile", profile]);
    for package in ["faultvisor", "qmp", "fvctl", "libqmp-capi"] {
        cargo.args(["--package", package]);
    }
    // Only this profile builds to a directory of another name.
    let directory = if profile == "dev" { "debug" } else { profile };
    if profile == "dev" {
        // With the tests' features, so that it is built already.
        cargo.args(["--package", "faultvisor-tests", "--lib", "--bins"]);
    }
    run(workspace, &mut cargo)?;
    Ok(workspace.target().join(directory))
}

/// Selects all packages each time: a single one would have other features, and be built again.
fn programs<'a>(cargo: &'a mut Command, names: &[&str]) -> &'a mut Command {
    for package in ["faultvisor", "faultvisor-tests", "qmp", "fvctl"] {
        cargo.args(["--package", package]);
    }
    for name in names {
        cargo.args(["--bin", name]);
    }
    cargo
}

/// Runs a `cargo build`; shows its progress unless a status line is drawn.
pub fn run(workspace: &Workspace, cargo: &mut Command) -> Result<Vec<u8>, ToolError> {
    let progress = if progress::is_drawn() {
        Progress::Hidden
    } else {
        Progress::OnTerminal
    };
    build::run(workspace, cargo, progress)
}

/// The path of an integration test's program, from cargo's messages.
pub fn test_program(said: &[u8], test: &str) -> Result<PathBuf, ToolError> {
    let built = String::from_utf8_lossy(said)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    built.ok_or_else(|| ToolError::Missing(test.to_owned()))
}
