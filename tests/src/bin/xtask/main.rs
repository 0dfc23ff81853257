//! `cargo xtask`: tasks of this project beyond building it.

mod bench;
mod binaries;
mod cargo;
mod console;
mod debian;
mod demo;
mod e2e;
mod examples;
mod fuzz;
mod guest;
mod install;
mod namespace;
mod outside;
mod progress;
mod python;
mod schedule;
mod test;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use faultvisor_tests::workspace::Workspace;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Faultvisor's guests, tests and benchmarks"
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show the main job: a disk fills up, a client receives the error and makes space, and the guest continues.
    Demo(demo::Options),
    /// Build the programs and the C library, and install them with their manuals and shell completions.
    Install(install::Options),
    /// Make a kernel, an initramfs and a disk image under target/guest, and print how to boot them.
    Guest,
    /// Check the formatting, the lints and the documentation, and run every test.
    Test(test::Options),
    /// Run a benchmark.
    Bench(bench::Options),
}

fn main() -> ExitCode {
    match perform(Arguments::parse().task) {
        Ok(status) => status,
        Err(error) => {
            console::error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn perform(task: Task) -> Result<ExitCode, Box<dyn Error>> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Demo(options) => demo::perform(&workspace, &options),
        Task::Install(options) => install::perform(&workspace, &options),
        Task::Guest => guest::perform(&workspace),
        Task::Test(options) => test::perform(&workspace, &options),
        Task::Bench(options) => bench::perform(&workspace, &options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use faultvisor_tests::readme;

    #[test]
    fn the_readmes_commands_are_valid() {
        let mut tasks = 0;
        for command in readme::commands() {
            let command = command.split('#').next().unwrap_or_default();
            let Some(arguments) = command.strip_prefix("cargo xtask ") else {
                continue;
            };
            let words = std::iter::once("xtask").chain(arguments.split_whitespace());
            assert!(Arguments::try_parse_from(words).is_ok(), "{command}");
            tasks += 1;
        }
        assert!(tasks >= 3, "{tasks}");
    }
}
