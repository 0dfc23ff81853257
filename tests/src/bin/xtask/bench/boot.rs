//! `cargo xtask bench boot`: from exec to the guest's init, Faultvisor and QEMU's microvm side by side.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, ValueEnum};
use faultvisor_tests::boot_time::{self, Contender, Sample};
use faultvisor_tests::guest::{self, GuestImages};
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::packages;
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use super::qemu;
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

const KERNEL_COMMAND_LINE: &str = "console=ttyS0 reboot=t panic=-1 quiet";
/// What QEMU's microvm loads beside the kernel.
const FIRMWARE: [&str; 5] = [
    "bios-microvm.bin",
    "qboot.rom",
    "linuxboot_dma.bin",
    "pvh.bin",
    "kvmvapic.bin",
];
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
            _ => {
                let builds = options.beside.iter();
                let builds = builds.map(|other| (other.name.as_str(), other.path.as_path()));
                let own = std::iter::once(("faultvisor", binaries.faultvisor.as_path()));
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
    let succeeded = if kvm.runs_linux() {
        console::note("measuring on this machine");
        measure_here(&binaries, &guest, options, &mut take)?
    } else {
        console::note(&format!("measuring in the lab, for {kvm}"));
        let lab = lab::build(workspace, &console::note)?;
        measure_in_lab(&lab, &binaries, &guest, options, &mut take)?
    };
    console::line(boot_time::summary(&samples).trim_end());
    Ok(if succeeded {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How a build of Faultvisor boots the guest.
fn build_of_faultvisor(
    name: &str,
    program: &Path,
    guest: &GuestImages,
    memory_mib: u64,
) -> Contender {
    let text = |path: &Path| path.display().to_string();
    let command = [
        &text(program),
        "--kernel",
        &text(&guest.vmlinux()),
        "--initrd",
        &text(&guest.initramfs()),
        "--append",
        KERNEL_COMMAND_LINE,
        "-m",
        &format!("{memory_mib}M"),
        "--no-reboot",
        "--serial",
        "stdio",
    ];
    Contender {
        name: name.to_owned(),
        command: command.map(str::to_owned).to_vec(),
    }
}

fn contenders(
    options: &Options,
    faultvisor: &Path,
    beside: &[Beside],
    qemu: &Path,
    guest: &GuestImages,
) -> Vec<Contender> {
    let memory = options.memory.to_string();
    let text = |path: &Path| path.display().to_string();
    let (kernel, initramfs) = (text(&guest.vmlinux()), text(&guest.initramfs()));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let build =
        |name: &str, program: &Path| build_of_faultvisor(name, program, guest, options.memory);
    let faultvisor = build("faultvisor", faultvisor);
    let mut qemu: Vec<String> = words(&[
        &text(qemu),
        "-M",
        "microvm",
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-m",
        &memory,
    ]);
    qemu.extend(
        [
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-no-reboot",
        ]
        .map(str::to_owned),
    );
    qemu.extend(
        [
            "-serial", "stdio", "-kernel", &kernel, "-initrd", &initramfs,
        ]
        .map(str::to_owned),
    );
    qemu.extend(["-append", KERNEL_COMMAND_LINE].map(str::to_owned));
    let microvm = Contender {
        name: "qemu-microvm".to_owned(),
        command: qemu,
    };
    let wanted = |vmm| options.vmms.is_empty() || options.vmms.contains(&vmm);
    let all = [(Vmm::Faultvisor, faultvisor), (Vmm::Microvm, microvm)];
    let wanted = all.into_iter().filter(|(vmm, _)| wanted(*vmm));
    let beside = beside.iter().map(|other| build(&other.name, &other.path));
    wanted
        .map(|(_, contender)| contender)
        .chain(beside)
        .collect()
}

fn arguments(options: &Options, contenders: &str) -> [String; 7] {
    let (runs, memory) = (options.runs.to_string(), options.memory.to_string());
    [
        "boot-time",
        "--contenders",
        contenders,
        "--runs",
        &runs,
        "--guest-memory-mib",
        &memory,
    ]
    .map(str::to_owned)
}

fn measure_here(
    binaries: &binaries::Binaries,
    guest: &GuestImages,
    options: &Options,
    take: &mut dyn FnMut(&str),
) -> Result<bool, Box<dyn Error>> {
    let list = tempfile::NamedTempFile::new()?;
    fs::write(
        &list,
        boot_time::to_json(&contenders(
            options,
            &binaries.faultvisor,
            &options.beside,
            &qemu()?,
            guest,
        )),
    )?;
    let output = Command::new(&binaries.e2e)
        .args(arguments(options, &list.path().to_string_lossy()))
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&said).lines().for_each(take);
    Ok(output.status.success())
}

fn measure_in_lab(
    lab: &lab::Images,
    binaries: &binaries::Binaries,
    guest: &GuestImages,
    options: &Options,
    take: &mut dyn FnMut(&str),
) -> Result<bool, Box<dyn Error>> {
    const LIST: &str = "/payload/contenders.json";
    const FAULTVISOR: &str = "/payload/faultvisor";
    let qemu = qemu()?;
    let mut payload = Payload::new(lab)?;
    payload.copy(FAULTVISOR, &binaries.faultvisor)?;
    payload.copy("/payload/e2e", &binaries.e2e)?;
    payload.program(&qemu)?;
    for file in firmware(&qemu)? {
        payload.copy(&file.to_string_lossy(), &file)?;
    }
    let inside = payload.guest(guest)?;
    let mut beside = options.beside.clone();
    for (index, other) in beside.iter_mut().enumerate() {
        let path = format!("/payload/beside-{index}");
        payload.copy(&path, &other.path)?;
        other.path = path.into();
    }
    let faultvisor = Path::new(FAULTVISOR);
    let list = contenders(options, faultvisor, &beside, &qemu, &inside);
    let list = boot_time::to_json(&list);
    payload.file(LIST, 0o644, list.as_bytes())?;
    let script = format!("/payload/e2e {}", arguments(options, LIST).join(" "));
    let outcome = lab.run(payload, &script, &Settings::with_limit(LIMIT), take)?;
    Ok(outcome.status == 0)
}

/// The files of [`FIRMWARE`] in the directories where QEMU looks for them.
pub fn firmware(qemu: &Path) -> Result<Vec<PathBuf>, ToolError> {
    let directories = tool::output(Command::new(qemu).args(["-L", "help"]))?;
    let directories = String::from_utf8_lossy(&directories).into_owned();
    let find = |name: &&str| {
        let paths = directories
            .lines()
            .map(|directory| Path::new(directory.trim()).join(name));
        paths.into_iter().find(|path| path.is_file())
    };
    Ok(FIRMWARE.iter().filter_map(find).collect())
}
