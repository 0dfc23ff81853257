//! The program and the end-to-end tests as static binaries, which run here as well as in the lab.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;
use serde_json::Value;

use crate::{cargo, console};

const TARGET: &str = "x86_64-unknown-linux-gnu";
const PROFILE: &str = "lab";

/// Where they are.
pub struct Binaries {
    /// The program under test.
    pub faultvisor: PathBuf,
    /// The command-line client, beside it.
    pub qmp: PathBuf,
    /// The end-to-end tests.
    pub e2e: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
}

/// Builds them.
pub fn build(workspace: &Workspace) -> Result<Binaries, ToolError> {
    console::note("building the programs and the end-to-end tests");
    let directory = build_binaries(workspace, PROFILE, &["faultvisor", "qmp", "e2e"])?;
    Ok(Binaries {
        faultvisor: directory.join("faultvisor"),
        qmp: directory.join("qmp"),
        e2e: directory.join("e2e"),
        bare_guest: build_bare_guest(workspace)?,
    })
}

/// What is measured, and what measures it.
pub struct Benchmark {
    /// The program, as it is shipped.
    pub faultvisor: PathBuf,
    /// The benchmark of the monitor.
    pub qmp: PathBuf,
    /// The bare-metal guest.
    pub bare_guest: PathBuf,
}

/// Builds the benchmark of the monitor.
pub fn build_benchmark(workspace: &Workspace) -> Result<Benchmark, ToolError> {
    console::note(
        "building the program and its benchmark, which takes some minutes the first time",
    );
    let directory = build_binaries(workspace, "release", &["faultvisor", "bench-qmp"])?;
    Ok(Benchmark {
        faultvisor: directory.join("faultvisor"),
        qmp: directory.join("bench-qmp"),
        bare_guest: build_bare_guest(workspace)?,
    })
}

/// The program, as it is shipped, and the bare-metal guest.
pub fn build_release(workspace: &Workspace) -> Result<(PathBuf, PathBuf), ToolError> {
    console::note("building the program, which takes some minutes the first time");
    let directory = build_binaries(workspace, "release", &["faultvisor"])?;
    Ok((directory.join("faultvisor"), build_bare_guest(workspace)?))
}

/// Returns where they are.
fn build_binaries(
    workspace: &Workspace,
    profile: &str,
    names: &[&str],
) -> Result<PathBuf, ToolError> {
    let mut cargo = static_build(workspace, profile);
    // All packages each time: what is built for one alone would have other features, and be built again.
    for package in ["faultvisor", "faultvisor-tests", "qmp"] {
        cargo.args(["--package", package]);
    }
    for name in names {
        cargo.args(["--bin", name]);
    }
    tool::run(&mut cargo)?;
    Ok(workspace.target().join(TARGET).join(profile))
}

/// A `cargo build` of static binaries, whose packages are left to say.
fn static_build(workspace: &Workspace, profile: &str) -> Command {
    let mut flags = std::env::var_os("RUSTFLAGS").unwrap_or_default();
    flags.push(OsString::from(" -C target-feature=+crt-static"));
    let mut cargo = cargo::command();
    cargo.args(["build", "--quiet", "--profile", profile, "--target", TARGET]);
    cargo.env("RUSTFLAGS", flags).current_dir(workspace.root());
    cargo
}

/// Builds the program of a package's integration test as the end-to-end tests are built, and returns where it is.
pub fn build_test(workspace: &Workspace, package: &str, test: &str) -> Result<PathBuf, ToolError> {
    let mut cargo = static_build(workspace, PROFILE);
    cargo.args(["--package", package, "--test", test]);
    let output = tool::output(cargo.arg("--message-format=json-render-diagnostics"))?;
    let built = String::from_utf8_lossy(&output)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == test)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    built.ok_or_else(|| ToolError::Missing(test.to_owned()))
}

/// Builds the C library, and returns where it is.
pub fn build_c_library(workspace: &Workspace) -> Result<PathBuf, ToolError> {
    let mut cargo = static_build(workspace, PROFILE);
    tool::run(cargo.args(["--package", "libqmp-capi"]))?;
    let directory = workspace.target().join(TARGET).join(PROFILE);
    Ok(directory.join("libqmp.a"))
}

/// A cargo command for the bare-metal guest, which is no member of the workspace.
pub fn bare_guest_command(workspace: &Workspace, subcommand: &str) -> Command {
    let directory = workspace.root().join("resources/guests/bare");
    let mut cargo = cargo::command();
    // Its own flags only: these make it a kernel.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    cargo.arg(subcommand).args(["--quiet", "--release"]);
    cargo
        .arg("--config")
        .arg(directory.join(".cargo/config.toml"));
    cargo
        .arg("--manifest-path")
        .arg(directory.join("Cargo.toml"));
    cargo
        .arg("--target-dir")
        .arg(workspace.target().join("guests"));
    cargo
}

fn build_bare_guest(workspace: &Workspace) -> Result<PathBuf, ToolError> {
    let mut cargo = bare_guest_command(workspace, "build");
    tool::run(cargo.current_dir(workspace.root()))?;
    let built = workspace.target().join("guests").join(TARGET);
    Ok(built.join("release/bare-guest"))
}
