//! Errors of connecting that a person can act on: no server, or not a QMP server.

// Tests may fail by panicking, in what they share too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use faultvisor_monitor::{ListenAddress, Monitor};
use libqmp::{Error, Session};
use support::{GREETING, PATIENCE, Scripted, Server, scripted};
use tempfile::TempDir;

fn refused(address: &str) -> String {
    Session::connect(address).unwrap_err().to_string()
}

#[test]
fn a_missing_socket_is_named() {
    let directory = TempDir::new().unwrap();
    let address = format!("unix:{}", directory.path().join("none").display());
    assert_eq!(
        refused(&address),
        format!(
            "cannot connect to '{address}': No such file or directory (os error 2) \
             (does the machine run, and with this --qmp?)"
        )
    );
}

#[test]
fn a_socket_without_its_listener_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("left");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let error = refused(path.to_str().unwrap());
    assert!(
        error.contains("Connection refused") && error.contains("has the machine ended?"),
        "{error}"
    );
}

#[test]
fn a_socket_of_another_user_is_named() {
    // Root is never refused, so a process without its capabilities connects.
    let server = Server::new();
    let directory = server.path.parent().unwrap().to_owned();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&directory, permissions).unwrap();
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&server.path, permissions).unwrap();
    let error = as_nobody(&server.address());
    assert!(error.contains("Permission denied"), "{error}");
    assert!(
        error.contains("the socket belongs to another user"),
        "{error}"
    );
}

/// The error of a session in a process that may not open the socket.
fn as_nobody(address: &str) -> String {
    const ROLE: &str = "LIBQMP_TEST_CONNECTS_TO";
    if let Ok(address) = std::env::var(ROLE) {
        // In that process: the test runs in it again, up to here.
        let nobody = rustix::process::Uid::from_raw(65_534);
        rustix::thread::set_thread_uid(nobody).unwrap();
        eprintln!("said: {}", refused(&address));
        std::process::exit(0);
    }
    if !rustix::process::geteuid().is_root() {
        // Without root only a mode that excludes the owner, too, can refuse.
        let path = address.trim_start_matches("unix:");
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o000);
        std::fs::set_permissions(path, permissions).unwrap();
        return refused(address);
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_socket_of_another_user_is_named",
            "--nocapture",
        ])
        .env(ROLE, address)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines()
        .find_map(|line| line.strip_prefix("said: "))
        .unwrap_or(&said)
        .to_owned()
}

#[test]
fn a_server_that_starts_later_is_waited_for() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("late");
    let address = format!("unix:{}", path.display());
    let connecting = {
        let address = address.clone();
        thread::spawn(move || Session::options().within(PATIENCE).connect(&address))
    };
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut stream = listener.accept().unwrap().0;
    stream.write_all(GREETING.as_bytes()).unwrap();
    drop(stream);
    let error = connecting.join().unwrap().unwrap_err().to_string();
    assert!(error.contains("hung up during the negotiation"), "{error}");
}

#[test]
fn a_peer_that_is_not_a_qmp_server_is_described() {
    for said in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "220 mail",
        "{\"jsonrpc\": \"2.0\"}\n",
        "{\"QMP\": 1}\n",
    ] {
        let (address, _server, _directory) = scripted(move |server| server.say(said));
        let error = refused(&address);
        let expected = format!(
            "'{address}' is no QMP server: it said '{}' instead of a greeting",
            said.trim_end()
        );
        assert_eq!(error, expected);
    }
}

#[test]
fn endless_output_before_a_greeting_ends_the_attempt() {
    let (address, _server, _directory) = scripted(|server: &mut Scripted| {
        for _ in 0..100 {
            server.say(&"{".repeat(4096));
        }
    });
    let error = refused(&address);
    assert!(error.contains("is no QMP server: it said '{{{{"), "{error}");
    assert!(error.len() < 500, "{error}");
}

#[test]
fn an_early_hang_up_is_reported_with_its_moment() {
    let hung_up = |said: &'static str| {
        let (address, _server, _directory) = scripted(move |server| server.say(said));
        refused(&address).replace(&address, "")
    };
    assert_eq!(
        hung_up(""),
        "'' hung up before its greeting (has it as many clients as it takes, or is it no QMP server?)"
    );
    assert_eq!(
        hung_up("{\"QMP\": {\"ver"),
        "'' hung up in the middle of its greeting"
    );
    assert_eq!(hung_up(GREETING), "'' hung up during the negotiation");
}

