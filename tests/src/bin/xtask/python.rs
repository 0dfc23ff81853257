//! A Python with QEMU's own client library, for tests of the monitor, and with cffi, for one that parses libqmp's
//! header.

use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_tests::suite::chain;
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::console;

/// Packages of the virtual environment.
const LIBRARIES: [&str; 2] = ["qemu.qmp==0.0.6", "cffi==2.1.1"];

/// A Python in a virtual environment under `target/` that has [`LIBRARIES`]. Without one, tests that need it are
/// skipped by name; this reports why.
pub fn with_qmp(workspace: &Workspace) -> Option<PathBuf> {
    let directory = workspace.target().join("python");
    let python = directory.join("bin/python3");
    if has_libraries(&python) {
        return Some(python);
    }
    console::note("making a Python virtual environment with qemu.qmp");
    match make(&directory, &python) {
        Ok(()) => Some(python),
        Err(error) => {
            console::note(&format!("no Python with qemu.qmp: {}", chain(&error)));
            None
        }
    }
}

fn has_libraries(python: &Path) -> bool {
    python.is_file()
        && tool::run(Command::new(python).args(["-c", "import qemu.qmp, cffi"])).is_ok()
}

fn make(directory: &Path, python: &Path) -> Result<(), ToolError> {
    if let Err(error) = make_environment(directory) {
        // Debian has the requirements of `venv` in a separate package.
        if !rustix::process::geteuid().is_root() {
            return Err(error);
        }
        let mut apt = tool::command("apt-get")?;
        apt.args([
            "install",
            "--yes",
            "--no-install-recommends",
            "python3-venv",
        ]);
        tool::run(apt.env("DEBIAN_FRONTEND", "noninteractive"))?;
        make_environment(directory)?;
    }
    let pip = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    tool::run(Command::new(python).args(pip).args(LIBRARIES))
}

fn make_environment(directory: &Path) -> Result<(), ToolError> {
    let mut python = tool::command("python3")?;
    tool::run(python.args(["-m", "venv", "--clear"]).arg(directory))
}
