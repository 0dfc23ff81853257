//! Where an ordinary user may mount, and where mounts go away by themselves.

use std::process::Command;

use faultvisor_tests::packages;
use faultvisor_tests::tool;

/// What runs a program where it may mount: in a mount namespace of its own, which takes its mounts with it, and for an
/// ordinary user in a user namespace too. None where that is not permitted.
pub fn command() -> Option<Command> {
    let mut unshare = tool::command("unshare").ok()?;
    unshare.arg("--mount");
    if !packages::is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    let mut attempt = Command::new(unshare.get_program());
    attempt.args(unshare.get_args());
    attempt.args(["mount", "-t", "tmpfs", "tmpfs", "/tmp"]);
    tool::run(&mut attempt).ok()?;
    Some(unshare)
}
