//! C programs that use the library, under valgrind.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;
use std::thread;

use support::Workshop;
use support::machine::Server;

#[test]
fn a_client_asks_commands_and_hears_without_an_error_or_a_leak() {
    let workshop = Workshop::new();
    let server = Server::new();
    let said = workshop.run_checked(&workshop.program("client"), &[server.path.as_os_str()]);
    assert!(said.contains("disk 'disk0': nospace, no medium"), "{said}");
}
