//! `cargo xtask bench boot`: from exec to the guest's init, Faultvisor and QEMU's microvm side by side.

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use faultvisor_tests::boot_time::{self, Contender, Sample};
use faultvisor_tests::guest;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;

use super::side_by_side::{Measurement, Place, words};
use crate::{binaries, console, first_entry};

/// How to measure booting.
#[derive(Args)]
pub struct Options {
    /// How often each VMM boots.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// The guest's memory in MiB.
    #[arg(long, default_value_t = 256)]
    memory: u64,
    /// Only this VMM; all if not given.
    #[arg(long = "only", value_enum)]
    vmms: Vec<Vmm>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Vmm {
    Faultvisor,
    Microvm,
}

/// How often the program's start is measured; it takes a fraction of a second.
const ENTRIES: usize = 11;
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Measures, on this machine's KVM if it runs Linux, otherwise in the lab.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    packages::ensure_installed(&[packages::QEMU], &console::note)?;
    let binaries = binaries::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    let kvm = Kvm::probe();
    if options.vmms.is_empty() || options.vmms.contains(&Vmm::Faultvisor) {
        match &kvm {
            Kvm::NoKvm { why } => console::note(&format!("no first KVM_RUN to measure: {why}")),
            _ => first_entry::measure(&binaries.faultvisor, &guest, ENTRIES, options.memory)?,
        }
    }
    let mut samples = Vec::new();
    let mut take = |line: &str| match line.parse::<Sample>() {
        Ok(sample) => {
            console::line(&format!(
                "   {:7.2} s  {:7} KiB  {}",
                sample.seconds, sample.overhead_kib, sample.name
            ));
            samples.push(sample);
        }
        Err(()) => console::line(&format!("   │ {line}")),
    };
    let (runs, memory) = (options.runs.to_string(), options.memory.to_string());
    let measurement = Measurement {
        arguments: words(&["boot-time", "--runs", &runs, "--guest-memory-mib", &memory]),
        contenders: &|place| boot_time::to_json(&contenders(options, place)),
        files: &[],
        limit: LIMIT,
    };
    let succeeded = measurement.perform(workspace, &binaries, &guest, &mut take)?;
    console::line(boot_time::summary(&samples).trim_end());
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn contenders(options: &Options, place: &Place) -> Vec<Contender> {
    let initramfs = place.guest().initramfs();
    let wanted = |vmm| options.vmms.is_empty() || options.vmms.contains(&vmm);
    let all = [
        (
            Vmm::Faultvisor,
            "faultvisor",
            place.faultvisor(&initramfs, options.memory),
        ),
        (
            Vmm::Microvm,
            "qemu-microvm",
            place.microvm(&initramfs, options.memory),
        ),
    ];
    let wanted = all.into_iter().filter(|(vmm, ..)| wanted(*vmm));
    let contender = |(_, name, command): (Vmm, &str, Vec<String>)| Contender {
        name: name.to_owned(),
        command,
    };
    wanted.map(contender).collect()
}
