//! Where a monitor listens, and how it ends.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use faultvisor_monitor::{ListenAddress, LocalAddress, Machine, Monitor, Reply};
use faultvisor_schema::{Event, MachineCommand, MachineReturn};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use support::{Client, Server};
use tempfile::TempDir;

struct NoMachine;

impl Machine for NoMachine {
    fn submit(&self, _: MachineCommand, _: Reply) {}

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }

    fn has_device(&self, _: &str) -> bool {
        false
    }
}

fn bind(text: &str) -> Result<Monitor, String> {
    let address: ListenAddress = text.parse().unwrap();
    Monitor::builder()
        .bind(&[address])
        .map_err(|error| error.to_string())
}

#[test]
fn a_socket_is_for_its_owner_only_and_goes_with_the_monitor() {
    let server = Server::new();
    assert_eq!(
        fs::metadata(&server.path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    server.handle.shutdown(Duration::from_secs(60));
    assert!(!server.path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_one_in_use_is_not() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let text = format!("unix:{}", path.display());
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = bind(&text).unwrap();
    assert_eq!(
        bind(&text).unwrap_err(),
        format!("socket '{}' is in use", path.display())
    );
    drop(first);
    assert!(!path.exists());
    fs::write(&path, "").unwrap();
    assert_eq!(
        bind(&text).unwrap_err(),
        format!("'{}' is there already, and is no socket", path.display())
    );
    assert!(path.exists());
}

#[test]
fn a_socket_that_may_not_be_tried_is_not_said_to_be_in_use() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    drop(UnixListener::bind(&path).unwrap());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let text = format!("unix:{}", path.display());
    // Root passes every check: this thread drops its capabilities.
    let refused = std::thread::spawn(move || {
        let mut sets = capabilities(None).unwrap();
        sets.effective = CapabilitySet::empty();
        set_capabilities(None, sets).unwrap();
        bind(&text).unwrap_err()
    });
    let expected = format!(
        "socket '{}' is there already, and cannot be tried: Permission denied (os error 13)",
        path.display()
    );
    assert_eq!(refused.join().unwrap(), expected);
    assert!(path.exists());
}

#[test]
fn every_address_of_a_host_is_served_as_one_place() {
    let monitor = bind("tcp:localhost:0,max-clients=2,server=on").unwrap();
    let addresses: Vec<_> = monitor.local_addresses().to_vec();
    let (come, came) = std::sync::mpsc::channel();
    monitor.when_clients_came(move || come.send(()).unwrap());
    assert!(came.try_recv().is_err());
    let _handle = monitor.start(Box::new(NoMachine)).unwrap();
    let mut greeted = Vec::new();
    for address in addresses.iter().cycle().take(2) {
        let LocalAddress::Tcp(address) = address else {
            panic!("{address:?}")
        };
        let stream = TcpStream::connect(address).unwrap();
        let mut lines = BufReader::new(stream);
        let mut greeting = String::new();
        lines.read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("{\"QMP\": "), "{greeting}");
        greeted.push(lines);
    }
    came.recv_timeout(Duration::from_secs(60)).unwrap();
    // The limit is per listener, over all its addresses.
    for address in addresses {
        let LocalAddress::Tcp(address) = address else {
            panic!("{address:?}")
        };
        let mut farewell = String::new();
        let stream = TcpStream::connect(address).unwrap();
        BufReader::new(stream).read_line(&mut farewell).unwrap();
        assert!(
            farewell.contains("2 clients are connected already"),
            "{farewell}"
        );
    }
}

#[test]
fn a_path_that_is_not_there_is_named() {
    let error = bind("unix:/nonexistent/qmp.sock").unwrap_err();
    assert!(
        error.starts_with("cannot listen on socket '/nonexistent/qmp.sock': No such file"),
        "{error}"
    );
}

#[test]
fn tcp_serves_the_loopback_and_others_only_if_that_is_meant() {
    let monitor = bind("tcp:127.0.0.1:0").unwrap();
    let [LocalAddress::Tcp(address)] = monitor.local_addresses() else {
        panic!("one TCP address")
    };
    let in_use = bind(&format!("tcp:{address}")).unwrap_err();
    assert!(
        in_use.starts_with(&format!("cannot listen on '{address}': Address")),
        "{in_use}"
    );
    let stream = TcpStream::connect(address).unwrap();
    let handle = monitor.start(Box::new(NoMachine)).unwrap();
    let mut greeting = String::new();
    BufReader::new(stream).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("{\"QMP\": "));
    drop(handle);
    let error = bind("tcp:0.0.0.0:0").unwrap_err();
    assert_eq!(
        error,
        "'0.0.0.0:0' can be reached from other hosts: add allow-remote=on if that is meant"
    );
    assert!(bind("tcp::0").is_err());
    assert!(bind("tcp:0.0.0.0:0,allow-remote=on").is_ok());
}

