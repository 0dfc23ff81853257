//! `fvctl`: programs in guests whose disks fail on request.

use std::process::ExitCode;

fn main() -> ExitCode {
    fvctl::run(std::env::args_os())
}
