//! Programs that the project needs beside those of its library: as root, apt installs what is missing; otherwise the
//! error contains the exact command.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use faultvisor_harness::packages;
use faultvisor_harness::tool::{self, ToolError};

pub use faultvisor_harness::packages::{
    FAKEROOT, MKE2FS, MMDEBSTRAP, PackagesError, QEMU, QEMU_IMG, Requirement, candidate, is_root,
    unpack,
};

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
/// Generates load on disks.
pub const FIO: Requirement = Requirement {
    program: "fio",
    package: "fio",
};
/// Prints the flags for compiling with an installed library.
pub const PKG_CONFIG: Requirement = Requirement {
    program: "pkg-config",
    package: "pkg-config",
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
/// Unpacks archives of sources.
pub const XZ: Requirement = Requirement {
    program: "xz",
    package: "xz-utils",
};

/// Why programs cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Programs are missing, and this process is not root.
    #[error("{programs} missing; as root, run: {command}")]
    NeedsRoot {
        /// The missing programs, as a list with its verb.
        programs: String,
        /// The command that installs them.
        command: String,
    },
    /// apt fails.
    #[error(transparent)]
    Tool(#[from] ToolError),
}

/// Installs what is missing, or returns the command for it.
pub fn ensure_installed(
    requirements: &[Requirement],
    note: &dyn Fn(&str),
) -> Result<(), InstallError> {
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
        return Err(InstallError::NeedsRoot {
            programs: format!("{programs} {verb}"),
            command: format!("apt-get update && {install}"),
        });
    }
    note(&format!("installing {packages}"));
    packages::update_lists(note)?;
    tool::run(
        tool::command("apt-get")?
            .args(install.split(' ').skip(1))
            // Other programs of this machine may be installing, too.
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )?;
    Ok(())
}
