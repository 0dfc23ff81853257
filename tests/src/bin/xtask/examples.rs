//! The examples of resources/examples, built for the end-to-end tests that run them.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

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
    fs::copy(
        sources.join("disk_error.py"),
        directory.join("disk_error.py"),
    )?;
    Ok(Examples {
        directory,
        programs: vec!["cargo-test"],
    })
}
