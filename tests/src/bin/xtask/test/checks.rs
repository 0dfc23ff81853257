//! Static checks: formatting, lints, documentation.

use std::process::Command;

use faultvisor_tests::build::{self, Guest};
use faultvisor_tests::workspace::Workspace;

use crate::{cargo, fuzz};

/// Commands that check formatting.
pub fn formatting(workspace: &Workspace) -> [(&'static str, Command); 4] {
    let mut all = build::cargo();
    all.args(["fmt", "--all", "--", "--check"]);
    let mut guest = build::cargo();
    guest.args(["fmt", "--manifest-path"]);
    guest.args(["resources/guests/bare/Cargo.toml", "--", "--check"]);
    let mut agent = build::cargo();
    agent.args(["fmt", "--manifest-path"]);
    agent.args(["resources/guests/agent/Cargo.toml", "--", "--check"]);
    [
        ("formatting", all),
        ("formatting of the bare-metal guest", guest),
        ("formatting of the agent", agent),
        (
            "formatting of the fuzz targets",
            fuzz::formatting(workspace),
        ),
    ]
}

/// Commands of cargo's checks.
pub fn by_cargo(workspace: &Workspace) -> [(&'static str, Command); 4] {
    let mut clippy = cargo::beside_guests();
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
    clippy.args(["--", "-D", "warnings"]);
    let mut documentation = cargo::beside_guests();
    documentation.args(["doc", "--quiet", "--workspace", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut guest_clippy = build::guest_command(workspace, Guest::Bare, "clippy");
    guest_clippy.args(["--", "-D", "warnings"]);
    let mut agent_clippy = build::guest_command(workspace, Guest::Agent, "clippy");
    agent_clippy.args(["--", "-D", "warnings"]);
    [
        ("clippy", clippy),
        ("clippy on the bare-metal guest", guest_clippy),
        ("clippy on the agent", agent_clippy),
        ("documentation", documentation),
    ]
}
