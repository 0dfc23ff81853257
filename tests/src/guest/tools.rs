//! Programs that only some guests need: each set is an archive that is appended to the guest's initramfs.

use faultvisor_harness::cache::artifact;
use faultvisor_harness::image::Initramfs;
use faultvisor_harness::kernel::{Kernel, Module};

use super::{GuestError, GuestImages, cache};
use crate::packages;
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
    let kernel = Kernel::package(None, &cache(workspace), note)?;
    let modules = kernel.load_order(&[], &["xfs"])?;
    let programs = ["mkfs.xfs", "xfs_repair"];
    archive(images, Tools::Xfsprogs, &programs, &modules)
}

/// Builds the archive of [`Tools::E2fsprogs`].
pub(super) fn build_e2fsprogs(images: &GuestImages) -> Result<(), GuestError> {
    archive(images, Tools::E2fsprogs, &["mkfs.ext4", "e2fsck"], &[])
}

fn archive(
    images: &GuestImages,
    tools: Tools,
    programs: &[&str],
    modules: &[Module],
) -> Result<(), GuestError> {
    let mut initramfs = Initramfs::appended();
    for program in programs {
        initramfs.program(program)?;
    }
    if let Some(last) = modules.last() {
        // The one that the others are loaded for.
        let order = format!("/lib/modules/{}.order", last.name);
        initramfs.modules(modules, &order)?;
    }
    let inputs = initramfs.fingerprint()?;
    artifact::ensure(&images.tools(tools), &inputs, |to| initramfs.write_file(to))?;
    Ok(())
}
