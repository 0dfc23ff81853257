//! The benchmark of the monitor, as one optimised program: the measuring client, and the processes that are measured
//! beside Faultvisor and QEMU. `cargo xtask bench qmp` builds and runs it.

mod client;
mod contenders;
mod cpus;
mod echo;
mod events;
mod host;
mod peer;
mod requests;
mod sample;
mod sessions;
mod table;
mod typed;

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use contenders::Contenders;
use cpus::Cpus;
use table::Table;

/// The result of a measurement.
type Measured<T = ()> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Measures Faultvisor's monitor")]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Measure, and print a table.
    Measure(Options),
    /// Send back what comes, on a unix socket.
    #[command(hide = true)]
    Echo { socket: PathBuf },
    /// Be a monitor on a unix socket, and raise events as standard input says.
    #[command(hide = true)]
    Host { socket: PathBuf },
}

/// What to measure, and against what.
#[derive(Args)]
struct Options {
    /// Faultvisor; not measured if not given.
    #[arg(long)]
    faultvisor: Option<PathBuf>,
    /// The bare-metal guest that Faultvisor is given.
    #[arg(long, requires = "faultvisor")]
    bare_guest: Option<PathBuf>,
    /// QEMU; not measured if not given.
    #[arg(long)]
    qemu: Option<PathBuf>,
    /// Number of measurements of what takes microseconds, in alternating rounds.
    #[arg(long)]
    runs: usize,
    /// Only this; all if not given.
    #[arg(long = "only", value_enum)]
    measures: Vec<Measure>,
}

/// The measurements, in order of execution.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// One request at a time, and hundreds at once.
    Requests,
    /// From a device that raises an event to the client.
    Events,
    /// What the typed client costs beside one that only looks at lines.
    Typed,
    /// Ten thousand connections on one signal.
    Connections,
    /// Sixty-four sessions that all hear a hundred thousand events.
    Sessions,
    /// What an idle session costs.
    Memory,
}

fn main() -> ExitCode {
    match perform(Arguments::parse().role) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A write error can be reported nowhere else.
            let _ = writeln!(io::stderr(), "bench-qmp: {error}");
            ExitCode::FAILURE
        }
    }
}

fn perform(role: Role) -> Measured {
    match role {
        Role::Echo { socket } => echo::serve(&socket),
        Role::Host { socket } => host::serve(&socket),
        Role::Measure(options) => {
            let table = measure(&options)?;
            write!(io::stdout(), "{table}")?;
            Ok(())
        }
    }
}

fn measure(options: &Options) -> Measured<Table> {
    let has = |measure| options.measures.is_empty() || options.measures.contains(&measure);
    let (apart, together) = Cpus::divide()?;
    let mut table = Table::default();
    if has(Measure::Requests) {
        let contenders = Contenders::start(options, &together)?;
        let names = ["query-status on one CPU, median", "  99th percentile"];
        requests::one_at_a_time(&contenders, options.runs, names, &mut table)?;
        let contenders = Contenders::start(options, &apart)?;
        let names = ["query-status between CPUs, median", "  99th percentile"];
        requests::one_at_a_time(&contenders, options.runs, names, &mut table)?;
        requests::pipelined(&contenders, options.runs, &mut table)?;
    }
    if has(Measure::Events) {
        events::latency(&apart, options.runs, &mut table)?;
    }
    if has(Measure::Typed) {
        typed::beside_raw(options, &apart, &mut table)?;
    }
    if has(Measure::Connections) {
        events::on_many_connections(&apart, &mut table)?;
    }
    if has(Measure::Sessions) {
        sessions::hear_everything(&apart, &mut table)?;
    }
    if has(Measure::Memory) {
        sessions::idle(&apart, &mut table)?;
    }
    Ok(table)
}
