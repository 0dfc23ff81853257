//! Cargo, as the project's own programs run it to build others.

use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::tool::{self, ToolError};
use crate::workspace::Workspace;

/// Where the bare-metal guest's own configuration has it built.
const GUEST_TARGET: &str = "x86_64-unknown-linux-gnu";

/// Where a build's progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// To standard error, where that is a terminal.
    OnTerminal,
    /// Nowhere.
    Hidden,
}

/// The cargo that this was started by.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.env("CARGO_TERM_COLOR", "never");
    // What `cargo run` has set for this program is about this program.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a `cargo build`, and returns what it says of what it has built: a JSON message a line.
///
/// # Errors
///
/// Cargo cannot be run, or does not build it.
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

/// A cargo command for the bare-metal guest, which is no member of the workspace.
pub fn bare_guest_command(workspace: &Workspace, subcommand: &str) -> Command {
    let directory = workspace.root().join("resources/guests/bare");
    let mut cargo = cargo();
    // Its own flags only: these make it a kernel.
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

/// Builds the bare-metal guest, and returns where it is.
///
/// # Errors
///
/// Cargo cannot be run, or does not build it.
pub fn bare_guest(workspace: &Workspace) -> Result<PathBuf, ToolError> {
    let mut cargo = bare_guest_command(workspace, "build");
    tool::run(cargo.current_dir(workspace.root()))?;
    let built = workspace.target().join("guests").join(GUEST_TARGET);
    Ok(built.join("release/bare-guest"))
}
