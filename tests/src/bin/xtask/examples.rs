//! The examples of resources/examples, built for the end-to-end tests that run them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::binaries::Binaries;
use crate::{console, outside};

/// The built examples.
#[derive(Debug, Clone)]
pub struct Examples {
    /// The directory with all of them.
    pub directory: PathBuf,
    /// The names of those without further requirements, even in the lab.
    pub programs: Vec<&'static str>,
}

/// Builds them under `target/examples`.
pub fn build(workspace: &Workspace, binaries: &Binaries) -> Result<Examples, Box<dyn Error>> {
    console::note("building the examples");
    let directory = workspace.target().join("examples");
    fs::create_dir_all(&directory)?;
    let sources = workspace.root().join("resources/examples");
    let outside = outside::build(workspace)?;
    fs::copy(&outside.disk_error, directory.join("cargo-test"))?;
    let power_cut = directory.join("cargo-test-power-cut");
    fs::copy(&outside.power_cut, power_cut)?;
    compile(
        workspace,
        binaries,
        &sources.join("disk_error.c"),
        &directory.join("c"),
    )?;
    // Not an example, but built the same way: the library's own test, here against real servers.
    let client = workspace.root().join("client/capi/tests/c/client.c");
    compile(workspace, binaries, &client, &directory.join("c-client"))?;
    fs::copy(
        sources.join("disk_error.py"),
        directory.join("disk_error.py"),
    )?;
    Ok(Examples {
        directory,
        programs: vec!["cargo-test", "cargo-test-power-cut", "c"],
    })
}

/// Compiles a C source with libqmp, by the compiler that rustc links with.
fn compile(
    workspace: &Workspace,
    binaries: &Binaries,
    source: &Path,
    program: &Path,
) -> Result<(), ToolError> {
    let headers = workspace.root().join("client/capi/include");
    let mut cc = tool::command("cc")?;
    cc.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-O2"]);
    cc.arg("-I")
        .arg(headers)
        .arg(source)
        .arg(&binaries.c_library);
    tool::run(cc.args(["-lpthread", "-ldl", "-lm", "-o"]).arg(program))
}
