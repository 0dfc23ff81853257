//! `cargo xtask bench boot`: from exec to the guest's init, Faultvisor and QEMU's microvm side by side.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use faultvisor_bench::boot_time::{self, Sample};
use faultvisor_bench::contender::{self, Contender};
use faultvisor_tests::guest;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::packages;
use faultvisor_tests::workspace::Workspace;

use crate::side_by_side::{Measurement, Place, words};
use crate::{console, first_entry, programs};

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
    /// Another build of Faultvisor to measure in the same run, such as NAME=PATH of a static program; repeatable.
    #[arg(long, value_name = "NAME=PATH", value_parser = Beside::parse)]
    beside: Vec<Beside>,
}

/// Another build of the program.
#[derive(Debug, Clone)]
struct Beside {
    name: String,
    path: PathBuf,
}

impl Beside {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && !name.contains(char::is_whitespace) => {
                Ok(Self {
                    name: name.to_owned(),
                    path: path.into(),
                })
            }
            _ => Err("expected NAME=PATH, with a name of one word".to_owned()),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Vmm {
    Faultvisor,
    Microvm,
}

/// Number of times that the program's start is measured; one takes a fraction of a second.
const ENTRIES: usize = 11;
const LIMIT: Duration = Duration::from_secs(15 * 60);

/// Measures on this machine's KVM if it runs Linux, otherwise in the lab.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    packages::ensure_installed(&[packages::QEMU], &console::note)?;
    let programs = programs::build(workspace)?;
    let guest = guest::build(workspace, &console::note)?;
    let kvm = Kvm::probe();
    if options.vmms.is_empty() || options.vmms.contains(&Vmm::Faultvisor) {
        match &kvm {
            Kvm::NoKvm { why } => console::note(&format!("no first KVM_RUN to measure: {why}")),
            _ => {
                let builds = options.beside.iter();
                let builds = builds.map(|other| (other.name.as_str(), other.path.as_path()));
                let own = std::iter::once(("faultvisor", programs.faultvisor.as_path()));
                for (name, program) in own.chain(builds) {
                    first_entry::measure(name, program, &guest, ENTRIES, options.memory)?;
                }
            }
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
    let files: Vec<PathBuf> = options
        .beside
        .iter()
        .map(|other| other.path.clone())
        .collect();
    let measurement = Measurement {
        arguments: words(&["boot-time", "--runs", &runs, "--guest-memory-mib", &memory]),
        contenders: &|place| contender::to_json(&contenders(options, place)),
        files: &files,
        limit: LIMIT,
    };
    let succeeded = measurement.perform(workspace, &programs, &guest, &mut take)?;
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
    let contender = |name: &str, command: Vec<String>| Contender {
        name: name.to_owned(),
        command,
    };
    let build = |name: &str, program: &Path| {
        contender(name, place.build(program, &initramfs, options.memory))
    };
    let mut all = Vec::new();
    if wanted(Vmm::Faultvisor) {
        all.push(build("faultvisor", place.program()));
    }
    if wanted(Vmm::Microvm) {
        let command = place.microvm(&initramfs, options.memory);
        all.push(contender("qemu-microvm", command));
    }
    let beside = options.beside.iter();
    all.extend(beside.map(|other| build(&other.name, &place.file(&other.path))));
    all
}
