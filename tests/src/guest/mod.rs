//! The guest that the tests boot: a stock kernel, a minimal initramfs, and a disk image.
//!
//! Under `target/guest/`:
//!
//! | file | what it is |
//! | --- | --- |
//! | `bzImage`, `vmlinux` | the distribution's kernel for virtual machines, as packaged and as ELF |
//! | `initramfs.cpio` | busybox, the virtio modules, and [an init](mod@self) that ends in a shell or in a test's script |
//! | `e2fsprogs.cpio` | mkfs.ext4 and e2fsck with their libraries, appended where a script needs them |
//! | `fio.cpio`, `sqlite.cpio`, `xfsprogs.cpio` | the same for fio, SQLite and XFS, built only where tests run |
//! | `disk.img` | 64 MiB of ext4 |
//!
//! A [`Script`] decides what the guest runs.

mod script;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use crate::artifact::{self, ArtifactError, Fingerprint};
use crate::kernel::{self, KernelError};
use crate::packages::{self, PackagesError};
use crate::stock_kernel::{StockKernel, StockKernelError};
use crate::tool::{self, ToolError};
use crate::userland::{self, Busybox};
use crate::workspace::Workspace;

pub use script::{Ending, Script};
pub use tools::{Tools, build_tools};

/// The first line that the guest's init writes.
pub const INIT_MARKER: &str = "FV-INIT";
/// The prefix of the line with a script's exit status.
pub const EXIT_MARKER: &str = "FV-EXIT ";

/// Modules that the guest loads, with their dependencies; built-in ones are left out.
const MODULES: [&str; 2] = ["virtio_mmio", "virtio_blk"];
/// Modules that some tests load, in the order of [`MACHINE_MODULES_ORDER`]: the power button with its input device, and
/// pvpanic.
const MACHINE_MODULES: [&str; 3] = ["button", "evdev", "pvpanic-mmio"];
/// The file with their names.
pub const MACHINE_MODULES_ORDER: &str = "/lib/modules/machine";
const INIT: &str = include_str!("init.sh");
const DISK_SIZE: &str = "64M";

/// Why the guest's images could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// There is no stock kernel.
    #[error(transparent)]
    StockKernel(#[from] StockKernelError),
    /// Its image holds no vmlinux.
    #[error("cannot take the vmlinux out of '{path}'")]
    Kernel {
        /// The bzImage.
        path: PathBuf,
        /// The cause.
        #[source]
        source: KernelError,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// The guest's files, here or in the lab.
#[derive(Debug, Clone)]
pub struct GuestImages {
    directory: PathBuf,
}

impl GuestImages {
    /// Images that exist in a directory.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The kernel as a bzImage.
    pub fn bzimage(&self) -> PathBuf {
        self.directory.join("bzImage")
    }

    /// The same kernel as an ELF image.
    pub fn vmlinux(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The initramfs.
    pub fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }

    /// An archive to append to the initramfs.
    pub fn tools(&self, tools: Tools) -> PathBuf {
        self.directory.join(tools.file_name())
    }

    /// A disk with a file system.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk.img")
    }
}

/// Builds what is missing or out of date under `target/guest/`.
pub fn build(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<GuestImages, GuestError> {
    packages::ensure_installed(&[packages::MKE2FS], note)?;
    let images = GuestImages::at(workspace.guest_directory());
    let cache = cache(workspace)?;
    let kernel = StockKernel::fetch(&cache, note)?;
    let busybox = Busybox::fetch(&cache, note)?;

    artifact::ensure(&images.bzimage(), &kernel.fingerprint(), |to| {
        copy(kernel.image(), to)
    })?;
    vmlinux(&kernel, &images.vmlinux(), note)?;

    let inputs = kernel
        .fingerprint()
        .value((&busybox.fingerprint, INIT, MODULES, MACHINE_MODULES));
    artifact::ensure(
        &images.initramfs(),
        &inputs,
        |to| -> Result<(), GuestError> {
            note("making the guest's initramfs");
            let modules = userland::modules(&kernel, &MODULES)?;
            let of_machine = userland::modules(&kernel, &MACHINE_MODULES)?;
            userland::write_archive(to, |archive| {
                busybox.add_to(archive)?;
                archive.file("/init", 0o755, INIT.as_bytes())?;
                userland::add_modules(archive, &modules)?;
                userland::add_modules_in_order(archive, &of_machine, MACHINE_MODULES_ORDER)?;
                archive.directory("/mnt")
            })?;
            Ok(())
        },
    )?;

    tools::build_e2fsprogs(&images)?;

    artifact::ensure(
        &images.disk(),
        &Fingerprint::new().value((DISK_SIZE, README)),
        |to| {
            note("making the guest's disk image");
            make_disk(to)
        },
    )?;
    Ok(images)
}

const README: &str = "This file system came with the disk image.\n";

fn make_disk(to: &Path) -> Result<(), GuestError> {
    let contents = tempfile::tempdir().map_err(|error| ArtifactError::new("create", to, error))?;
    let readme = contents.path().join("README");
    fs::write(&readme, README).map_err(|error| ArtifactError::new("write", &readme, error))?;
    let mut mke2fs = tool::command("mke2fs")?;
    mke2fs.args([
        "-q",
        "-F",
        "-t",
        "ext4",
        "-L",
        "faultvisor",
        "-E",
        "root_owner=0:0",
        "-d",
    ]);
    tool::run(mke2fs.arg(contents.path()).arg(to).arg(DISK_SIZE))?;
    Ok(())
}

/// The directory that packages are unpacked to.
pub(crate) fn cache(workspace: &Workspace) -> Result<PathBuf, ArtifactError> {
    let cache = workspace.guest_directory().join("cache");
    fs::create_dir_all(&cache).map_err(|error| ArtifactError::new("create", &cache, error))?;
    Ok(cache)
}

/// Extracts the ELF image of `kernel` to `path`, unless it exists.
pub(crate) fn vmlinux(
    kernel: &StockKernel,
    path: &Path,
    note: &dyn Fn(&str),
) -> Result<(), GuestError> {
    artifact::ensure(
        path,
        &kernel.fingerprint(),
        |to| -> Result<(), GuestError> {
            note(&format!("unpacking Linux {}", kernel.release()));
            let image = kernel.image();
            let bytes =
                fs::read(image).map_err(|error| ArtifactError::new("read", image, error))?;
            let vmlinux = kernel::extract_vmlinux(&bytes).map_err(|source| GuestError::Kernel {
                path: image.to_path_buf(),
                source,
            })?;
            fs::write(to, vmlinux).map_err(|error| ArtifactError::new("write", to, error))?;
            Ok(())
        },
    )?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), ArtifactError> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| ArtifactError::new("copy", from, error))
}
