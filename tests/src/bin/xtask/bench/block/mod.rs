//! `cargo xtask bench block`: a guest's disk in Faultvisor and in QEMU's microvm, and the same file under fio.
//!
//! The guest is `resources/guests/bare`. It polls, so that it always takes a whole CPU; the CPU time that is counted is
//! that of all threads of the VMM but the one that runs the guest, the kernel's io_uring workers included. fio's is that
//! of its whole process, less what it takes to start.

mod cpu_time;
mod fio;
mod job;
mod medium;
mod table;
mod vmm;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;
use kvm_ioctls::Kvm as Device;

use self::fio::Fio;
use self::job::{Job, Sample};
use self::medium::{Cache, Medium};
use self::table::{Entry, Group, Table};
use self::vmm::{Guests, Vmm};
use super::qemu;
use crate::{binaries, console};

/// How to measure disks.
#[derive(Args)]
pub struct Options {
    /// How often each job is run by each contender.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How long a job runs, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    milliseconds: u64,
    /// Where the file is put; another directory may be on another kind of disk, or in memory.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// The file's size in MiB.
    #[arg(long, default_value_t = 1024)]
    size: u64,
    /// Whether the host's page cache is passed by, or has all of the file.
    #[arg(long, value_enum, default_value_t = Cache::None)]
    cache: Cache,
    /// For how many seconds each run is put off while something else keeps the machine busy.
    #[arg(long, default_value_t = 0)]
    patience: u64,
    /// Only these; all if not given.
    #[arg(long = "only", value_enum)]
    contenders: Vec<Contender>,
    /// Only jobs whose names hold this, such as randread or 4k-32; all if not given.
    #[arg(long = "job")]
    jobs: Vec<String>,
}

/// Who is measured, in the order in which they are.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contender {
    Faultvisor,
    Microvm,
    Fio,
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Faultvisor => table::FAULTVISOR,
            Self::Microvm => table::MICROVM,
            Self::Fio => table::FIO,
        }
    }
}

/// Measures, on this machine's KVM, whatever it can run.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if let Kvm::NoKvm { why } = Kvm::probe() {
        return Err(format!("no guest can be measured here: {why}").into());
    }
    packages::ensure_installed(&[packages::QEMU, packages::FIO], &console::note)?;
    let (faultvisor, kernel) = binaries::build_release(workspace)?;
    let own_directory = workspace.target().join("bench");
    let directory = options.directory.as_ref().unwrap_or(&own_directory);
    let medium = Medium::prepare(directory, options.size, options.cache, &console::note)?;
    let scratch = tempfile::tempdir()?;
    let time = Duration::from_millis(options.milliseconds);
    let bench = Bench {
        faultvisor: Vmm::Faultvisor(faultvisor),
        microvm: Vmm::Microvm(qemu()?),
        guests: Guests {
            kernel,
            script: scratch.path().join("script"),
            cycles_per_second: f64::from(tsc_khz()?) * 1000.0,
            time,
        },
        fio: Fio::new(&medium, time)?,
        medium,
    };
    console::note(&format!(
        "measuring on {}, load {}",
        bench.medium.image().display(),
        cpu_time::load()?
    ));
    let table = bench.measure(options)?;
    console::line(table.to_string().trim_end());
    console::note(&format!("load {}", cpu_time::load()?));
    Ok(ExitCode::SUCCESS)
}

struct Bench {
    faultvisor: Vmm,
    microvm: Vmm,
    guests: Guests,
    fio: Fio,
    medium: Medium,
}

impl Bench {
    /// All rounds of a job before the next one, the contenders taking turns, so that what a busy machine or disk does to
    /// one of them it does to all.
    fn measure(&self, options: &Options) -> Result<Table, Box<dyn Error>> {
        let is_chosen =
            |contender| options.contenders.is_empty() || options.contenders.contains(contender);
        let contenders: Vec<Contender> = Contender::value_variants()
            .iter()
            .filter(|contender| is_chosen(contender))
            .copied()
            .collect();
        let mut table = Table::default();
        for job in Job::all() {
            let name = job.to_string();
            if !options.jobs.is_empty() && !options.jobs.iter().any(|part| name.contains(part)) {
                continue;
            }
            let mut entries: Vec<Entry> = contenders.iter().map(|it| entry(*it)).collect();
            for round in 0..options.runs {
                // Nobody is always the one who comes after a certain other.
                for turn in 0..contenders.len() {
                    let index = (round + turn) % contenders.len();
                    cpu_time::await_quiet(Duration::from_secs(options.patience))?;
                    let sample = self.run(contenders[index], job)?;
                    print(&name, contenders[index], &sample);
                    entries[index].samples.push(sample);
                }
            }
            table.0.push(Group { job, entries });
        }
        Ok(table)
    }

    fn run(&self, contender: Contender, job: Job) -> Result<Sample, Box<dyn Error>> {
        match contender {
            Contender::Faultvisor => self.guests.run(&self.faultvisor, &self.medium, job),
            Contender::Microvm => self.guests.run(&self.microvm, &self.medium, job),
            Contender::Fio => self.fio.run(&self.medium, job),
        }
    }
}

fn entry(contender: Contender) -> Entry {
    Entry {
        name: contender.name(),
        samples: Vec::new(),
    }
}

fn print(job: &str, contender: Contender, sample: &Sample) {
    let Sample {
        rate,
        p50,
        p99,
        cpu,
        others,
        ..
    } = sample;
    console::line(&format!(
        "   {job:<16}  {:<12}  {rate:7.0} I/O/s  p50 {p50:6.0} µs  p99 {p99:6.0} µs  {cpu:6.1} µs of CPU an I/O  \
         ({others:.2} CPUs busy otherwise)",
        contender.name(),
    ));
}

/// What the time stamp counter of guests and host counts in a millisecond.
fn tsc_khz() -> Result<u32, Box<dyn Error>> {
    Ok(Device::new()?.create_vm()?.create_vcpu(0)?.get_tsc_khz()?)
}
