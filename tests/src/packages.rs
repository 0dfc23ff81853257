//! Packages of the Debian or Ubuntu archive that the project needs.
//!
//! As root, apt installs the programs that must be installed; otherwise the error contains the exact command. Files
//! that only go into images (the kernel, busybox) are fetched and unpacked without privilege.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::artifact::{self, ArtifactError, Fingerprint, Freshness};
use crate::tool::{self, ToolError};

/// A program and its package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The program's name in `PATH`.
    pub program: &'static str,
    /// The Debian package; Ubuntu uses the same names.
    pub package: &'static str,
}

/// Compiles programs that use the C library.
pub const CC: Requirement = Requirement {
    program: "cc",
    package: "gcc",
};
/// Compiles libFuzzer, and programs that use the C library.
pub const CXX: Requirement = Requirement {
    program: "c++",
    package: "g++",
};
/// Builds images with files of other owners as an ordinary user.
pub const FAKEROOT: Requirement = Requirement {
    program: "fakeroot",
    package: "fakeroot",
};
/// Generates load on disks.
pub const FIO: Requirement = Requirement {
    program: "fio",
    package: "fio",
};
/// Makes file systems, for the guest's disk image and in guests.
pub const MKE2FS: Requirement = Requirement {
    program: "mke2fs",
    package: "e2fsprogs",
};
/// Installs Debian into a directory.
pub const MMDEBSTRAP: Requirement = Requirement {
    program: "mmdebstrap",
    package: "mmdebstrap",
};
/// Prints the flags for compiling with an installed library.
pub const PKG_CONFIG: Requirement = Requirement {
    program: "pkg-config",
    package: "pkg-config",
};
/// Runs the lab.
pub const QEMU: Requirement = Requirement {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
};
/// Makes, checks and compares images in QEMU's formats.
pub const QEMU_IMG: Requirement = Requirement {
    program: "qemu-img",
    package: "qemu-utils",
};
/// Opens images as QEMU does.
pub const QEMU_IO: Requirement = Requirement {
    program: "qemu-io",
    package: "qemu-utils",
};
/// Databases, in guests.
pub const SQLITE: Requirement = Requirement {
    program: "sqlite3",
    package: "sqlite3",
};
/// Finds memory errors of C programs.
pub const VALGRIND: Requirement = Requirement {
    program: "valgrind",
    package: "valgrind",
};
/// Makes and checks XFS, in guests.
pub const XFSPROGS: Requirement = Requirement {
    program: "mkfs.xfs",
    package: "xfsprogs",
};
/// Unpacks compressed kernels and modules.
pub const XZ: Requirement = Requirement {
    program: "xz",
    package: "xz-utils",
};
/// Unpacks compressed kernels and modules.
pub const ZSTD: Requirement = Requirement {
    program: "zstd",
    package: "zstd",
};

