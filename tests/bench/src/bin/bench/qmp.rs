//! `cargo xtask bench qmp`: the monitor beside QEMU's, and beside a bare echo between two processes.

use std::error::Error;
use std::process::{Command, ExitCode};

use clap::Args;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;

use crate::{console, programs, qemu};

/// How to measure the monitor.
#[derive(Args)]
pub struct Options {
    /// How often what takes microseconds is measured.
    #[arg(long, default_value_t = 10_000)]
    runs: usize,
    /// Only this: requests, events, typed, connections, sessions or memory; all if not given.
    #[arg(long = "only")]
    measures: Vec<String>,
}

/// Measures on this machine. Faultvisor needs a KVM even for a stopped machine; the rest is measured everywhere.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    packages::ensure_installed(&[packages::QEMU], &console::note)?;
    let programs = programs::build(workspace)?;
    let mut command = Command::new(&programs.qmp);
    command
        .arg("measure")
        .args(["--runs", &options.runs.to_string()]);
    for measure in &options.measures {
        command.args(["--only", measure]);
    }
    match Kvm::probe() {
        Kvm::NoKvm { why } => console::note(&format!("Faultvisor's requests are left out: {why}")),
        _ => {
            command.arg("--faultvisor").arg(&programs.faultvisor);
            command.arg("--bare-guest").arg(&programs.bare_guest);
        }
    }
    command.arg("--qemu").arg(qemu()?);
    console::note("measuring");
    Ok(if command.status()?.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