#[test]
fn only_one_monitor_can_have_standard_input() {
    let addresses = ["stdio".parse().unwrap(), "stdio".parse().unwrap()];
    let error = Monitor::builder().bind(&addresses).unwrap_err();
    assert_eq!(
        error.to_string(),
        "'stdio' can be used for one monitor only"
    );
}

#[test]
fn wait_on_waits_for_the_first_client() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let monitor = bind(&format!("unix:{},wait=on", path.display())).unwrap();
    let (come, came) = std::sync::mpsc::channel();
    monitor.when_clients_came(move || come.send(()).unwrap());
    let _handle = monitor.start(Box::new(NoMachine)).unwrap();
    assert!(came.try_recv().is_err());
    let mut client = Client::connect(&path);
    client.read();
    came.recv_timeout(Duration::from_secs(60)).unwrap();
}

#[test]
fn without_wait_nobody_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let monitor = bind(&format!("unix:{}", path.display())).unwrap();
    let (come, came) = std::sync::mpsc::channel();
    monitor.when_clients_came(move || come.send(()).unwrap());
    assert!(came.try_recv().is_ok());
}

#[test]
fn each_address_can_have_limits_of_its_own() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let monitor = bind(&format!("unix:{},max-clients=1", path.display())).unwrap();
    let _handle = monitor.start(Box::new(NoMachine)).unwrap();
    let mut one = Client::connect(&path);
    assert!(one.read()["QMP"].is_object());
    let mut other = Client::connect(&path);
    assert_eq!(
        other.read()["error"]["desc"],
        "1 clients are connected already"
    );
}

#[test]
fn shutting_down_sends_what_is_left_to_send() {
    const EVENTS: usize = 5000;
    let server = Server::new();
    let mut client = server.client();
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        while let Some(line) = client.line() {
            lines.push(line);
        }
        lines
    });
    for _ in 0..EVENTS {
        server.signals.raise(Event::Stop);
    }
    server.signals.raise(Event::Resume);
    server.handle.shutdown(Duration::from_secs(60));
    let lines = reader.join().unwrap();
    assert_eq!(lines.len(), EVENTS + 1);
    assert!(lines[EVENTS].contains("RESUME"));
}

#[test]
fn shutting_down_sends_a_default_event_that_was_held_back() {
    let server = Server::with(Monitor::builder().default_event_interval(Duration::MAX));
    let mut client = server.client();
    for reason in ["first", "last"] {
        server.signals.raise(support::io_error("disk0", reason));
    }
    server.handle.shutdown(Duration::MAX);
    assert_eq!(client.read()["data"]["reason"], "first");
    assert_eq!(client.read()["data"]["reason"], "last");
    assert!(client.line().is_none());
}

#[test]
fn a_client_that_never_reads_cannot_keep_the_monitor_from_ending() {
    let server = Server::with(Monitor::builder().default_event_interval(Duration::ZERO));
    let client = server.client();
    for _ in 0..20_000 {
        server.signals.raise(Event::Stop);
    }
    server.handle.shutdown(Duration::from_millis(50));
    drop(client);
}

#[test]
fn events_raised_before_the_start_are_kept() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let monitor = bind(&format!("unix:{}", path.display())).unwrap();
    monitor.signals().raise(Event::Stop);
    // No client is connected then; the call must have no effect.
    let _handle = monitor.start(Box::new(NoMachine)).unwrap();
    Client::connect(&path).read();
}
