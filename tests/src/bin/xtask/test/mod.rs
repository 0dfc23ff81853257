//! `cargo xtask test`: everything that can be checked, with one closing line.

mod checks;
mod plan;
mod tally;
mod unit;

use std::error::Error;
use std::fs;
use std::process::{self, ExitCode};
use std::thread;

use clap::{Args, ValueEnum};
use faultvisor_tests::workspace::Workspace;
use rustix::process::{Pid, Signal, kill_process};

use crate::progress::Display;
use crate::schedule;
use plan::Plan;

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Only these stages; all if not given.
    #[arg(long = "only", value_enum)]
    stages: Vec<Stage>,
    /// Only end-to-end tests whose names contain this.
    #[arg(long = "name")]
    names: Vec<String>,
    /// The number of CPUs to keep busy; all if not given.
    #[arg(long)]
    jobs: Option<usize>,
}

/// A stage. Stages run in parallel, as far as one does not depend on another.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Formatting, clippy, documentation.
    Checks,
    /// Unit tests and the examples in the documentation.
    Unit,
    /// A few seconds of each fuzz target.
    Fuzz,
    /// Tests with guests, on this machine's KVM and in the lab.
    E2e,
    /// `cargo xtask demo`, which counts as one test.
    Demo,
    /// The end-to-end tests that have a full size, in it. It takes hours, and runs only if selected.
    Soak,
}

impl Options {
    fn has(&self, stage: Stage) -> bool {
        match self.stages.as_slice() {
            [] => stage != Stage::Soak,
            stages => stages.contains(&stage),
        }
    }

    fn has_guests(&self) -> bool {
        [Stage::E2e, Stage::Demo, Stage::Soak]
            .iter()
            .any(|stage| self.has(*stage))
    }
}

/// Runs the stages; fails if any test in them fails.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let here = thread::available_parallelism()?.get();
    let cpus = options.jobs.unwrap_or(here).max(1);
    let plan = Plan::new(workspace, options, cpus);
    let display = Display::start()?;
    let mut leave_out = |name: &str, why: &str| plan.tally.failed(name, why);
    let mut end = |name: &str| {
        plan.tally
            .failed(name, "ended, for it did not end by itself");
        end_children();
        plan.tally.summary();
        // The waiting thread cannot be ended otherwise.
        process::exit(1);
    };
    schedule::run(plan.jobs(), cpus, &mut leave_out, &mut end)?;
    drop(display);
    Ok(if plan.tally.summary() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Ends this process's children.
fn end_children() {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten();
    for thread in threads.flatten() {
        // Without this file, only children that notice their parent's end are ended.
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        let pids = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok());
        for pid in pids.filter_map(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}