#[test]
fn a_silent_server_times_out() {
    // A monitor of JSON-RPC, which waits for its client to begin.
    let (address, server, _directory) = scripted(Scripted::hear);
    let within = Duration::from_millis(20);
    let error = Session::options()
        .within(within)
        .connect(&address)
        .unwrap_err();
    assert!(matches!(error, Error::NoGreeting { .. }), "{error}");
    assert!(error.to_string().contains("and not JSON-RPC"), "{error}");
    server.join().unwrap();
}

#[test]
fn the_limit_of_calls_applies_to_greeting_and_negotiation() {
    let within = Duration::from_millis(20);
    let refused = |said: &'static str, hears: usize| {
        let (address, server, _directory) = scripted(move |server: &mut Scripted| {
            server.say(said);
            // Reads the client's requests, until it disconnects.
            for _ in 0..hears {
                server.hear();
            }
        });
        let error = Session::options()
            .timeout(within)
            .connect(&address)
            .unwrap_err();
        server.join().unwrap();
        error
    };
    let error = refused("", 1);
    assert!(
        matches!(error, Error::NoGreeting { within: told, .. } if told == within),
        "{error}"
    );
    let error = refused(GREETING, 2);
    assert!(
        matches!(error, Error::TimedOut { within: told, .. } if told == within),
        "{error}"
    );
}

#[test]
fn a_server_with_a_full_backlog_times_out() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("qmp.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _first = UnixStream::connect(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let (done, result) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let brief = Duration::from_millis(50);
        for options in [
            Session::options().within(brief),
            Session::options().timeout(brief),
        ] {
            let _ = done.send(options.connect(&address).unwrap_err().to_string());
        }
    });
    for _ in 0..2 {
        let error = result.recv_timeout(PATIENCE).unwrap();
        assert!(error.contains("too many wait for it already"), "{error}");
    }
}

#[test]
fn tcp_and_connected_sockets_work() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address: ListenAddress = format!("tcp:127.0.0.1:{port}").parse().unwrap();
    let server = Server::new();
    let monitor = Monitor::builder().bind(&[address]).unwrap();
    let _handle = monitor.start(Box::new(support::Silent)).unwrap();
    let session = Session::connect(&format!("tcp:localhost:{port}")).unwrap();
    assert!(session.query_status().unwrap().running);
    let socket = UnixStream::connect(&server.path).unwrap();
    let session = Session::options().from_fd(socket.into()).unwrap();
    assert!(session.query_status().unwrap().running);
}

#[test]
fn a_program_lives_no_longer_than_its_session() {
    // Acts as a server, and waits for an end that only its session can bring.
    let script = format!(
        "fd=${{2#fd:}}; eval \"exec 3<&$fd 4>&$fd\"; printf '%s' '{GREETING}' >&4; read a <&3; \
         echo '{{\"return\": {{}}}}' >&4; read a <&3; echo '{{\"return\": {{}}}}' >&4; cat <&3 >/dev/null; sleep 1000"
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]);
    let session = Session::options().within(PATIENCE).spawn(command).unwrap();
    let process = session.process().unwrap();
    let id = process.id();
    assert_eq!(process.wait(Duration::ZERO).unwrap(), None);
    assert!(std::path::Path::new(&format!("/proc/{id}")).exists());
    drop(session);
    assert!(!std::path::Path::new(&format!("/proc/{id}")).exists());
    let mut command = Command::new("bash");
    command.args(["-c", &script, "bash"]);
    let session = Session::options().within(PATIENCE).spawn(command).unwrap();
    session.close();
    let ended = session.process().unwrap().wait(Duration::MAX);
    assert!(ended.unwrap().is_some());
    let error = Session::options()
        .spawn(Command::new("/no/such/program"))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start '/no/such/program': No such file or directory (os error 2)"
    );
    let error = Session::options().spawn(Command::new("true")).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("'true' hung up before its greeting"),
        "{error}"
    );
}
