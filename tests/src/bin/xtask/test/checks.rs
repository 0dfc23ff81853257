//! Static checks: formatting, lints, documentation.

use std::process::Command;

use faultvisor_tests::build;
use faultvisor_tests::workspace::Workspace;

use crate::{cargo, fuzz};

/// Commands that check formatting.
pub fn formatting(workspace: &Workspace) -> [(&'static str, Command); 3] {
    let mut all = build::cargo();
    all.args(["fmt", "--all", "--", "--check"]);
    let mut guest = build::cargo();
    guest.args(["fmt", "--manifest-path"]);
    guest.args(["resources/guests/bare/Cargo.toml", "--", "--check"]);
    [
        ("formatting", all),
        ("formatting of the bare-metal guest", guest),
        (
            "formatting of the fuzz targets",
            fuzz::formatting(workspace),
        ),
    ]
}

/// Commands of cargo's checks.
pub fn by_cargo(workspace: &Workspace) -> [(&'static str, Command); 3] {
    let mut clippy = cargo::beside_guests();
    clippy.args(["clippy", "--quiet", "--workspace", "--all-targets"]);
    clippy.args(["--", "-D", "warnings"]);
    let mut documentation = cargo::beside_guests();
    documentation.args(["doc", "--quiet", "--workspace", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let mut guest_clippy = build::bare_guest_command(workspace, "clippy");
    guest_clippy.args(["--", "-D", "warnings"]);
    [
        ("clippy", clippy),
        ("clippy on the bare-metal guest", guest_clippy),
        ("documentation", documentation),
    ]
}
