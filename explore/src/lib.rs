//! `fvctl`: programs in guests whose disks fail on request.
//!
//! `run` boots a guest with programs of this host (`machine.rs`), runs a command in it by its agent (`execution.rs`), and
//! writes the faults and errors of its disks in between (`events.rs`). A guest can be kept (`kept.rs`) for further
//! commands, copies, shells and ssh.

mod copying;
mod disk;
mod duration;
mod environment;
mod events;
mod execution;
mod failure;
mod images;
mod interruption;
mod keeping;
mod kept;
mod lab;
mod machine;
mod options;
mod place;
mod progress;
mod report;
mod running;
mod sockets;
mod terminal;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use failure::{Failure, OWN};
use options::{Action, Options};

/// The definition of the command line, for manuals and for shells' completions.
#[must_use]
pub fn command() -> clap::Command {
    Options::command()
}

/// Does what a command line asks for.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // There is no better place to say it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { OWN } else { 0 });
        }
    };
    match perform(&options.action) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            // With --json the result has told it.
            if !options.action.is_json() {
                report::message(report::Form::Text, "error", &failure.line());
            }
            ExitCode::from(failure.status())
        }
    }
}

fn perform(action: &Action) -> Result<u8, Failure> {
    match action {
        Action::Run(options) => running::run(options),
        Action::Shell(options) => running::shell(options),
        Action::Cp(options) => copying::copy(options),
        Action::Image(action) => images::make(action),
        Action::Kernel(options) => images::kernel(options),
        Action::Ssh(options) => sockets::connect(options),
        Action::List => keeping::list(),
        Action::Stop(options) => keeping::stop(options),
        Action::Hold(options) => keeping::hold(options),
    }
}
