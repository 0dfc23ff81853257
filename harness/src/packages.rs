//! Packages of the Debian or Ubuntu archive, unpacked without privilege and without installing them; and the programs
//! of this machine that images are made with.

use std::fs;
use std::hash::Hash;
use std::io;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::cache::artifact::{ArtifactError, Fingerprint, Freshness};
use crate::tool::{self, ToolError};

/// A program and its package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requirement {
    /// The program's name in `PATH`.
    pub program: &'static str,
    /// The Debian package; Ubuntu uses the same names.
    pub package: &'static str,
}

/// Builds images with files of other owners as an ordinary user.
pub const FAKEROOT: Requirement = Requirement {
    program: "fakeroot",
    package: "fakeroot",
};
/// Makes file systems, on disk images and in guests.
pub const MKE2FS: Requirement = Requirement {
    program: "mke2fs",
    package: "e2fsprogs",
};
/// Installs Debian into a directory.
pub const MMDEBSTRAP: Requirement = Requirement {
    program: "mmdebstrap",
    package: "mmdebstrap",
};
/// Makes, checks and compares images in QEMU's formats.
pub const QEMU_IMG: Requirement = Requirement {
    program: "qemu-img",
    package: "qemu-utils",
};
/// Reads file systems of the ext family without mounting them.
pub const DEBUGFS: Requirement = Requirement {
    program: "debugfs",
    package: "e2fsprogs",
};
/// The small programs of a guest, in one.
pub const BUSYBOX: Requirement = Requirement {
    program: "busybox",
    package: "busybox-static",
};
/// Runs the lab.
pub const QEMU: Requirement = Requirement {
    program: "qemu-system-x86_64",
    package: "qemu-system-x86",
};
/// Unpacks packages.
pub const DPKG: Requirement = Requirement {
    program: "dpkg",
    package: "dpkg",
};
/// Unpacks archives.
pub const TAR: Requirement = Requirement {
    program: "tar",
    package: "tar",
};

/// What this library runs.
const KNOWN: [Requirement; 9] = [
    BUSYBOX, DEBUGFS, DPKG, FAKEROOT, MKE2FS, MMDEBSTRAP, QEMU, QEMU_IMG, TAR,
];

/// The end of a message about a missing program: the command that installs it; empty if its package is unknown.
pub fn install_hint(program: &str) -> String {
    match KNOWN.iter().find(|known| known.program == program) {
        Some(known) => format!("; as root, run: apt-get install {}", known.package),
        None => String::new(),
    }
}

/// What changes whenever apt may answer otherwise.
const APT_STATE: [&str; 5] = [
    "/etc/apt/sources.list",
    "/etc/apt/sources.list.d",
    "/etc/apt/preferences.d",
    "/var/lib/apt/lists",
    "/var/lib/dpkg/status",
];

/// Why something cannot be obtained from the archive.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// apt knows none of the packages.
    #[error(
        "apt knows none of these packages: {0}; if its lists are empty, run as root: apt-get update"
    )]
    Unknown(String),
    /// A program is not installed, and its package cannot be fetched instead.
    #[error("'{program}' is not installed{hint}", program = .requirement.program, hint = install_hint(.requirement.program))]
    NoProgram {
        /// The program.
        requirement: Requirement,
        /// Why its package cannot be fetched.
        #[source]
        cause: Box<PackagesError>,
    },
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

/// Fetches `package` and unpacks it into the cache, without privilege and without installing it.
///
/// # Errors
///
/// apt does not know the package, or cannot fetch it.
pub fn unpack(
    package: &str,
    cache: &Cache,
    note: &dyn Fn(&str),
) -> Result<Unpacked, PackagesError> {
    let version = remembered(cache, ("candidate", package), || {
        candidate(package)?.ok_or_else(|| PackagesError::Unknown(package.to_owned()))
    })?;
    let (root, freshness) = cache.ensure_named(
        "packages",
        &format!("{package}_{version}"),
        |temporary| -> Result<(), PackagesError> {
            note(&format!("fetching {package} {version}"));
            let unwritable = |error| ArtifactError::new("create", temporary, error);
            fs::create_dir_all(temporary).map_err(unwritable)?;
            // Within, so that nothing of a killed process stays.
            let download = tempfile::tempdir_in(temporary).map_err(unwritable)?;
            let mut fetch = tool::command("apt-get")?;
            // apt's sandbox user cannot write to a private directory, and warns about it.
            fetch
                .args(["-o", "APT::Sandbox::User=root", "download"])
                .arg(format!("{package}={version}"))
                .current_dir(download.path());
            tool::run(&mut fetch)?;
            let archive = only_file(download.path()).map_err(|error| {
                ArtifactError::new("find the package in", download.path(), error)
            })?;
            tool::run(
                tool::command(DPKG.program)?
                    .arg("-x")
                    .arg(archive)
                    .arg(temporary),
            )?;
            download
                .close()
                .map_err(|error| ArtifactError::new("remove a directory in", temporary, error))?;
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

/// What `answer` says; in further calls with the same question, what it said, until apt's lists change. Asking apt takes
/// a tenth of a second.
pub(crate) fn remembered<E: From<ArtifactError>>(
    cache: &Cache,
    question: impl Hash,
    answer: impl FnOnce() -> Result<String, E>,
) -> Result<String, E> {
    let mut inputs = Fingerprint::new().value(question);
    for path in APT_STATE {
        // A host may lack some of them.
        let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
        inputs = inputs.value(modified.ok());
    }
    let path = cache.ensure("apt", &inputs, ".txt", |to| -> Result<(), E> {
        let answer = answer()?;
        Ok(fs::write(to, answer).map_err(|error| ArtifactError::new("write", to, error))?)
    })?;
    Ok(fs::read_to_string(&path).map_err(|error| ArtifactError::new("read", &path, error))?)
}

/// The first of `packages` that apt knows; as root, its lists are updated if it knows none.
///
/// # Errors
///
/// apt knows none of them.
pub fn first_known<'a>(
    packages: &[&'a str],
    note: &dyn Fn(&str),
) -> Result<&'a str, PackagesError> {
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
        update_lists(note)?;
        if let Some(package) = known(packages)? {
            return Ok(package);
        }
    }
    Err(PackagesError::Unknown(packages.join(", ")))
}

/// The direct dependencies of a package, without versions and alternatives.
///
/// # Errors
///
/// apt fails.
pub fn dependencies(package: &str) -> Result<Vec<String>, PackagesError> {
    let shown =
        tool::output(tool::command("apt-cache")?.args(["show", "--no-all-versions", package]))?;
    Ok(parse_dependencies(&String::from_utf8_lossy(&shown)))
}

/// Whether this process may install packages.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Updates apt's lists, as root.
///
/// # Errors
///
/// apt fails.
pub fn update_lists(note: &dyn Fn(&str)) -> Result<(), ToolError> {
    note("updating apt's lists");
    tool::run(tool::command("apt-get")?.arg("update"))
}

/// The version of a package that apt would install; none if it knows no such package.
///
/// # Errors
///
/// apt fails.
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
    fn a_missing_program_comes_with_the_command_that_installs_it() {
        let error = PackagesError::NoProgram {
            requirement: BUSYBOX,
            cause: Box::new(PackagesError::Unknown("busybox-static".to_owned())),
        };
        assert_eq!(
            error.to_string(),
            "'busybox' is not installed; as root, run: apt-get install busybox-static"
        );
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
