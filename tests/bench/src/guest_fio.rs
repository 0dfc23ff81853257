//! fio in a Linux guest, one VMM after the other.
//!
//! The measurement runs beside the VMMs, which may be in the lab; its results are lines of text.

use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use faultvisor_harness::{Error, Process, command_line};
use faultvisor_tests::artifact::ArtifactError;
use faultvisor_tests::guest::{EXIT_MARKER, Ending, GuestImages, Script, Tools};
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::{microvm, packages};

use crate::contender::Contender;
use crate::cpu_time::Snapshot;

/// The guest's lines before a job, and before fio's result.
const JOB_MARKER: &str = "FV-JOB ";
const RESULT_MARKER: &str = "FV-RESULT ";
/// The common prefix of its lines.
const ANY_MARKER: &str = "FV-";
const PREFIX: &str = "FV-FIO ";
/// The names of the vCPU threads, in Faultvisor and in QEMU.
const VCPU_THREADS: [&str; 2] = ["vcpu0", microvm::VCPU_THREAD];
/// More than a guest takes to boot in the lab, and than a job takes.
const LIMIT: Duration = Duration::from_secs(240);

/// Why a measurement has no result.
#[derive(Debug, thiserror::Error)]
pub enum GuestFioError {
    /// A VMM's guest failed.
    #[error("{name}: {source}")]
    NoResult {
        /// The contender.
        name: String,
        /// The cause.
        source: Error,
    },
    /// fio's output is unexpected.
    #[error("{name}: no result of fio: {line}")]
    NotAResult {
        /// The contender.
        name: String,
        /// The output.
        line: String,
    },
    /// The guest's initramfs cannot be made.
    #[error(transparent)]
    Initramfs(#[from] ArtifactError),
    /// There is no fio.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The VMM cannot be observed, or results cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The result of one run of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The contender's name.
    pub name: String,
    /// The job's name.
    pub job: String,
    /// I/Os per second.
    pub rate: f64,
    /// Median latency in µs.
    pub p50: f64,
    /// 99th percentile of latency in µs.
    pub p99: f64,
    /// CPU time in µs, per I/O, of all threads of the VMM but the vCPU's.
    pub cpu: f64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            job,
            rate,
            p50,
            p99,
            cpu,
        } = self;
        write!(f, "{PREFIX}{name} {job} {rate} {p50} {p99} {cpu}")
    }
}

impl FromStr for Sample {
    type Err = ();

    /// Finds the sample in a line, after any other text.
    fn from_str(line: &str) -> Result<Self, ()> {
        let at = line.find(PREFIX).ok_or(())?;
        let mut words = line[at + PREFIX.len()..].split_whitespace();
        let (name, job) = (words.next().ok_or(())?, words.next().ok_or(())?);
        let mut number = || words.next().ok_or(())?.parse().map_err(drop);
        Ok(Self {
            name: name.to_owned(),
            job: job.to_owned(),
            rate: number()?,
            p50: number()?,
            p99: number()?,
            cpu: number()?,
        })
    }
}

/// Writes an initramfs whose guest runs fio for each of the jobs, by name and options, and then resets the machine. The
/// images must have [`Tools::Fio`].
pub fn initramfs(
    images: &GuestImages,
    jobs: &[(String, Vec<String>)],
    to: &Path,
) -> Result<(), GuestFioError> {
    let fio = tool::command(packages::FIO.program)?;
    let fio = Path::new(fio.get_program());
    let mut script = String::new();
    for (name, options) in jobs {
        let words: Vec<String> = options
            .iter()
            .map(|word| command_line::quoted(word))
            .collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            script,
            "echo {JOB_MARKER}{name}\necho \"{RESULT_MARKER}$({} --output-format=terse --terse-version=3 {} 2>&1)\"",
            fio.display(),
            words.join(" "),
        );
    }
    Ok(Script::new(script)
        .with(Tools::Fio)
        .ending(Ending::Reboot)
        .write(images, to)?)
}

/// Runs the jobs in each contender's guest `runs` times, alternating, and writes a line for each job.
pub fn measure(
    contenders: &[Contender],
    runs: usize,
    to: &mut dyn Write,
) -> Result<(), GuestFioError> {
    for _ in 0..runs {
        for contender in contenders {
            run(contender, to)?;
        }
    }
    Ok(())
}

