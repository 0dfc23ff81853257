//! `cargo xtask bench`: Faultvisor and what it is measured beside, in one run on one machine.

mod block;
mod boot;
mod console;
mod fault;
mod first_entry;
mod idle;
mod programs;
mod qmp;
mod side_by_side;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use faultvisor_tests::packages;
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

#[derive(Parser)]
#[command(name = "xtask bench", bin_name = "xtask bench", about = "Measure")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
}

/// What to measure.
#[derive(Subcommand)]
enum Bench {
    /// How fast a guest's disk is, and what CPU time it takes.
    Block(block::Options),
    /// How long a VMM takes from exec to the guest's init, and what memory it needs beside the guest's.
    Boot(boot::Options),
    /// What the fault engine costs a request of a disk.
    Fault,
    /// What CPU time a guest takes that does nothing.
    Idle(idle::Options),
    /// How long the monitor's answers and events take, and how much it can take on.
    Qmp(qmp::Options),
}

fn main() -> ExitCode {
    match perform(&Arguments::parse().bench) {
        Ok(status) => status,
        Err(error) => {
            console::error(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

fn perform(bench: &Bench) -> Result<ExitCode, Box<dyn Error>> {
    let workspace = Workspace::locate()?;
    match bench {
        Bench::Block(options) => block::perform(&workspace, options),
        Bench::Boot(options) => boot::perform(&workspace, options),
        Bench::Fault => fault::perform(&workspace),
        Bench::Idle(options) => idle::perform(&workspace, options),
        Bench::Qmp(options) => qmp::perform(&workspace, options),
    }
}

fn qemu() -> Result<PathBuf, ToolError> {
    let program = packages::QEMU.program;
    tool::find(program).ok_or_else(|| ToolError::Missing(program.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const CONTRIBUTING: &str = include_str!("../../../../../CONTRIBUTING.md");

    #[test]
    fn contributing_md_lists_each_benchmark() {
        let (_, table) = CONTRIBUTING.split_once("| `cargo xtask bench` |").unwrap();
        let rows = table
            .lines()
            .skip(2)
            .map_while(|row| row.strip_prefix("| `"));
        let mut listed: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
        listed.sort_unstable();
        let command = Arguments::command();
        let names = command.get_subcommands().map(clap::Command::get_name);
        let mut there_are: Vec<&str> = names.collect();
        there_are.sort_unstable();
        assert_eq!(listed, there_are);
    }
}
