//! Debian 12 as it installs itself: a disk image with systemd and two kernels, built by mmdebstrap under
//! `target/guest/debian/`.
//!
//! | file | what it is |
//! | --- | --- |
//! | `disk.img` | the root file system, ext4 without a partition table |
//! | `boot/vmlinuz`, `boot/initrd.img` | its kernel, and the initramfs built by initramfs-tools |
//! | `boot/vmlinuz-backports`, `boot/initrd.img-backports` | the same for the kernel from the backports |
//!
//! Nothing in it is specific to Faultvisor. root has the password [`PASSWORD`].

use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_harness::image::{DiskImage, ImageError, Suite};

use crate::artifact::{self, ArtifactError, Fingerprint};
use crate::guest;
use crate::packages::{self, InstallError, PackagesError};
use crate::tool::{self, ToolError};
use crate::workspace::Workspace;

/// The password of root.
pub const PASSWORD: &str = "debian";
/// Number of disks for the tests: each starts from the original.
pub const DISKS: usize = 3;

/// Packages beyond the minimal variant: those to boot, to log in and to power off.
const PACKAGES: [&str; 9] = [
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "udev",
    "kmod",
    "login",
    "passwd",
    "initramfs-tools",
    KERNEL_PACKAGE,
];
const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
/// Directories that no test reads.
const LEFT_OUT: [&str; 3] = ["/usr/share/doc", "/usr/share/man", "/usr/share/locale"];
const DISK_SIZE: u64 = 768 << 20;
const CUSTOMIZE: &str = include_str!("customize.sh");
/// Copies the kernels and initramfs images of the archive "$1" to the directory "$2".
const FINISH: &str = include_str!("finish.sh");
/// The release's code name.
pub(crate) const SUITE: &str = "bookworm";
/// Runs in mmdebstrap before it fetches anything from its default sources: adds the backports. Its argument is the
/// directory that becomes the root file system.
const ADD_BACKPORTS: &str = r#"sed -n 's/ bookworm main/ bookworm-backports main/p' "$1/etc/apt/sources.list" > "$1/etc/apt/sources.list.d/backports.list""#;

/// Why there is no Debian.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// An image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A program cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// One of its two kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// The release's own: 6.1.
    Release,
    /// The one from the backports: 6.12.
    Backports,
}

impl Kernel {
    /// The prefix of its version.
    pub fn version(self) -> &'static str {
        match self {
            Self::Release => "6.1.",
            Self::Backports => "6.12.",
        }
    }

    /// Its image, in a directory of what a boot loader would load.
    pub fn image(self, boot: &Path) -> PathBuf {
        boot.join(self.file_name("vmlinuz"))
    }

    /// Its initramfs, in such a directory.
    pub fn initramfs(self, boot: &Path) -> PathBuf {
        boot.join(self.file_name("initrd.img"))
    }

    fn file_name(self, kind: &str) -> String {
        match self {
            Self::Release => kind.to_owned(),
            Self::Backports => format!("{kind}-backports"),
        }
    }
}

/// Debian's files on this machine.
#[derive(Debug, Clone)]
pub struct DebianImages {
    directory: PathBuf,
}

impl DebianImages {
    /// Its disk, which must not be written to.
    pub fn disk(&self) -> PathBuf {
        self.directory.join("disk.img")
    }

    /// The directory with its kernels and their initramfs images.
    pub fn boot(&self) -> PathBuf {
        self.directory.join("boot")
    }
}

/// Builds what is missing or out of date under `target/guest/debian/`.
pub fn build(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<DebianImages, DebianError> {
    packages::ensure_installed(&[packages::MKE2FS, packages::MMDEBSTRAP], note)?;
    if !packages::is_root() {
        packages::ensure_installed(&[packages::FAKEROOT], note)?;
    }
    let suite = suite(workspace, note)?;
    // On a Debian 12 host, a new kernel makes a new image.
    let kernel = packages::candidate(KERNEL_PACKAGE)?;
    let inputs = suite.add_to(Fingerprint::new().value((FINISH, DISK_SIZE, kernel)))?;
    let directory = workspace.guest_directory().join("debian");
    artifact::ensure(&directory, &inputs, |to| -> Result<(), DebianError> {
        fs::create_dir_all(to).map_err(|error| ArtifactError::new("create", to, error))?;
        let archive = to.join("root.tar");
        suite.write_archive(&archive, note)?;
        let mut finish = tool::command("sh")?;
        finish.args(["-c", FINISH, "finish"]).arg(&archive);
        tool::run(finish.arg(to.join("boot")))?;
        disk(&archive)?.write(&to.join("disk.img"), note)?;
        fs::remove_file(&archive).map_err(|error| ArtifactError::new("remove", &archive, error))?;
        Ok(())
    })?;
    Ok(DebianImages { directory })
}

fn suite(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<Suite, DebianError> {
    let mut suite = Suite::new(SUITE, &guest::cache(workspace), note)?;
    suite = suite.packages(PACKAGES).customized(CUSTOMIZE);
    for directory in LEFT_OUT {
        suite = suite.without(directory);
    }
    if !suite.has_sources() {
        suite = suite.option(format!("--setup-hook={ADD_BACKPORTS}"));
    }
    Ok(suite)
}

/// The root file system in an archive, as a disk.
fn disk(archive: &Path) -> Result<DiskImage, DebianError> {
    let uuid = Path::new("/proc/sys/kernel/random/uuid");
    let uuid = fs::read_to_string(uuid).map_err(|error| ArtifactError::new("read", uuid, error))?;
    Ok(DiskImage::archive(archive)
        .size(DISK_SIZE)
        .label("debian")
        // The settings of apt are for this host only.
        .without("/etc/apt/apt.conf.d/99mmdebstrap")
        // A system without a machine ID would set itself up at every boot from this image.
        .file("/etc/machine-id", 0o444, uuid.replace('-', "")))
}