fn run(contender: &Contender, to: &mut dyn Write) -> Result<(), GuestFioError> {
    let mut command = Command::new(&contender.command[0]);
    command.args(&contender.command[1..]);
    let failed = |source| GuestFioError::NoResult {
        name: contender.name.clone(),
        source,
    };
    let mut machine = Process::spawn(&mut command).map_err(failed)?;
    let mut job = None;
    loop {
        let line = machine.console().wait_for_line(ANY_MARKER, LIMIT);
        let line = line.map_err(failed)?;
        let after = |marker| line.text.split_once(marker).map(|(_, rest)| rest.trim());
        if let Some(name) = after(JOB_MARKER) {
            job = Some((name.to_owned(), Snapshot::of(machine.id())?));
        } else if let (Some(result), Some((name, before))) = (after(RESULT_MARKER), job.take()) {
            let spent = Snapshot::of(machine.id())?.since(&before, &VCPU_THREADS);
            let sample = Terse::parse(result)
                .zip(spent)
                .map(|(terse, spent)| Sample {
                    name: contender.name.clone(),
                    job: name,
                    rate: terse.rate,
                    p50: terse.p50,
                    p99: terse.p99,
                    cpu: spent.rest.as_secs_f64() * 1e6 / terse.count,
                })
                .ok_or_else(|| GuestFioError::NotAResult {
                    name: contender.name.clone(),
                    line: line.text.clone(),
                })?;
            writeln!(to, "{sample}")?;
            to.flush()?;
        } else if after(EXIT_MARKER).is_some() {
            return Ok(());
        }
    }
}

/// The part of fio's terse output, version 3 (its `HOWTO`, "Terse output"), that is used.
#[derive(Debug, PartialEq)]
struct Terse {
    count: f64,
    rate: f64,
    p50: f64,
    p99: f64,
}

/// Fields: the first for reads, the first for writes, and offsets from there.
const DIRECTIONS: [usize; 2] = [5, 46];
const RATE: usize = 2;
const RUNTIME_MS: usize = 3;
const PERCENTILES: std::ops::Range<usize> = 12..32;

impl Terse {
    /// Parses the direction that has I/O.
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(';').collect();
        let directions = DIRECTIONS.iter().filter_map(|start| fields.get(*start..));
        directions.filter_map(Self::direction).next()
    }

    fn direction(fields: &[&str]) -> Option<Self> {
        let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
        let percentile = |wanted: &str| {
            let mut all = fields.get(PERCENTILES)?.iter();
            all.find_map(|field| field.strip_prefix(wanted)?.parse::<f64>().ok())
        };
        let rate = number(RATE)?;
        Some(Self {
            count: rate * number(RUNTIME_MS)? / 1000.0,
            rate,
            p50: percentile("50.000000%=")?,
            p99: percentile("99.000000%=")?,
        })
        .filter(|terse| terse.count > 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// fio's fields for one direction.
    fn direction(rate: u32, milliseconds: u32) -> String {
        let percentiles = "1.000000%=5;".repeat(6) + "50.000000%=70;" + &"60.000000%=80;".repeat(6);
        let percentiles = percentiles + "99.000000%=900;" + &"99.900000%=950;".repeat(6);
        format!("400;200;{rate};{milliseconds};1;2;3;4;5;6;7;8;{percentiles}1;2;3;4;0;0;0%;0;0;")
    }

    #[test]
    fn the_direction_with_io_is_parsed() {
        let (idle, busy) = (direction(0, 0), direction(50, 2000));
        let expected = Terse {
            count: 100.0,
            rate: 50.0,
            p50: 70.0,
            p99: 900.0,
        };
        let head = "3;fio-3.33;job;0;0;";
        let parse = |line: String| Terse::parse(&line);
        assert_eq!(
            parse(format!("{head}{busy}{idle}")).as_ref(),
            Some(&expected)
        );
        assert_eq!(
            parse(format!("{head}{idle}{busy}")).as_ref(),
            Some(&expected)
        );
        assert_eq!(parse(format!("{head}{idle}{idle}")), None);
        assert_eq!(parse("fio: no such file".to_owned()), None);
    }

    #[test]
    fn a_sample_reads_back_as_written() {
        let sample = Sample {
            name: "faultvisor".to_owned(),
            job: "randread-4k-1".to_owned(),
            rate: 10.5,
            p50: 2.0,
            p99: 30.0,
            cpu: 4.25,
        };
        assert_eq!(format!("noise {sample}").parse(), Ok(sample));
    }
}
