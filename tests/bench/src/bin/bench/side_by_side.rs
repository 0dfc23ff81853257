//! Faultvisor and QEMU's microvm with the same Linux guest, measured beside that guest.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::guest::GuestImages;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::lab::{self, Payload, Settings};
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::programs::Programs;
use crate::{console, qemu};

const KERNEL_COMMAND_LINE: &str = "console=ttyS0 reboot=t panic=-1 quiet";
/// Firmware that QEMU's microvm loads.
const FIRMWARE: [&str; 5] = [
    "bios-microvm.bin",
    "qboot.rom",
    "linuxboot_dma.bin",
    "pvh.bin",
    "kvmvapic.bin",
];

/// The paths of the VMMs and the guest's files, on this machine or in the lab.
pub struct Place {
    faultvisor: PathBuf,
    qemu: PathBuf,
    guest: GuestImages,
    /// The directory of further files of this machine, unless they keep their own paths.
    files: Vec<(PathBuf, PathBuf)>,
}

impl Place {
    /// The guest's images.
    pub fn guest(&self) -> &GuestImages {
        &self.guest
    }

    /// The path of a file of this machine that the measurement uses.
    pub fn file(&self, source: &Path) -> PathBuf {
        let found = self.files.iter().find(|(file, _)| file == source);
        found.map_or_else(|| source.to_path_buf(), |(_, inside)| inside.clone())
    }

    /// This build of Faultvisor.
    pub fn program(&self) -> &Path {
        &self.faultvisor
    }

    /// Its command line.
    pub fn faultvisor(&self, initramfs: &Path, memory_mib: u64) -> Vec<String> {
        self.build(&self.faultvisor, initramfs, memory_mib)
    }

    /// The command line of any build of Faultvisor.
    pub fn build(&self, program: &Path, initramfs: &Path, memory_mib: u64) -> Vec<String> {
        let memory = format!("{memory_mib}M");
        let mut command = words(&[&shown(program), "-m", &memory]);
        command.extend(self.guest_arguments(initramfs));
        command
    }

    /// The command line of QEMU, with its most similar machine.
    pub fn microvm(&self, initramfs: &Path, memory_mib: u64) -> Vec<String> {
        let memory = memory_mib.to_string();
        let mut command = words(&[&shown(&self.qemu), "-M", "microvm", "-accel", "kvm"]);
        command.extend(words(&["-cpu", "host", "-m", &memory, "-nodefaults"]));
        command.extend(words(&["-no-user-config", "-display", "none"]));
        command.extend(self.guest_arguments(initramfs));
        command
    }

    /// Arguments that both take.
    fn guest_arguments(&self, initramfs: &Path) -> Vec<String> {
        let (kernel, initramfs) = (shown(&self.guest.vmlinux()), shown(initramfs));
        let mut arguments = words(&["-no-reboot", "-serial", "stdio", "-kernel", &kernel]);
        arguments.extend(words(&[
            "-initrd",
            &initramfs,
            "-append",
            KERNEL_COMMAND_LINE,
        ]));
        arguments
    }
}

/// Splits a list of words.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// A measurement.
pub struct Measurement<'a> {
    /// The command of `bench-guests`, and its arguments but `--contenders`.
    pub arguments: Vec<String>,
    /// The contenders as JSON.
    pub contenders: &'a dyn Fn(&Place) -> String,
    /// Files that it needs beside the guest's images.
    pub files: &'a [PathBuf],
    /// The lab's time limit.
    pub limit: Duration,
}

impl Measurement<'_> {
    /// Measures on this machine's KVM if it runs Linux, otherwise in the lab, and passes on each line. Returns whether
    /// that succeeded.
    pub fn perform(
        &self,
        workspace: &Workspace,
        programs: &Programs,
        guest: &GuestImages,
        take: &mut dyn FnMut(&str),
    ) -> Result<bool, Box<dyn Error>> {
        let kvm = Kvm::probe();
        if kvm.runs_linux() {
            console::note("measuring on this machine");
            return self.here(programs, guest, take);
        }
        console::note(&format!("measuring in the lab, for {kvm}"));
        let lab = lab::build(workspace, &console::note)?;
        self.in_lab(&lab, programs, guest, take)
    }

    fn here(
        &self,
        programs: &Programs,
        guest: &GuestImages,
        take: &mut dyn FnMut(&str),
    ) -> Result<bool, Box<dyn Error>> {
        let place = Place {
            faultvisor: programs.faultvisor.clone(),
            qemu: qemu()?,
            guest: guest.clone(),
            files: Vec::new(),
        };
        let list = tempfile::NamedTempFile::new()?;
        fs::write(&list, (self.contenders)(&place))?;
        let mut command = Command::new(&programs.guests);
        command.args(&self.arguments).arg("--contenders");
        let output = command.arg(list.path()).output()?;
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&said).lines().for_each(take);
        Ok(output.status.success())
    }

    fn in_lab(
        &self,
        lab: &lab::Images,
        programs: &Programs,
        guest: &GuestImages,
        take: &mut dyn FnMut(&str),
    ) -> Result<bool, Box<dyn Error>> {
        const LIST: &str = "/payload/contenders.json";
        let mut payload = Payload::new(lab)?;
        let inside = Path::new("/payload");
        // Different files may have the same name.
        let files = self.files.iter().enumerate();
        let files = files.map(|(index, file)| (file.clone(), inside.join(format!("file{index}"))));
        let place = Place {
            faultvisor: inside.join("faultvisor"),
            qemu: qemu()?,
            guest: lab::add_guest(&mut payload, guest)?,
            files: files.collect(),
        };
        payload.built(&shown(&place.faultvisor), &programs.faultvisor)?;
        payload.built("/payload/bench-guests", &programs.guests)?;
        payload.program(&place.qemu)?;
        for file in firmware(&place.qemu)? {
            payload.copy(&shown(&file), &file)?;
        }
        for (file, inside) in &place.files {
            payload.copy(&shown(inside), file)?;
        }
        payload.file(LIST, 0o644, (self.contenders)(&place).as_bytes())?;
        // The mount point of KVM's statistics.
        let script = format!(
            "mount -t debugfs debug /sys/kernel/debug\n/payload/bench-guests {} --contenders {LIST}",
            self.arguments.join(" ")
        );
        let outcome = lab.run(payload, &script, &Settings::with_limit(self.limit), take)?;
        Ok(outcome.status == 0)
    }
}

/// The files of [`FIRMWARE`] in QEMU's directories.
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
