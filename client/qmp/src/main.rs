//! `qmp`: the command-line client.

use std::process::ExitCode;

fn main() -> ExitCode {
    qmp_cli::run(std::env::args_os())
}
