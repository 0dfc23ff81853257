//! The examples of resources/examples, built for the end-to-end tests that run them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::{binaries, console};

/// Where they are.
pub struct Examples {
    /// All of them.
    pub directory: PathBuf,
    /// The names of those that need nothing else, in the lab neither.
    pub programs: Vec<&'static str>,
}

/// Builds them under `target/examples`.
pub fn build(workspace: &Workspace) -> Result<Examples, Box<dyn Error>> {
    console::note("building the examples");
    let directory = workspace.target().join("examples");
    fs::create_dir_all(&directory)?;
    let sources = workspace.root().join("resources/examples");
    let test = binaries::build_test(workspace, "faultvisor-example", "disk_error")?;
    fs::copy(test, directory.join("cargo-test"))?;
    compile(
        workspace,
        &sources.join("disk_error.c"),
        &directory.join("c"),
    )?;
    fs::copy(
        sources.join("disk_error.py"),
        directory.join("disk_error.py"),
    )?;
    Ok(Examples {
        directory,
        programs: vec!["cargo-test", "c"],
    })
}

/// Makes a static program of a C source that uses libqmp, by the compiler that rustc needs too.
fn compile(workspace: &Workspace, source: &Path, program: &Path) -> Result<(), ToolError> {
    let library = binaries::build_c_library(workspace)?;
    let headers = workspace.root().join("monitor/libqmp/capi/include");
    let mut cc = tool::command("cc")?;
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2", "-static"]);
    cc.arg("-I").arg(headers).arg(source).arg(library);
    tool::run(cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(program))
}
