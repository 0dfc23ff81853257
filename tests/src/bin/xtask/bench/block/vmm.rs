//! A job as the bare-metal guest does it, in Faultvisor or in QEMU's microvm.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::bare::Report;
use faultvisor_tests::machine::Machine;

use super::cpu_time::Snapshot;
use super::job::{Job, Kind, Order, Sample};
use super::medium::{Cache, Medium};

/// How long a guest may take beyond what it is asked to.
const LIMIT: Duration = Duration::from_secs(60);
/// What the guest needs for one disk.
const MEMORY_MIB: &str = "48";
/// The share of a job's time that it runs without being measured first: memory is touched, and the host's file system
/// has looked up what it needs.
const WARM_UP: f64 = 0.2;

/// Which VMM, and where it is.
#[derive(Debug, Clone)]
pub enum Vmm {
    Faultvisor(PathBuf),
    Microvm(PathBuf),
}

impl Vmm {
    /// The name of the thread that runs the guest, which polls and so always takes a whole CPU.
    fn vcpu_thread(&self) -> &'static str {
        match self {
            Self::Faultvisor(_) => "vcpu0",
            Self::Microvm(_) => "CPU 0/KVM",
        }
    }

    fn command(&self, medium: &Medium) -> Command {
        let image = medium.image().display();
        let cache = match medium.cache {
            Cache::None => "none",
            Cache::Writeback => "writeback",
        };
        match self {
            Self::Faultvisor(program) => {
                let mut command = Command::new(program);
                command.args(["--append", "acpi=off", "-m", &format!("{MEMORY_MIB}M")]);
                command.args(["--serial", "stdio", "--no-reboot", "--drive"]);
                command.arg(format!(
                    "file={image},format=raw,id=disk0,cache={cache},aio=io_uring"
                ));
                command
            }
            Self::Microvm(program) => {
                let mut command = Command::new(program);
                command.args(["-M", MICROVM, "-accel", "kvm", "-m", MEMORY_MIB]);
                // A KVM without hardware virtualization offers that register, but does not let it be set.
                command.args(["-cpu", "host,-arch-capabilities"]);
                command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
                command.args(["-serial", "stdio", "-no-reboot"]);
                command.args(["-name", "bench,debug-threads=on"]);
                command.args(["-global", "virtio-mmio.force-legacy=false"]);
                command.args(["-object", "iothread,id=io0", "-drive"]);
                command.arg(format!(
                    "if=none,id=disk0,file={image},format=raw,cache={cache},aio=io_uring"
                ));
                command.args(["-device", "virtio-blk-device,drive=disk0,iothread=io0"]);
                command
            }
        }
    }
}

/// The smallest machine; without ACPI, so that it announces its disks on the kernel's command line.
const MICROVM: &str = "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on";

/// How a job is done by guests.
#[derive(Debug)]
pub struct Guests {
    /// The guest.
    pub kernel: PathBuf,
    /// Where its script is put.
    pub script: PathBuf,
    /// What the time stamp counter counts in a second.
    pub cycles_per_second: f64,
    /// How long a job runs.
    pub time: Duration,
}

impl Guests {
    /// Runs a job once.
    pub fn run(&self, vmm: &Vmm, medium: &Medium, job: Job) -> Result<Sample, Box<dyn Error>> {
        fs::write(&self.script, self.script_of(job))?;
        let mut command = vmm.command(medium);
        command.arg("-kernel").arg(&self.kernel);
        command.arg("-initrd").arg(&self.script);
        let mut machine = Machine::spawn(&mut command)?;
        self.follow(vmm, &mut machine, job).map_err(|error| {
            let said = [machine.serial(), machine.messages()].map(|said| said.tail(3));
            format!("{error}; the guest and the VMM said: {}", said.join("; ")).into()
        })
    }

    fn follow(&self, vmm: &Vmm, machine: &mut Machine, job: Job) -> Result<Sample, Box<dyn Error>> {
        let limit = LIMIT + 2 * self.time;
        machine.wait_for_line(" await", limit)?;
        let before = Snapshot::of(machine.id())?;
        machine.type_text("!")?;
        let measured = machine.wait_for_line(" measured ", limit)?;
        let after = Snapshot::of(machine.id())?;
        let latencies = machine.wait_for_line(" latencies ", limit)?;
        machine.expect_exit(0, limit)?;
        let spent = after
            .since(&before, vmm.vcpu_thread())
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
        // In both machines, this ends the program: neither reboots.
        format!("setup 0\n{warm_up}\nawait\n{measured}\nexit fault\n")
    }
}

/// A count. Those here are far below what a float holds exactly.
#[expect(clippy::cast_precision_loss, reason = "counts of seconds of I/O")]
fn float(count: u64) -> f64 {
    count as f64
}
