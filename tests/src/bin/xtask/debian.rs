//! Debian's disks for its tests: copies on this machine, and discarded writes in the lab.

use std::error::Error;
use std::path::{Path, PathBuf};

use faultvisor_tests::debian::{self, DISKS, DebianImages};
use faultvisor_tests::lab::{self, Settings};
use faultvisor_tests::tool;
use faultvisor_tests::workspace::Workspace;

use crate::console;

/// The requirement of tests that boot it.
pub const NEEDED: &str = "debian";

/// The memory of its lab.
const MEMORY_MIB: u32 = 6500;

/// Builds Debian's images.
pub fn build(workspace: &Workspace) -> Result<DebianImages, Box<dyn Error>> {
    Ok(debian::build(workspace, &console::note)?)
}

/// Copies of its disk on this machine, removed on drop.
pub struct Copies {
    boot: PathBuf,
    disks: Vec<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Copies {
    /// Copies the disk below a directory.
    pub fn make(images: &DebianImages, below: &Path) -> Result<Self, Box<dyn Error>> {
        let directory = tempfile::tempdir_in(below)?;
        let name = |index| directory.path().join(format!("disk{index}.img"));
        let disks: Vec<PathBuf> = (0..DISKS).map(name).collect();
        for disk in &disks {
            let mut copy = tool::command("cp")?;
            copy.args(["--sparse=always", "--reflink=auto"]);
            tool::run(copy.arg(images.disk()).arg(disk))?;
        }
        Ok(Self {
            boot: images.boot(),
            disks,
            _directory: directory,
        })
    }

    /// Arguments for the tests' program.
    pub fn arguments(&self) -> Vec<String> {
        arguments(&self.boot, &self.disks)
    }
}

/// Gives the lab its disks. The kernels and initramfs images must be on the scratch disk. Returns arguments for the
/// tests' program.
pub fn in_lab(images: &DebianImages, settings: &mut Settings) -> Vec<String> {
    // The first is the scratch disk.
    let names = ('b'..='z').take(DISKS);
    let disks: Vec<PathBuf> = names.map(|name| format!("/dev/vd{name}").into()).collect();
    // One test gives its guest 5 GiB. Untouched memory costs this machine nothing.
    settings.memory_mib = MEMORY_MIB;
    settings.disks = disks.iter().map(|_| images.disk()).collect();
    let mut arguments = arguments(Path::new(lab::SCRATCH), &disks);
    arguments.push("--emulated-cpu".to_owned());
    arguments
}

fn arguments(boot: &Path, disks: &[PathBuf]) -> Vec<String> {
    let mut arguments = vec!["--debian-boot".to_owned(), boot.display().to_string()];
    for disk in disks {
        arguments.extend(["--debian-disk".to_owned(), disk.display().to_string()]);
    }
    arguments
}