/// Why something cannot be obtained from the archive.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// Programs are missing, and this process is not root.
    #[error("{programs} missing; as root, run: {command}")]
    NeedsRoot {
        /// The missing programs, as a list with its verb.
        programs: String,
        /// The command that installs them.
        command: String,
    },
    /// apt knows none of the packages.
    #[error(
        "apt knows none of these packages: {0}; if its lists are empty, run as root: apt-get update"
    )]
    Unknown(String),
    /// The package depends on no kernel image.
    #[error("package '{0}' depends on no kernel image")]
    NoImage(String),
    /// The package was fetched, but lacks the expected file.
    #[error("package '{package}' holds no '{file}'")]
    Lacks {
        /// The package.
        package: String,
        /// The expected file.
        file: String,
    },
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// Installs what is missing, or returns the command for it.
pub fn ensure_installed(
    requirements: &[Requirement],
    note: &dyn Fn(&str),
) -> Result<(), PackagesError> {
    // dpkg's lock admits one at a time; a second caller may find everything installed.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _installing = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    let missing: Vec<_> = requirements
        .iter()
        .filter(|needed| tool::find(needed.program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: BTreeSet<_> = missing.iter().map(|needed| needed.package).collect();
    let packages = packages.into_iter().collect::<Vec<_>>().join(" ");
    let install = format!("apt-get install -y --no-install-recommends {packages}");
    if !is_root() {
        let programs = missing
            .iter()
            .map(|needed| needed.program)
            .collect::<Vec<_>>()
            .join(", ");
        let verb = if missing.len() == 1 { "is" } else { "are" };
        return Err(PackagesError::NeedsRoot {
            programs: format!("{programs} {verb}"),
            command: format!("apt-get update && {install}"),
        });
    }
    note(&format!("installing {packages}"));
    update_lists()?;
    tool::run(
        tool::command("apt-get")?
            .args(install.split(' ').skip(1))
            // Other programs of this machine may be installing, too.
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}

/// A package's files, unpacked.
#[derive(Debug, Clone)]
pub struct Unpacked {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The directory that represents `/`.
    pub root: PathBuf,
    /// Whether it was fetched by this call.
    pub freshness: Freshness,
}

/// Fetches `package` and unpacks it under `cache`, without privilege and without installing it.
pub fn unpack(package: &str, cache: &Path, note: &dyn Fn(&str)) -> Result<Unpacked, PackagesError> {
    let root = cache.join(package);
    let version = candidate(package)?.ok_or_else(|| PackagesError::Unknown(package.to_owned()))?;
    let fingerprint = Fingerprint::new().value(&version);
    let freshness = artifact::ensure(
        &root,
        &fingerprint,
        |temporary| -> Result<(), PackagesError> {
            note(&format!("fetching {package} {version}"));
            let unwritable = |error| ArtifactError::new("create", temporary, error);
            fs::create_dir_all(temporary).map_err(unwritable)?;
            let download = tempfile::tempdir_in(cache).map_err(unwritable)?;
            let mut fetch = tool::command("apt-get")?;
            // apt's sandbox user cannot write to a private directory, and warns about it.
            fetch
                .args(["-o", "APT::Sandbox::User=root", "download", package])
                .current_dir(download.path());
            tool::run(&mut fetch)?;
            let archive = only_file(download.path()).map_err(|error| {
                ArtifactError::new("find the package in", download.path(), error)
            })?;
            tool::run(tool::command("dpkg")?.arg("-x").arg(archive).arg(temporary))?;
            Ok(())
        },
    )?;
    Ok(Unpacked {
        package: package.to_owned(),
        version,
        root,
        freshness,
    })
}

/// The first of `packages` that apt knows; as root, its lists are updated if it knows none.
pub fn first_known<'a>(packages: &[&'a str]) -> Result<&'a str, PackagesError> {
    let known = |packages: &[&'a str]| -> Result<Option<&'a str>, PackagesError> {
        for package in packages {
            if candidate(package)?.is_some() {
                return Ok(Some(package));
            }
        }
        Ok(None)
    };
    if let Some(package) = known(packages)? {
        return Ok(package);
    }
    if is_root() {
        update_lists()?;
        if let Some(package) = known(packages)? {
            return Ok(package);
        }
    }
    Err(PackagesError::Unknown(packages.join(", ")))
}

/// The direct dependencies of a package, without versions and alternatives.
pub fn dependencies(package: &str) -> Result<Vec<String>, PackagesError> {
    let shown =
        tool::output(tool::command("apt-cache")?.args(["show", "--no-all-versions", package]))?;
    Ok(parse_dependencies(&String::from_utf8_lossy(&shown)))
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn update_lists() -> Result<(), PackagesError> {
    Ok(tool::run(tool::command("apt-get")?.arg("update"))?)
}

/// The version of a package that apt would install; none if it knows no such package.
pub fn candidate(package: &str) -> Result<Option<String>, PackagesError> {
    let policy = tool::output(
        tool::command("apt-cache")?
            .args(["policy", package])
            .env("LC_ALL", "C"),
    )?;
    Ok(parse_candidate(&String::from_utf8_lossy(&policy)))
}

fn parse_candidate(policy: &str) -> Option<String> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn parse_dependencies(shown: &str) -> Vec<String> {
    let names = shown
        .lines()
        .find_map(|line| line.strip_prefix("Depends: "))
        .unwrap_or_default();
    let first_word = |entry: &str| {
        entry
            .split([' ', '(', '|'])
            .find(|word| !word.is_empty())
            .map(str::to_owned)
    };
    names.split(',').filter_map(first_word).collect()
}

fn only_file(directory: &Path) -> io::Result<PathBuf> {
    match fs::read_dir(directory)?.next() {
        Some(entry) => Ok(entry?.path()),
        None => Err(io::Error::from(io::ErrorKind::NotFound)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_version_is_parsed_from_apts_policy() {
        let policy = "linux-image-cloud-amd64:\n  Installed: (none)\n  Candidate: 6.1.192-2\n  Version table:\n";
        assert_eq!(parse_candidate(policy).as_deref(), Some("6.1.192-2"));
        assert_eq!(
            parse_candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(parse_candidate(""), None);
    }

    #[test]
    fn dependencies_lose_their_versions_and_alternatives() {
        let shown = "Package: p\nDepends: linux-image-6.1.0-56-cloud-amd64 (= 6.1.192-2), kmod | busybox, initramfs\n";
        assert_eq!(
            parse_dependencies(shown),
            ["linux-image-6.1.0-56-cloud-amd64", "kmod", "initramfs"]
        );
        assert!(parse_dependencies("Package: p\n").is_empty());
    }
}
