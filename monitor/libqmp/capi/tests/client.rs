//! C programs that use the library, under valgrind.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

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

#[test]
fn unions_lists_and_what_is_optional_go_both_ways() {
    let workshop = Workshop::new();
    let server = Server::new();
    workshop.run_checked(&workshop.program("faults"), &[server.path.as_os_str()]);
}

#[test]
fn what_is_not_allowed_is_refused_by_its_name() {
    let workshop = Workshop::new();
    let server = Server::new();
    workshop.run_checked(&workshop.program("misuse"), &[server.path.as_os_str()]);
}

#[test]
fn objects_sessions_and_servers_may_go_in_any_order() {
    let workshop = Workshop::new();
    let server = Server::new();
    let path = server.path.clone();
    let hanging_up = thread::spawn(|| server.hang_up_on_quit());
    workshop.run_checked(&workshop.program("lifetimes"), &[path.as_os_str()]);
    hanging_up.join().unwrap();
}
