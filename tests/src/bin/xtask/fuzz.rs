//! A short run of the fuzz targets in `fuzz/`. They are libFuzzer's, with the coverage that the stable compiler can give
//! and without sanitizers: what they check is said by `faultvisor_monitor::fuzzing` and `faultvisor_devices::fuzzing`.
//! `cargo fuzz run` on nightly is for long runs.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

use crate::cargo::{self, Ran};

/// How long each target runs.
const SECONDS: u32 = 5;
/// How long it may take, with its start and its corpus, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What `cargo fuzz build --sanitizer none` passes: libFuzzer is told what is reached and what is compared.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The names of the fuzz targets: each is a file.
pub fn targets(workspace: &Workspace) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(
                path.file_stem()
                    .map(|name| name.to_string_lossy().into_owned()),
            );
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Checks how the targets are formatted.
pub fn formatting(workspace: &Workspace) -> Command {
    let mut cargo = build::cargo();
    cargo.args(["fmt", "--manifest-path"]);
    cargo.arg(workspace.root().join("fuzz/Cargo.toml"));
    cargo.args(["--", "--check"]);
    cargo
}

/// Builds the targets.
pub fn build(workspace: &Workspace) -> Command {
    let mut cargo = cargo::beside_guests();
    cargo.args(["build", "--quiet", "--release"]);
    cargo.args(["--target", TARGET, "--manifest-path"]);
    cargo.arg(workspace.root().join("fuzz/Cargo.toml"));
    cargo
        .arg("--target-dir")
        .arg(workspace.target().join("fuzz"));
    // Its own flags only, and none for build scripts: they run without libFuzzer.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("RUSTFLAGS", FLAGS);
    cargo
}

/// Runs a target for a few seconds, from its corpus on.
pub fn run(workspace: &Workspace, target: &str) -> io::Result<Ran> {
    let artifacts = workspace.target().join("fuzz/artifacts");
    fs::create_dir_all(&artifacts)?;
    // What it finds worth keeping is kept until the end of the run.
    let found = tempfile::tempdir()?;
    let mut command = Command::new(target_directory(workspace).join(target));
    command.arg(format!("-max_total_time={SECONDS}"));
    command.args(["-max_len=4096", "-print_final_stats=1"]);
    command.arg(format!(
        "-artifact_prefix={}/{target}-",
        artifacts.display()
    ));
    command.arg(found.path());
    command.arg(workspace.root().join("fuzz/corpus").join(target));
    cargo::check(workspace, &format!("fuzzing {target}"), &mut command, LIMIT)
}

fn target_directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("fuzz").join(TARGET).join("release")
}
