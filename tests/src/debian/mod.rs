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

pub(crate) mod sources;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
const PACKAGES: &str = "systemd-sysv,dbus,libpam-systemd,udev,kmod,login,passwd,initramfs-tools,\
                        linux-image-cloud-amd64";
/// Directories of `/usr/share` that no test reads.
const LEFT_OUT: [&str; 3] = ["doc", "man", "locale"];
const CUSTOMIZE: &str = include_str!("customize.sh");
const FINISH: &str = include_str!("finish.sh");
/// Debian's archive keys, where they are installed.
const KEYRING: &str = "usr/share/keyrings/debian-archive-keyring.gpg";
const KEYRING_PACKAGE: &str = "debian-archive-keyring";

/// Why there is no Debian.
#[derive(Debug, thiserror::Error)]
pub enum DebianError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
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
    let keyring = keyring(workspace, note)?;
    let list = sources::list(&keyring)?;
    // On a Debian 12 host, a new kernel makes a new image.
    let kernel = packages::candidate("linux-image-cloud-amd64")?;
    let recipe = (PACKAGES, LEFT_OUT, CUSTOMIZE, FINISH);
    let inputs = Fingerprint::new().value((recipe, &list, kernel));
    let directory = workspace.guest_directory().join("debian");
    artifact::ensure(&directory, &inputs, |to| -> Result<(), DebianError> {
        note("making a Debian 12, which takes some minutes");
        fs::create_dir_all(to).map_err(|error| ArtifactError::new("create", to, error))?;
        let archive = to.join("root.tar");
        tool::run(&mut mmdebstrap(&archive, list.as_deref(), &keyring)?)?;
        tool::run(&mut finish(&archive, to)?)?;
        Ok(())
    })?;
    Ok(DebianImages { directory })
}

/// The archive's keys: this machine's, or from their package.
pub(crate) fn keyring(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<PathBuf, DebianError> {
    let installed = Path::new("/").join(KEYRING);
    if installed.is_file() {
        return Ok(installed);
    }
    let cache = guest::cache(workspace);
    Ok(packages::unpack(KEYRING_PACKAGE, &cache, note)?
        .root
        .join(KEYRING))
}

/// The command that archives the root file system. An ordinary user needs user namespaces for it.
fn mmdebstrap(archive: &Path, list: Option<&str>, keyring: &Path) -> Result<Command, DebianError> {
    let mut command = tool::command(packages::MMDEBSTRAP.program)?;
    // It starts a Python for each package: force the system's, not one from the user's path.
    let mut path = OsString::from("/usr/sbin:/usr/bin:/sbin:/bin:");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path);
    command.args(["--variant=minbase", "--architectures=amd64"]);
    command.arg(format!("--include={PACKAGES}"));
    for part in LEFT_OUT {
        command.arg(format!("--dpkgopt=path-exclude=/usr/share/{part}/*"));
    }
    for option in sources::apt_options()? {
        command.arg(format!("--aptopt={option}"));
    }
    command.arg(format!("--customize-hook={CUSTOMIZE}"));
    match list {
        Some(list) => {
            let sources = archive.with_file_name("sources.list");
            fs::write(&sources, list)
                .map_err(|error| ArtifactError::new("write", &sources, error))?;
            command.arg(sources::SUITE).arg(archive).arg(sources);
        }
        // mmdebstrap uses its default sources.
        None => {
            command.arg(format!("--keyring={}", keyring.display()));
            command.arg(format!("--setup-hook={}", sources::ADD_BACKPORTS));
            command.arg(sources::SUITE).arg(archive);
        }
    }
    Ok(command)
}

/// The command that builds the disk image and extracts the kernels. For an ordinary user, fakeroot keeps the files'
/// owners.
fn finish(archive: &Path, directory: &Path) -> Result<Command, ToolError> {
    let mut command = if packages::is_root() {
        Command::new("sh")
    } else {
        let mut fakeroot = tool::command(packages::FAKEROOT.program)?;
        fakeroot.arg("sh");
        fakeroot
    };
    // Not always in an ordinary user's path.
    let mke2fs = tool::find(packages::MKE2FS.program);
    let beside = mke2fs.as_deref().and_then(Path::parent);
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":");
    path.push(beside.unwrap_or(Path::new("/sbin")));
    command.env("PATH", path).args(["-c", FINISH, "finish"]);
    command.arg(archive);
    for name in ["root", "disk.img", "boot"] {
        command.arg(directory.join(name));
    }
    Ok(command)
}
