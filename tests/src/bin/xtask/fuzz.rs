//! A short run of the fuzz targets in `fuzz/`, with libFuzzer, the stable compiler's coverage and no sanitizers.
//! `faultvisor_monitor::fuzzing` and `faultvisor_devices::fuzzing` define what they check. For long runs, use
//! `cargo fuzz run` on nightly.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

use crate::cargo::{self, Ran};

/// Run time of each target.
const SECONDS: u32 = 5;
/// Time limit of each, with start and corpus, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The flags of `cargo fuzz build --sanitizer none`: instrument coverage and comparisons for libFuzzer.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The names of the fuzz targets, one a file.
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

/// The command that checks the targets' formatting.
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
    // Only these flags, and none for build scripts, which run without libFuzzer.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo.env("RUSTFLAGS", FLAGS);
    cargo
}

/// Fuzzes a target for a few seconds, starting from its corpus.
pub fn run(workspace: &Workspace, target: &str) -> io::Result<Ran> {
    let artifacts = workspace.target().join("fuzz/artifacts");
    fs::create_dir_all(&artifacts)?;
    // New inputs are kept until the end of the run.
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
