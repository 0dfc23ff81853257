//! A short run of the fuzz targets in `fuzz/`. They are libFuzzer's, with the coverage that the stable compiler can give
//! and without sanitizers: what they check is said by `faultvisor_monitor::fuzzing` and `faultvisor_devices::fuzzing`.
//! `cargo fuzz run` on nightly is for long runs.

use std::path::PathBuf;
use std::process::Command;

use faultvisor_tests::packages;
use faultvisor_tests::suite::{Outcome, TestResult, chain};
use faultvisor_tests::workspace::Workspace;

use crate::cargo::{self, Ran};
use crate::console;

/// The fuzz targets.
const TARGETS: [&str; 5] = ["lexer", "session", "json_rpc", "block", "qcow2"];
/// How long each of them runs.
const SECONDS: u32 = 5;
const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What `cargo fuzz build --sanitizer none` passes: libFuzzer is told what is reached and what is compared.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Builds the targets and runs each of them for a few seconds, from its corpus on.
pub fn run(workspace: &Workspace) -> Result<Vec<(String, Ran)>, Box<dyn std::error::Error>> {
    let directory = workspace.root().join("fuzz");
    let mut ran = Vec::new();
    let mut add = |name: String, command: &mut Command| {
        console::note(&name);
        let check = cargo::check(workspace, &name, command)?;
        let passed = check.output.is_empty();
        ran.push((name, check));
        Ok::<_, std::io::Error>(passed)
    };
    let mut formatting = cargo::command();
    formatting.args(["fmt", "--manifest-path"]);
    formatting.arg(directory.join("Cargo.toml"));
    formatting.args(["--", "--check"]);
    add("formatting of the fuzz targets".to_owned(), &mut formatting)?;
    // libFuzzer is C++.
    if let Err(error) = packages::ensure_installed(&[packages::CXX], &console::note) {
        let skipped = TARGETS.map(|target| skip(&format!("fuzzing {target}"), &chain(&error)));
        ran.extend(skipped);
        return Ok(ran);
    }
    let mut build = build(workspace);
    if !add("building the fuzz targets".to_owned(), &mut build)? {
        return Ok(ran);
    }
    let artifacts = workspace.target().join("fuzz/artifacts");
    std::fs::create_dir_all(&artifacts)?;
    for target in TARGETS {
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
        command.arg(directory.join("corpus").join(target));
        add(format!("fuzzing {target}"), &mut command)?;
    }
    Ok(ran)
}

fn skip(name: &str, why: &str) -> (String, Ran) {
    let result = TestResult {
        name: name.to_owned(),
        outcome: Outcome::Skipped(why.to_owned()),
        seconds: 0.0,
    };
    let ran = Ran {
        results: vec![result],
        output: Vec::new(),
    };
    (name.to_owned(), ran)
}

fn build(workspace: &Workspace) -> Command {
    let mut cargo = cargo::command();
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

fn target_directory(workspace: &Workspace) -> PathBuf {
    workspace.target().join("fuzz").join(TARGET).join("release")
}
