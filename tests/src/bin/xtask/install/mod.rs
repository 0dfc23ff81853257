//! `cargo xtask install`: the programs, the C library, manuals and shells' completions, where a system looks for them.

mod documents;
mod library;
mod place;

use std::error::Error;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::Args;
use faultvisor_tests::tool::{self, ToolError};
use faultvisor_tests::workspace::Workspace;

use crate::{cargo, console};
use place::Place;

/// The programs' names.
const PROGRAMS: [&str; 2] = ["faultvisor", "qmp"];

/// Where to put everything.
#[derive(Args)]
pub struct Options {
    /// The directory that it will be used under, such as /usr/local.
    #[arg(long)]
    prefix: PathBuf,
    /// A directory that stands for / until then, for who makes a package.
    #[arg(long, value_name = "DIRECTORY")]
    destdir: Option<PathBuf>,
    /// Cargo's profile to build with.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds everything, and puts it in place.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let prefix = path::absolute(&options.prefix)?;
    let place = Place::new(&prefix, options.destdir.as_deref())?;
    let built = build(workspace, &options.profile)?;
    for program in PROGRAMS {
        place.program(&built.join(program), &format!("bin/{program}"))?;
    }
    library::install(workspace, &built, &place)?;
    documents::install(&place)?;
    console::note(&format!("installed under {}", place.root().display()));
    Ok(ExitCode::SUCCESS)
}

/// Builds what is installed, and returns where it is.
fn build(workspace: &Workspace, profile: &str) -> Result<PathBuf, ToolError> {
    console::note("building the programs and the C library");
    let mut cargo = cargo::command();
    cargo.args(["build", "--quiet", "--profile", profile]);
    for package in ["faultvisor", "qmp", "libqmp-capi"] {
        cargo.args(["--package", package]);
    }
    tool::run(cargo.current_dir(workspace.root()))?;
    // Of all profiles only this one builds elsewhere than under its name.
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(workspace.target().join(directory))
}
