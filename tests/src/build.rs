//! Runs cargo to build other programs.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::tool::{self, ToolError};
use crate::workspace::Workspace;

/// Target of the guests' own configurations.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where a build's progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// On standard error, if that is a terminal.
    OnTerminal,
    /// Nowhere.
    Hidden,
}

/// The cargo that started this program.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TERM_COLOR", "never");
    // What `cargo run` sets describes this program only.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a `cargo build`, and returns its messages: a JSON object a line.
///
/// # Errors
///
/// Cargo cannot be run, or the build fails.
pub fn run(
    workspace: &Workspace,
    cargo: &mut Command,
    progress: Progress,
) -> Result<Vec<u8>, ToolError> {
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.current_dir(workspace.root());
    if io::stderr().is_terminal() && progress == Progress::OnTerminal {
        cargo.stderr(Stdio::inherit());
        cargo.env("CARGO_TERM_COLOR", "auto");
    } else {
        cargo.arg("--quiet");
    }
    tool::output(cargo)
}

/// What runs in guests and is built with flags of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// The guest without an operating system.
    Bare,
    /// The agent.
    Agent,
}

impl Guest {
    /// Its directory, and the name of its program.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Bare => ("resources/guests/bare", "bare-guest"),
            Self::Agent => ("resources/guests/agent", "faultvisor-agent"),
        }
    }
}

/// A cargo command for what runs in guests, which is not a member of the workspace.
pub fn guest_command(workspace: &Workspace, guest: Guest, subcommand: &str) -> Command {
    let directory = workspace.root().join(guest.names().0);
    let mut cargo = cargo();
    // Only the flags of its own configuration.
    cargo
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    cargo.arg(subcommand).args(["--quiet", "--release"]);
    cargo
        .arg("--config")
        .arg(directory.join(".cargo/config.toml"));
    cargo
        .arg("--manifest-path")
        .arg(directory.join("Cargo.toml"));
    cargo
        .arg("--target-dir")
        .arg(workspace.target().join("guests"));
    cargo
}

/// Builds what runs in guests, and returns its path.
///
/// # Errors
///
/// Cargo cannot be run, or the build fails.
pub fn guest(workspace: &Workspace, guest: Guest) -> Result<PathBuf, ToolError> {
    let mut cargo = guest_command(workspace, guest, "build");
    tool::run(cargo.current_dir(workspace.root()))?;
    let built = workspace.target().join("guests").join(GUEST_TARGET);
    Ok(built.join("release").join(guest.names().1))
}
