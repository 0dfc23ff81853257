//! `cargo xtask install`: installs the programs, the C library, manuals and shell completions.

mod documents;
mod library;
mod place;

use std::error::Error;
use std::path::{self, PathBuf};
use std::process::ExitCode;

use clap::Args;
use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

use crate::{binaries, console};
use place::Place;

/// The programs' names.
const PROGRAMS: [&str; 3] = ["faultvisor", "qmp", "fvctl"];
/// Where `fvctl` and the harness find the agent for guests, beside the programs' directory.
const AGENT: &str = "libexec/faultvisor/faultvisor-agent";

/// Where to install.
#[derive(Args)]
pub struct Options {
    /// The directory to install under, such as /usr/local.
    #[arg(long)]
    prefix: PathBuf,
    /// A staging directory that stands for /, for building a package.
    #[arg(long, value_name = "DIRECTORY")]
    destdir: Option<PathBuf>,
    /// Cargo's profile to build with.
    #[arg(long, default_value = "release")]
    profile: String,
}

/// Builds and installs everything.
pub fn perform(workspace: &Workspace, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let prefix = path::absolute(&options.prefix)?;
    let place = Place::new(&prefix, options.destdir.as_deref())?;
    console::note("building the programs and the C library");
    let built = binaries::build_shipped(workspace, &options.profile, build::cargo())?;
    for program in PROGRAMS {
        place.program(&built.join(program), &format!("bin/{program}"))?;
    }
    place.program(&build::guest(workspace, build::Guest::Agent)?, AGENT)?;
    library::install(workspace, &built, &place)?;
    documents::install(&place)?;
    console::note(&format!("installed under {}", place.root().display()));
    Ok(ExitCode::SUCCESS)
}
