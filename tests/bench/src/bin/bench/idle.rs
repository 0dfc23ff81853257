//! `cargo xtask bench idle`: the cost of an idle guest, in Faultvisor and in QEMU's microvm.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use faultvisor_bench::contender::Contender;
use faultvisor_bench::idle_cost::{self, Idler, Sample};
use faultvisor_tests::guest;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;

use crate::side_by_side::{Measurement, Place, words};
use crate::{console, programs};

/// How to measure idling.
#[derive(Args)]
pub struct Options {
    /// How often each VMM's guest is watched.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// For how many seconds.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// The guest's memory in MiB.
    #[arg(long, default_value_t = 256)]
    memory: u64,
}

/// What a machine has beside its guest.
#[derive(Clone, Copy)]
enum Case {
    Bare,
    /// A disk with a thread of its own.
    Disk,
    /// A disk, and a client of the monitor.
    Client,
}

const CASES: [(Case, &str); 3] = [
    (Case::Bare, "bare"),
    (Case::Disk, "disk"),
    (Case::Client, "disk-and-client"),
];
/// The paths of the monitors' sockets, one after the other.
const FAULTVISOR_MONITOR: &str = "/tmp/fv-idle-faultvisor";
const MICROVM_MONITOR: &str = "/tmp/fv-idle-microvm";
/// Most time for a guest to boot and to settle, before it is watched.
const AROUND: u64 = 120;

/// Measures on this machine's KVM if it runs Linux, otherwise in the lab.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    packages::ensure_installed(&[packages::QEMU], &console::note)?;
    let programs = programs::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    let directory = tempfile::tempdir()?;
    let initramfs = directory.path().join("idle.cpio");
    idle_cost::initramfs(&guest, &initramfs)?;
    let disk = guest.disk();
    let (runs, seconds) = (options.runs.to_string(), options.seconds.to_string());
    let watched = 2 * CASES.len() as u64 * options.runs as u64;
    let measurement = Measurement {
        arguments: words(&["idle-cost", "--runs", &runs, "--seconds", &seconds]),
        contenders: &|place| {
            let (initramfs, disk) = (place.file(&initramfs), place.file(&disk));
            idle_cost::to_json(&idlers(place, &initramfs, &disk, options.memory))
        },
        files: &[initramfs.clone(), disk.clone()],
        limit: Duration::from_secs(watched * (options.seconds + AROUND)),
    };
    let mut samples = Vec::new();
    let succeeded = measurement.perform(workspace, &programs, &guest, &mut |line| match line
        .parse::<Sample>()
    {
        Ok(sample) => {
            let milliseconds = sample.vcpu + sample.rest;
            console::line(&format!("   {milliseconds:9.1} ms  {}", sample.name));
            samples.push(sample);
        }
        Err(()) => console::line(&format!("   │ {line}")),
    })?;
    console::line(idle_cost::summary(&samples).trim_end());
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn idlers(place: &Place, initramfs: &Path, disk: &Path, memory_mib: u64) -> Vec<Idler> {
    let mut idlers = Vec::new();
    for (case, name) in CASES {
        let has_disk = !matches!(case, Case::Bare);
        let has_client = matches!(case, Case::Client);
        let idler = |vmm: &str, command: Vec<String>, monitor: &str| Idler {
            contender: Contender {
                name: format!("{vmm}:{name}"),
                command,
            },
            monitor: has_client.then(|| monitor.to_owned()),
        };
        let mut command = place.faultvisor(initramfs, memory_mib);
        if has_disk {
            let drive = format!("file={},format=raw,id=disk0", disk.display());
            command.extend(words(&["--drive", &drive]));
        }
        if has_client {
            command.extend(words(&["--qmp", &format!("unix:{FAULTVISOR_MONITOR}")]));
        }
        idlers.push(idler("faultvisor", command, FAULTVISOR_MONITOR));
        let mut command = place.microvm(initramfs, memory_mib);
        command.extend(words(&["-name", "microvm,debug-threads=on"]));
        if has_disk {
            let drive = format!("if=none,id=disk0,format=raw,file={}", disk.display());
            let device = "virtio-blk-device,drive=disk0,iothread=io0";
            command.extend(words(&["-object", "iothread,id=io0", "-drive", &drive]));
            command.extend(words(&["-global", "virtio-mmio.force-legacy=false"]));
            command.extend(words(&["-device", device]));
        }
        if has_client {
            let monitor = format!("unix:{MICROVM_MONITOR},server=on,wait=off");
            command.extend(words(&["-qmp", &monitor]));
        }
        idlers.push(idler("qemu-microvm", command, MICROVM_MONITOR));
    }
    idlers
}
