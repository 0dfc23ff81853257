//! A job run by the bare-metal guest, in Faultvisor or in QEMU's microvm.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use faultvisor_bench::cpu_time::Snapshot;
use faultvisor_harness::Process;
use faultvisor_tests::bare::Report;
use faultvisor_tests::microvm;

use super::job::{Job, Kind, Order, Sample};
use super::medium::{Cache, Medium};

/// How long a guest may take beyond its measurements.
const LIMIT: Duration = Duration::from_secs(60);
/// The guest's memory for one disk, in MiB.
const MEMORY_MIB: u32 = 48;
/// The warm-up, as a share of a job's time: it touches memory and fills the host's file system caches.
const WARM_UP: f64 = 0.2;

/// The VMM and its path.
#[derive(Debug, Clone)]
pub enum Vmm {
    Faultvisor(PathBuf),
    Microvm(PathBuf),
}

impl Vmm {
    /// The name of the vCPU's thread, which polls and so always takes a whole CPU.
    fn vcpu_thread(&self) -> &'static str {
        match self {
            Self::Faultvisor(_) => "vcpu0",
            Self::Microvm(_) => microvm::VCPU_THREAD,
        }
    }

    fn command(&self, kernel: &Path, script: &Path, medium: &Medium) -> Command {
        let image = medium.image();
        let options = match medium.cache {
            Cache::None => "cache=none,aio=io_uring",
            Cache::Writeback => "cache=writeback,aio=io_uring",
        };
        match self {
            Self::Faultvisor(program) => {
                let mut command = Command::new(program);
                command.arg("--kernel").arg(kernel);
                command.arg("--initrd").arg(script);
                command.args(["--append", "acpi=off", "-m", &format!("{MEMORY_MIB}M")]);
                command.args(["--serial", "stdio", "--no-reboot", "--drive"]);
                command.arg(format!("file={},format=raw,{options}", image.display()));
                command
            }
            Self::Microvm(program) => {
                microvm::command(program, kernel, script, MEMORY_MIB, (image, options))
            }
        }
    }
}

/// Runs jobs in guests.
#[derive(Debug)]
pub struct Guests {
    /// The guest.
    pub kernel: PathBuf,
    /// The path of its script.
    pub script: PathBuf,
    /// The frequency of the time stamp counter, in Hz.
    pub cycles_per_second: f64,
    /// Duration of a job.
    pub time: Duration,
}

impl Guests {
    /// Runs a job once.
    pub fn run(&self, vmm: &Vmm, medium: &Medium, job: Job) -> Result<Sample, Box<dyn Error>> {
        fs::write(&self.script, self.script_of(job))?;
        let mut command = vmm.command(&self.kernel, &self.script, medium);
        let mut machine = Process::spawn(&mut command)?;
        self.follow(vmm, &mut machine, job).map_err(|error| {
            let said = [machine.serial(), machine.messages()].map(|said| said.tail(3));
            format!("{error}; the guest and the VMM said: {}", said.join("; ")).into()
        })
    }

    fn follow(&self, vmm: &Vmm, machine: &mut Process, job: Job) -> Result<Sample, Box<dyn Error>> {
        let limit = LIMIT + 2 * self.time;
        machine.console().wait_for_line(" await", limit)?;
        let before = Snapshot::of(machine.id())?;
        machine.console().type_text("!")?;
        let measured = machine.console().wait_for_line(" measured ", limit)?;
        let after = Snapshot::of(machine.id())?;
        let latencies = machine.console().wait_for_line(" latencies ", limit)?;
        // Only now may the guest go on and end.
        machine.console().type_text("!")?;
        machine.expect_exit(0, limit)?;
        let spent = after
            .since(&before, &[vmm.vcpu_thread()])
            .ok_or("no thread of the VMM runs the guest")?;

        let (measured, latencies) = (
            Report::parse(&measured.text),
            Report::parse(&latencies.text),
        );
        let number = |report: &Report, key| report.number(key).map_err(|_| report.line.clone());
        let done = number(&measured, "ok")?;
        let failed = ["ioerr", "unsupp", "bad", "doubled"].map(|key| measured.number(key).ok());
        if done == 0 || failed != [Some(0); 4] {
            return Err(format!("{job} went wrong: {}", measured.line).into());
        }
        let done = float(done);
        let microseconds = |key| -> Result<f64, String> {
            Ok(float(number(&latencies, key)?) / self.cycles_per_second * 1e6)
        };
        let seconds = float(number(&measured, "cycles")?) / self.cycles_per_second;
        Ok(Sample {
            rate: done / seconds,
            p50: microseconds("p50")?,
            p99: microseconds("p99")?,
            cpu: spent.rest.as_secs_f64() * 1e6 / done,
            kicks: Some(float(number(&latencies, "kicks")?) / done),
            others: spent.others.as_secs_f64() / seconds,
        })
    }

    fn script_of(&self, job: Job) -> String {
        let kind = match job.kind {
            Kind::Read => "read",
            Kind::Write => "write",
        };
        let order = match job.order {
            Order::Random => "random",
            Order::Sequential => "sequential",
        };
        let cycles =
            |share: f64| (self.cycles_per_second * self.time.as_secs_f64() * share).round();
        let measure = |share, seed| {
            let cycles = cycles(share);
            format!(
                "measure 0 {kind} {order} {} {} cycles {cycles} {seed}",
                job.bytes, job.depth
            )
        };
        let (warm_up, measured) = (measure(WARM_UP, 1), measure(1.0, 2));
        // It waits for the snapshots before and after. Its end is that of the program: neither machine reboots.
        format!("setup 0\n{warm_up}\nawait\n{measured}\nawait\nexit fault\n")
    }
}

/// Converts a count. The counts here are far below what a float represents exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of seconds of I/O")]
fn float(count: u64) -> f64 {
    count as f64
}
