//! `cargo xtask bench`: the benchmarks are a separate program, in `tests/bench`.

use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::Args;
use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

/// The arguments of that program.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub struct Options {
    /// What to measure, and how; `cargo xtask bench --help` lists it.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds that program and executes it in place of this one, in the same current directory, which paths may be relative
/// to.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut cargo = build::cargo();
    cargo.arg("run").arg("--manifest-path");
    cargo.arg(workspace.root().join("Cargo.toml"));
    cargo.args(["--package", "faultvisor-bench", "--bin", "bench", "--"]);
    cargo.args(&options.arguments);
    Err(cargo.exec().into())
}
