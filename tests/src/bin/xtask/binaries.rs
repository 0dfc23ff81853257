//! The programs: as the tests have them, and as they are shipped.
//!
//! There are two sets of flags, so that little is compiled twice. Everything that runs in tests has the profile of the
//! unit tests, whose checks of arithmetic and of assertions it has too. The other is the release's.

use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::build::{self, Progress};
use faultvisor_tests::tool::ToolError;
use faultvisor_tests::workspace::Workspace;
use serde_json::Value;

use crate::{console, progress};

/// What tests run.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// The program under test.
    pub faultvisor: PathBuf,
    /// The command-line client, beside it.
    pub qmp: PathBuf,
    /// The end-to-end tests.
    pub e2e: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
    /// The C library, to be linked statically.
    pub c_library: PathBuf,
    /// The example of a `cargo test`.
    pub example: PathBuf,
    /// And that of one with a power cut.
    pub power_cut_example: PathBuf,
}

/// Builds it.
pub fn build(workspace: &Workspace) -> Result<Binaries, ToolError> {
    console::note("building the programs and the end-to-end tests");
    let mut cargo = build::cargo();
    cargo.args([
        "build",
        "--lib",
        "--test",
        "disk_error",
        "--test",
        "power_cut",
    ]);
    // Of one build, so that what they have in common has the same features.
    cargo.args([
        "--package",
        "libqmp-capi",
        "--package",
        "faultvisor-example",
    ]);
    let names = ["faultvisor", "qmp", "e2e"];
    let built = run(workspace, programs(&mut cargo, &names))?;
    let directory = workspace.target().join("debug");
    Ok(Binaries {
        faultvisor: directory.join("faultvisor"),
        qmp: directory.join("qmp"),
        e2e: directory.join("e2e"),
        c_library: directory.join("libqmp.a"),
        example: test_program(&built, "disk_error")?,
        power_cut_example: test_program(&built, "power_cut")?,
        bare_guest: build::bare_guest(workspace)?,
    })
}

/// Builds what is shipped, as `cargo build --release` does, with another profile if asked for. Returns where it is.
pub fn build_shipped(
    workspace: &Workspace,
    profile: &str,
    mut cargo: Command,
) -> Result<PathBuf, ToolError> {
    cargo.args(["build", "--profile", profile]);
    for package in ["faultvisor", "qmp", "libqmp-capi"] {
        cargo.args(["--package", package]);
    }
    // Of all profiles only this one builds elsewhere than under its name.
    let directory = if profile == "dev" { "debug" } else { profile };
    if profile == "dev" {
        // As the tests are built, so that it is there already.
        cargo.args(["--package", "faultvisor-tests", "--lib", "--bins"]);
    }
    run(workspace, &mut cargo)?;
    Ok(workspace.target().join(directory))
}

/// All packages each time: what is built for one alone would have other features, and be built again.
fn programs<'a>(cargo: &'a mut Command, names: &[&str]) -> &'a mut Command {
    for package in ["faultvisor", "faultvisor-tests", "qmp"] {
        cargo.args(["--package", package]);
    }
    for name in names {
        cargo.args(["--bin", name]);
    }
    cargo
}

/// Runs a `cargo build`; its progress is shown where nothing else writes over it.
fn run(workspace: &Workspace, cargo: &mut Command) -> Result<Vec<u8>, ToolError> {
    let progress = if progress::is_drawn() {
        Progress::Hidden
    } else {
        Progress::OnTerminal
    };
    build::run(workspace, cargo, progress)
}

/// Where the program of an integration test is, by what cargo has said.
fn test_program(said: &[u8], test: &str) -> Result<PathBuf, ToolError> {
    let built = String::from_utf8_lossy(said)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    built.ok_or_else(|| ToolError::Missing(test.to_owned()))
}
