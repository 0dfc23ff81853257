//! Mount namespaces, for ordinary users too.

use std::process::Command;

use faultvisor_tests::packages;
use faultvisor_tests::tool;

/// A command that runs a program in a mount namespace of its own, and for an ordinary user in a user namespace too, so
/// that it may mount. None if that is not permitted.
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
