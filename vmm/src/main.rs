//! Faultvisor: a KVM virtual machine monitor whose disk errors are signals.

mod address_map;
mod boot;
mod cli;
mod console;
mod cpu;
mod device_manager;
mod faults;
mod host_signals;
mod inbox;
mod logging;
mod machine;
mod memory;
mod output_file;
mod panics;
mod parallel;
mod pid_file;
mod program;
mod sandbox;
mod terminal;
mod vcpu;
mod vm;

use std::io::{self, Write};
use std::process::ExitCode;

use cli::Invocation;
use machine::Ending;

/// The exit status of a machine that ended in order with a rule that never fired (`--fault-unfired fail`).
const UNFIRED: u8 = 3;

fn main() -> ExitCode {
    panics::end_the_program();
    let outcome = match cli::parse(std::env::args_os()) {
        Ok(Invocation::Run(configuration)) => program::run(&configuration),
        Ok(Invocation::Print(text)) => {
            return match io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Err(error) => Err(error.into()),
    };
    let status = match outcome {
        Ok(Ending::Orderly) => ExitCode::SUCCESS,
        Ok(Ending::Failed) => ExitCode::FAILURE,
        Ok(Ending::Unfired) => ExitCode::from(UNFIRED),
        Err(error) => {
            logging::fail(&error);
            ExitCode::FAILURE
        }
    };
    logging::finish();
    status
}
