//! `cargo xtask bench block`: a guest's disk in Faultvisor and in QEMU's microvm, and the same file under fio.
//!
//! The guest is `resources/guests/bare`. It polls, so that its vCPU always takes a whole CPU; the CPU time counted is
//! that of all other threads of the VMM, the kernel's io_uring workers included. fio's is that of its whole process,
//! without its startup.

mod fio;
mod job;
mod lab;
mod medium;
mod table;
mod vmm;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use faultvisor_bench::cpu_time;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;
use kvm_ioctls::Kvm as Device;

use self::fio::Fio;
use self::job::{Job, Sample};
use self::medium::{Cache, Medium};
use self::table::{Entry, Group, Table};
use self::vmm::{Guests, Vmm};
use crate::{console, programs, qemu};

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
    /// Bypass the host's page cache, or have all of the file in it.
    #[arg(long, value_enum, default_value_t = Cache::None)]
    cache: Cache,
    /// Postpone or repeat each run for up to this many seconds while other work keeps the machine busy.
    #[arg(long, default_value_t = 0)]
    patience: u64,
    /// Another build of Faultvisor, to be measured beside this one.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Run fio in Linux guests in the lab, instead of the bare-metal guest and fio here.
    #[arg(long, conflicts_with_all = ["directory", "cache", "patience", "baseline"])]
    in_lab: bool,
    /// Only these; all if not given.
    #[arg(long = "only", value_enum)]
    contenders: Vec<Contender>,
    /// Only jobs whose names contain this, such as randread or 4k-32; all if not given.
    #[arg(long = "job")]
    jobs: Vec<String>,
}

/// The most CPUs that other work may keep busy during a run.
const DISTURBED: f64 = 0.25;

/// The contenders, in order of measurement.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Contender {
    Faultvisor,
    /// The build that `--baseline` names.
    Baseline,
    Microvm,
    Fio,
}

impl Options {
    fn jobs(&self) -> Vec<Job> {
        let is_chosen = |job: &Job| {
            let name = job.to_string();
            self.jobs.is_empty() || self.jobs.iter().any(|part| name.contains(part))
        };
        Job::all().into_iter().filter(is_chosen).collect()
    }
}

impl Contender {
    fn name(self) -> &'static str {
        match self {
            Self::Faultvisor => table::FAULTVISOR,
            Self::Baseline => table::BASELINE,
            Self::Microvm => table::MICROVM,
            Self::Fio => table::FIO,
        }
    }
}

/// Measures on this machine's KVM, of any kind.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    if options.in_lab {
        return lab::perform(workspace, options);
    }
    if let Kvm::NoKvm { why } = Kvm::probe() {
        return Err(format!("no guest can be measured here: {why}").into());
    }
    packages::ensure_installed(&[packages::QEMU, packages::FIO], &console::note)?;
    let programs = programs::build(workspace)?;
    let own_directory = workspace.target().join("bench");
    let directory = options.directory.as_ref().unwrap_or(&own_directory);
    let medium = Medium::prepare(directory, options.size, options.cache, &console::note)?;
    let scratch = tempfile::tempdir()?;
    let time = Duration::from_millis(options.milliseconds);
    let bench = Bench {
        faultvisor: Vmm::Faultvisor(programs.faultvisor),
        baseline: options.baseline.clone().map(Vmm::Faultvisor),
        microvm: Vmm::Microvm(qemu()?),
        guests: Guests {
            kernel: programs.bare_guest,
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
    baseline: Option<Vmm>,
    microvm: Vmm,
    guests: Guests,
    fio: Fio,
    medium: Medium,
}

impl Bench {
    /// Measures all rounds of a job before the next one. The contenders alternate, so that other load on the machine or
    /// the disk affects all of them.
    fn measure(&self, options: &Options) -> Result<Table, Box<dyn Error>> {
        let is_chosen = |contender| {
            (options.contenders.is_empty() || options.contenders.contains(contender))
                && (*contender != Contender::Baseline || self.baseline.is_some())
        };
        let contenders: Vec<Contender> = Contender::value_variants()
            .iter()
            .filter(|contender| is_chosen(contender))
            .copied()
            .collect();
        let mut table = Table::default();
        for job in options.jobs() {
            let mut entries: Vec<Entry> = contenders.iter().map(|it| entry(*it)).collect();
            for round in 0..options.runs {
                // Rotate the order, so that no contender always follows the same other.
                for turn in 0..contenders.len() {
                    let index = (round + turn) % contenders.len();
                    let sample = self.run_in_quiet(contenders[index], job, options.patience)?;
                    entries[index].samples.push(sample);
                }
            }
            table.0.push(Group { job, entries });
        }
        Ok(table)
    }

    fn run_in_quiet(
        &self,
        contender: Contender,
        job: Job,
        patience: u64,
    ) -> Result<Sample, Box<dyn Error>> {
        let deadline = Instant::now() + Duration::from_secs(patience);
        loop {
            cpu_time::await_quiet(deadline)?;
            let sample = self.run(contender, job)?;
            print(job, contender, &sample);
            if sample.others < DISTURBED || Instant::now() >= deadline {
                return Ok(sample);
            }
            console::line("   disturbed, and done again");
        }
    }

    fn run(&self, contender: Contender, job: Job) -> Result<Sample, Box<dyn Error>> {
        let vmm = match contender {
            Contender::Faultvisor => &self.faultvisor,
            Contender::Baseline => self.baseline.as_ref().ok_or("there is no baseline")?,
            Contender::Microvm => &self.microvm,
            Contender::Fio => return self.fio.run(&self.medium, job),
        };
        self.guests.run(vmm, &self.medium, job)
    }
}

fn entry(contender: Contender) -> Entry {
    Entry {
        name: contender.name(),
        samples: Vec::new(),
    }
}

fn print(job: Job, contender: Contender, sample: &Sample) {
    let Sample {
        rate,
        p50,
        p99,
        cpu,
        others,
        ..
    } = sample;
    console::line(&format!(
        "   {:<16}  {:<12}  {rate:7.0} I/O/s  p50 {p50:6.0} µs  p99 {p99:6.0} µs  {cpu:6.1} µs of CPU an I/O  \
         ({others:.2} CPUs busy otherwise)",
        job.to_string(),
        contender.name(),
    ));
}

/// The frequency of the time stamp counter in guests and host, in kHz.
fn tsc_khz() -> Result<u32, Box<dyn Error>> {
    Ok(Device::new()?.create_vm()?.create_vcpu(0)?.get_tsc_khz()?)
}
