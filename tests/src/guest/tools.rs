//! Programs that only some guests need: each set is an archive that is appended to the guest's initramfs.

use std::path::{Path, PathBuf};

use super::{GuestError, GuestImages, cache};
use crate::artifact::{self, Fingerprint};
use crate::packages;
use crate::stock_kernel::StockKernel;
use crate::tool;
use crate::userland::{self, FileArchive, Module};
use crate::workspace::Workspace;

/// A set of programs for a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// `mkfs.ext4` (busybox's `mke2fs` makes only ext2) and `e2fsck`.
    E2fsprogs,
    /// `fio`.
    Fio,
    /// `sqlite3`.
    Sqlite,
    /// `mkfs.xfs`, `xfs_repair` and the file system's modules, in the order of `/lib/modules/xfs.order`.
    Xfsprogs,
}

impl Tools {
    /// Sets that are not part of every guest image.
    pub const OPTIONAL: [Self; 3] = [Self::Fio, Self::Sqlite, Self::Xfsprogs];

    pub(super) fn file_name(self) -> &'static str {
        match self {
            Self::E2fsprogs => "e2fsprogs.cpio",
            Self::Fio => "fio.cpio",
            Self::Sqlite => "sqlite.cpio",
            Self::Xfsprogs => "xfsprogs.cpio",
        }
    }
}

/// Builds the archives of [`Tools::OPTIONAL`], and installs the programs in them.
pub fn build_tools(
    workspace: &Workspace,
    images: &GuestImages,
    note: &dyn Fn(&str),
) -> Result<(), GuestError> {
    let needed = [packages::FIO, packages::SQLITE, packages::XFSPROGS];
    packages::ensure_installed(&needed, note)?;
    archive(images, Tools::Fio, &["fio"], &[])?;
    archive(images, Tools::Sqlite, &["sqlite3"], &[])?;
    let kernel = StockKernel::fetch(&cache(workspace)?, note)?;
    let modules = userland::modules(&kernel, &["xfs"])?;
    archive(
        images,
        Tools::Xfsprogs,
        &["mkfs.xfs", "xfs_repair"],
        &modules,
    )
}

/// Builds the archive of [`Tools::E2fsprogs`].
pub(super) fn build_e2fsprogs(images: &GuestImages) -> Result<(), GuestError> {
    // busybox's shell would prefer its own mke2fs.
    const MKFS: &str = "/bin/mkfs.ext4";
    let programs = ["mke2fs", "e2fsck"];
    make(
        images,
        Tools::E2fsprogs,
        &programs,
        &[],
        |archive, paths| {
            let mke2fs = paths.first().map(|path| path.to_string_lossy());
            archive.symlink(MKFS, &mke2fs.unwrap_or_default())
        },
    )
}

fn archive(
    images: &GuestImages,
    tools: Tools,
    programs: &[&str],
    modules: &[Module],
) -> Result<(), GuestError> {
    make(images, tools, programs, modules, |_, _| Ok(()))
}

fn make(
    images: &GuestImages,
    tools: Tools,
    programs: &[&str],
    modules: &[Module],
    finish: impl FnOnce(&mut FileArchive, &[PathBuf]) -> std::io::Result<()>,
) -> Result<(), GuestError> {
    let mut paths = Vec::new();
    let mut inputs = Fingerprint::new().value((tools.file_name(), modules));
    for program in programs {
        let path = PathBuf::from(tool::command(program)?.get_program());
        inputs = inputs.file(&path)?;
        paths.push(path);
    }
    artifact::ensure(&images.tools(tools), &inputs, |to: &Path| {
        userland::write_archive(to, |archive| {
            for path in &paths {
                archive.program(path)?;
            }
            if !modules.is_empty() {
                let order = format!("/lib/modules/{}.order", last_name(modules));
                userland::add_modules_in_order(archive, modules, &order)?;
            }
            finish(archive, &paths)
        })
    })?;
    Ok(())
}

/// The last module, which the others are loaded for.
fn last_name(modules: &[Module]) -> &str {
    modules
        .last()
        .map(|(name, _)| name.as_str())
        .unwrap_or_default()
}
