//! What the guest's and the lab's user space have in common: busybox, and modules loaded by init.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifact::ArtifactError;
use crate::initramfs::Archive;
use crate::packages::{self, PackagesError};
use crate::stock_kernel::{StockKernel, StockKernelError};
use crate::tool;

/// The contents of those of `names` that are not built into the kernel.
pub fn modules<'a>(
    kernel: &StockKernel,
    names: &[&'a str],
) -> Result<Vec<(&'a str, Vec<u8>)>, StockKernelError> {
    let contents = |name: &&'a str| {
        kernel
            .module(name)
            .map(|module| module.map(|contents| (*name, contents)))
    };
    names
        .iter()
        .filter_map(|name| contents(name).transpose())
        .collect()
}

/// Adds modules, and the order in which init loads them.
pub fn add_modules(archive: &mut FileArchive, modules: &[(&str, Vec<u8>)]) -> io::Result<()> {
    for (name, contents) in modules {
        archive.file(&format!("/lib/modules/{name}.ko"), 0o644, contents)?;
    }
    let order: String = modules
        .iter()
        .map(|(name, _)| format!("{name}\n"))
        .collect();
    archive.file("/lib/modules/order", 0o644, order.as_bytes())
}

/// An archive that goes to a file.
pub type FileArchive = Archive<BufWriter<File>>;

/// Writes one archive to a new file at `path`.
pub fn write_archive(
    path: &Path,
    fill: impl FnOnce(&mut FileArchive) -> io::Result<()>,
) -> Result<(), ArtifactError> {
    let write = || {
        let mut archive = Archive::new(BufWriter::new(File::create(path)?));
        fill(&mut archive)?;
        archive.finish().map(drop)
    };
    write().map_err(|error| ArtifactError::new("write", path, error))
}

/// The one program that both the guest's and the lab's user space consist of.
#[derive(Debug)]
pub struct Busybox {
    program: PathBuf,
    applets: Vec<String>,
    /// Changes when it does.
    pub fingerprint: String,
}

impl Busybox {
    /// Fetches the static busybox into `cache`, unless it is there.
    pub fn fetch(cache: &Path, note: &dyn Fn(&str)) -> Result<Self, PackagesError> {
        const PACKAGE: &str = "busybox-static";
        let unpacked = packages::unpack(PACKAGE, cache, note)?;
        let program = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.root.join(path));
        let program = program
            .into_iter()
            .find(|path| path.is_file())
            .ok_or_else(|| PackagesError::Lacks {
                package: PACKAGE.to_owned(),
                file: "bin/busybox".to_owned(),
            })?;
        let applets = tool::output(Command::new(&program).arg("--list"))?;
        let applets = String::from_utf8_lossy(&applets)
            .lines()
            .map(str::to_owned)
            .collect();
        Ok(Self {
            program,
            applets,
            fingerprint: unpacked.version,
        })
    }

    /// Adds it with a link for each of its commands, and the directories and devices that an init needs first.
    pub fn add_to(&self, archive: &mut FileArchive) -> io::Result<()> {
        archive.copy("/bin/busybox", &self.program)?;
        for applet in self.applets.iter().filter(|applet| *applet != "busybox") {
            archive.symlink(&format!("/bin/{applet}"), "busybox")?;
        }
        for directory in ["/proc", "/sys", "/tmp", "/root"] {
            archive.directory(directory)?;
        }
        archive.character_device("/dev/console", 0o600, (5, 1))?;
        archive.character_device("/dev/null", 0o666, (1, 3))
    }
}
