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
//! | `programs.cpio` | the agent as init, busybox, and a few programs of this machine |
//! | `disk.img` | 64 MiB of ext4 |
//!
//! A [`Script`] decides what the guest runs.

mod script;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_harness::cache::Cache;
use faultvisor_harness::cache::artifact::{self, ArtifactError, Fingerprint};
use faultvisor_harness::image::{Busybox, GuestImage, ImageError, Initramfs};
use faultvisor_harness::kernel::{Kernel, KernelError};

use crate::packages::{self, InstallError, PackagesError};
use crate::tool::{self, ToolError};
use crate::workspace::Workspace;

pub use script::{Ending, Script};
pub use tools::{Tools, build_tools};

/// The first line that the guest's init writes.
pub const INIT_MARKER: &str = "FV-INIT";
/// The prefix of the line with a script's exit status.
pub const EXIT_MARKER: &str = "FV-EXIT ";

/// Modules that the guest needs; built-in ones are left out.
const MODULES: [&str; 2] = ["virtio_mmio", "virtio_blk"];
/// Modules that some tests load, in the order of [`MACHINE_MODULES_ORDER`]: the power button with its input device, and
/// pvpanic.
const MACHINE_MODULES: [&str; 3] = ["button", "evdev", "pvpanic-mmio"];
/// The file with their paths.
pub const MACHINE_MODULES_ORDER: &str = "/lib/modules/machine";
/// The file with the paths of the modules that init loads.
pub(crate) const MODULES_ORDER: &str = "/lib/modules/order";
const INIT: &str = include_str!("init.sh");
const DISK_SIZE: &str = "64M";

/// Why the guest's images could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GuestError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A program cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
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

    /// An initramfs with the agent, for programs.
    pub fn programs(&self) -> PathBuf {
        self.directory.join("programs.cpio")
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
    let cache = cache(workspace);
    let kernel = Kernel::package(None, &cache, note)?;
    let busybox = Busybox::fetch(&cache, note)?;

    artifact::ensure(&images.bzimage(), &kernel.fingerprint(), |to| {
        copy(kernel.image(), to)
    })?;
    kernel.ensure_vmlinux(&images.vmlinux(), note)?;

    let inputs =
        kernel
            .fingerprint()
            .value((busybox.fingerprint().text(), INIT, MODULES, MACHINE_MODULES));
    artifact::ensure(
        &images.initramfs(),
        &inputs,
        |to| -> Result<(), GuestError> {
            note("making the guest's initramfs");
            let mut initramfs = Initramfs::new();
            initramfs.skeleton()?.busybox(&busybox)?;
            initramfs.file("/init", 0o755, INIT)?;
            let modules = kernel.load_order(&MODULES, &[])?;
            initramfs.modules(&modules, MODULES_ORDER)?;
            let of_machine = kernel.load_order(&[], &MACHINE_MODULES)?;
            initramfs.modules(&of_machine, MACHINE_MODULES_ORDER)?;
            Ok(initramfs.write_file(to)?)
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

/// The command whose programs the guest for programs has.
const COMMAND: [&str; 3] = ["sh", "-c", "mkfs.ext4 mount dd"];

/// Builds the initramfs for programs, with this agent, unless it is up to date.
pub fn build_programs(
    images: &GuestImages,
    agent: &Path,
    note: &dyn Fn(&str),
) -> Result<(), GuestError> {
    let cache = cache_in(images.directory());
    let kernel = Kernel::package(None, &cache, note)?;
    let image = GuestImage::builder(kernel)
        .command(&COMMAND.map(str::to_owned))
        .agent(agent)
        .busybox(Busybox::fetch(&cache, note)?)
        .build(&cache, note)?;
    let made = image.initramfs;
    artifact::ensure(&images.programs(), &Fingerprint::new().file(&made)?, |to| {
        copy(&made, to)
    })?;
    Ok(())
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

/// Where packages are unpacked.
pub(crate) fn cache(workspace: &Workspace) -> Cache {
    cache_in(&workspace.guest_directory())
}

fn cache_in(directory: &Path) -> Cache {
    Cache::at(directory.join("cache"))
}

fn copy(from: &Path, to: &Path) -> Result<(), ArtifactError> {
    fs::copy(from, to)
        .map(drop)
        .map_err(|error| ArtifactError::new("copy", from, error))
}
