//! Common user space of the guest and the lab: busybox, and modules loaded by init.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifact::ArtifactError;
use crate::initramfs::Archive;
use crate::packages::{self, PackagesError};
use crate::stock_kernel::{StockKernel, StockKernelError};
use crate::tool;

/// A module and its contents.
pub type Module = (String, Vec<u8>);

/// The modules of `names` that are not built into the kernel, each after its dependencies.
pub fn modules(kernel: &StockKernel, names: &[&str]) -> Result<Vec<Module>, StockKernelError> {
    let mut ordered = Vec::new();
    for name in names {
        add_with_dependencies(name, &|name| kernel.module(name), &mut ordered)?;
    }
    Ok(ordered)
}

fn add_with_dependencies<E>(
    name: &str,
    load: &impl Fn(&str) -> Result<Option<Vec<u8>>, E>,
    ordered: &mut Vec<Module>,
) -> Result<(), E> {
    if ordered.iter().any(|(found, _)| found == name) {
        return Ok(());
    }
    if let Some(contents) = load(name)? {
        for dependency in dependencies(&contents) {
            add_with_dependencies(&dependency, load, ordered)?;
        }
        ordered.push((name.to_owned(), contents));
    }
    Ok(())
}

/// The dependencies in a module's `.modinfo` section.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let names = module[at + KEY.len()..]
        .split(|&byte| byte == 0)
        .next()
        .unwrap_or_default();
    let names = String::from_utf8_lossy(names);
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Adds modules, and their load order for init.
pub fn add_modules(archive: &mut FileArchive, modules: &[Module]) -> io::Result<()> {
    add_modules_in_order(archive, modules, "/lib/modules/order")
}

/// Adds modules, and a file at the path `order` with their names in load order.
pub fn add_modules_in_order(
    archive: &mut FileArchive,
    modules: &[Module],
    order: &str,
) -> io::Result<()> {
    for (name, contents) in modules {
        archive.file(&format!("/lib/modules/{name}.ko"), 0o644, contents)?;
    }
    let names: String = modules
        .iter()
        .map(|(name, _)| format!("{name}\n"))
        .collect();
    archive.file(order, 0o644, names.as_bytes())
}

/// An archive written to a file.
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

/// The one program of the guest's and the lab's user space.
#[derive(Debug)]
pub struct Busybox {
    program: PathBuf,
    applets: Vec<String>,
    /// Changes with its contents.
    pub fingerprint: String,
}

impl Busybox {
    /// Fetches the static busybox into `cache`, unless it exists.
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

    /// Adds busybox with a link for each of its commands, and the directories and devices that an init needs first.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_follows_its_dependencies_once() {
        let load = |name: &str| -> Result<Option<Vec<u8>>, ()> {
            let depends: &[u8] = match name {
                "blk" => b"\0license=GPL\0depends=virtio,ring\0",
                "mmio" => b"\0depends=ring,virtio\0",
                "virtio" => b"\0depends=ring\0",
                "ring" => b"\0depends=\0",
                _ => return Ok(None),
            };
            Ok(Some(depends.to_vec()))
        };
        let mut ordered = Vec::new();
        for name in ["blk", "built_in", "mmio"] {
            add_with_dependencies(name, &load, &mut ordered).unwrap();
        }
        let names: Vec<_> = ordered.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ring", "virtio", "blk", "mmio"]);
    }
}
