//! Measures guests where they run, on this machine or in the lab, and writes each sample as a line. `cargo xtask bench`
//! builds and runs it.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use faultvisor_bench::{boot_time, contender, guest_fio, idle_cost};

#[derive(Parser)]
#[command(about = "Measures guests of several VMMs")]
struct Arguments {
    #[command(subcommand)]
    measurement: Measurement,
}

#[derive(Subcommand)]
enum Measurement {
    /// Measure how fast guests' disks are, by fio in the guests.
    GuestFio {
        /// A file with the contenders as JSON.
        #[arg(long)]
        contenders: PathBuf,
        #[arg(long)]
        runs: usize,
    },
    /// Measure what idle guests cost.
    IdleCost {
        /// A file with the VMMs as JSON.
        #[arg(long)]
        contenders: PathBuf,
        #[arg(long)]
        runs: usize,
        /// For how long each is watched.
        #[arg(long)]
        seconds: u64,
    },
    /// Measure how long VMMs take to a guest's init.
    BootTime {
        /// A file with the contenders as JSON.
        #[arg(long)]
        contenders: PathBuf,
        #[arg(long)]
        runs: usize,
        /// What each contender gives its guest.
        #[arg(long)]
        guest_memory_mib: u64,
    },
}

fn main() -> ExitCode {
    match perform(Arguments::parse().measurement) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The lab's console is stdout and stderr; a write error can be reported nowhere else.
            let _ = writeln!(io::stderr(), "bench-guests: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(measurement: Measurement) -> Result<(), Box<dyn Error>> {
    let stdout = &mut io::stdout();
    match measurement {
        Measurement::GuestFio { contenders, runs } => {
            let contenders = contender::from_json(&fs::read_to_string(contenders)?)?;
            guest_fio::measure(&contenders, runs, stdout)?;
        }
        Measurement::IdleCost {
            contenders,
            runs,
            seconds,
        } => {
            let idlers = idle_cost::from_json(&fs::read_to_string(contenders)?)?;
            idle_cost::measure(&idlers, runs, Duration::from_secs(seconds), stdout)?;
        }
        Measurement::BootTime {
            contenders,
            runs,
            guest_memory_mib,
        } => {
            let contenders = contender::from_json(&fs::read_to_string(contenders)?)?;
            boot_time::measure(&contenders, runs, guest_memory_mib, stdout)?;
        }
    }
    Ok(())
}
