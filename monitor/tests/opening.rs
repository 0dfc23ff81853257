//! docs/protocol.md, section 2: how a session begins, and that received requests are executed, over real sockets.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use faultvisor_schema::MachineCommand;
use proptest::prelude::*;
use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use support::{Client, PATIENCE, Server};

/// A test's connection to a server.
enum Line {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Line {
    /// One of each kind.
    fn each(server: &Server) -> [Self; 2] {
        let unix = UnixStream::connect(&server.path).unwrap();
        unix.set_read_timeout(Some(PATIENCE)).unwrap();
        let tcp = TcpStream::connect(server.ports()[0]).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_nodelay(true).unwrap();
        [Self::Unix(unix), Self::Tcp(tcp)]
    }

    /// Sends bytes. The server may have hung up.
    fn send(&mut self, bytes: &[u8]) {
        let _ = match self {
            Self::Unix(stream) => stream.write_all(bytes),
            Self::Tcp(stream) => stream.write_all(bytes),
        };
    }

    fn shutdown(&self, how: Shutdown) {
        match self {
            Self::Unix(stream) => stream.shutdown(how).unwrap(),
            Self::Tcp(stream) => stream.shutdown(how).unwrap(),
        }
    }

    /// Everything received until the server closes the connection.
    fn rest(&mut self) -> String {
        let mut said = Vec::new();
        let end = match self {
            Self::Unix(stream) => stream.read_to_end(&mut said),
            Self::Tcp(stream) => stream.read_to_end(&mut said),
        };
        if let Err(error) = end {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        String::from_utf8(said).unwrap()
    }
}

/// A client independent of others. Its answer shows that everything sent before has been read.
struct Witness(Client, bool);

impl Witness {
    fn of(server: &Server, json_rpc: bool) -> Self {
        match json_rpc {
            true => Self(Client::connect(&server.path), true),
            false => Self(server.quiet_client(), false),
        }
    }

    fn sync(&mut self) {
        let Self(client, json_rpc) = self;
        if *json_rpc {
            client.send(r#"{"jsonrpc": "2.0", "method": "query-status", "id": 1}"#);
            assert_eq!(client.read()["result"]["running"], json!(true));
        } else {
            assert_eq!(client.execute("query-status")["running"], json!(true));
        }
    }
}

const QMP: &str = r#"{"execute":"qmp_capabilities"}{"execute":"quit"}"#;
const JSON_RPC: &str = r#"{"jsonrpc": "2.0", "method": "quit", "id": 1}"#;

/// What curl sends for `-X METHOD --data-binary BODY`.
fn curl(method: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} / HTTP/1.1\r\nHost: 127.0.0.1:4444\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n\
         Content-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\n\r\n{body}"
    )
}

#[test]
fn a_web_page_commands_nothing_whatever_it_has_sent_and_however_that_is_cut() {
    for (options, body) in [("", QMP), (",protocol=json-rpc", JSON_RPC)] {
        let server = Server::everywhere(options);
        let mut witness = Witness::of(&server, !options.is_empty());
        let hello = format!("\u{16}\u{3}\u{1}{{\u{1}\u{3}\u{3}\u{fffd}{body}");
        let inputs = [
            curl("FOO", body),
            curl("patch", body),
            curl("PROPFIND", body),
            curl("POST", body),
            format!("\r\n{}", curl("PUT", body)),
            format!("\u{feff}{body}"),
            format!("help\n{body}"),
            hello,
        ];
        for input in inputs {
            let input = input.as_bytes();
            for cut in [input.len(), 1, 2, 3, 5, input.len() - body.len()] {
                for mut line in Line::each(&server) {
                    line.send(&input[..cut]);
                    witness.sync();
                    line.send(&input[cut..]);
                    let said = line.rest();
                    assert!(
                        !said.contains("\"return\"") && !said.contains("\"result\""),
                        "{said}"
                    );
                    if matches!(line, Line::Tcp(_)) {
                        assert!(!said.contains("error"), "{said}");
                    }
                }
            }
        }
        witness.sync();
        assert!(server.commands.try_recv().is_err());
    }
}

#[test]
fn on_tcp_a_session_ends_at_its_first_byte_while_more_is_to_come() {
    let server = Server::everywhere("");
    for first in ["P", "\r\nP", "\u{16}", "[", "\""] {
        let [_, mut line] = Line::each(&server);
        line.send(first.as_bytes());
        // The server closes although this side stays open and idle.
        assert!(!line.rest().contains("error"), "{first:?}");
    }
}

#[test]
fn a_client_of_a_unix_socket_gets_an_error_for_a_wrong_opening() {
    let server = Server::everywhere("");
    let [mut line, _] = Line::each(&server);
    line.send(b"help\n");
    let said = line.rest();
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(last["error"]["class"], "GenericError");
}

/// Sends commands and leaves at once, in one of several ways.
fn leave(mut line: Line, bytes: &[u8], way: usize) {
    match way {
        // Without having read the greeting, which may not have been sent yet.
        0 => line.send(bytes),
        1 => {
            line.send(bytes);
            line.shutdown(Shutdown::Both);
        }
        2 => {
            line.shutdown(Shutdown::Read);
            line.send(bytes);
        }
        // By a reset, on TCP.
        _ => {
            line.send(bytes);
            if let Line::Tcp(stream) = &line {
                set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

#[test]
fn received_requests_are_executed_though_the_client_is_gone() {
    let stop = "{'execute':'qmp_capabilities'}{'execute':'stop'}{'execute':'cont'}".as_bytes();
    let server = Server::everywhere("");
    for _ in 0..20 {
        for way in 0..4 {
            for line in Line::each(&server) {
                let tcp = matches!(line, Line::Tcp(_));
                leave(line, stop, way);
                let (command, reply) = server.command();
                assert_eq!(command, MachineCommand::Stop, "way {way}, TCP {tcp}");
                // The next one waits for its turn, after its client has gone.
                drop(reply);
                assert!(matches!(server.command().0, MachineCommand::Cont));
            }
        }
    }
}

#[test]
fn a_long_script_of_one_who_is_gone_is_executed_to_its_end() {
    let server = Server::everywhere("");
    let script = "{'execute':'qmp_capabilities'}".to_owned()
        + &"{'execute':'query-qmp-schema'}".repeat(200)
        + &"{'execute':'stop'}".repeat(40);
    for line in Line::each(&server) {
        leave(line, script.as_bytes(), 0);
        for _ in 0..40 {
            assert_eq!(server.command().0, MachineCommand::Stop);
        }
    }
    // Their places are free again: a shutdown would wait for unsent output.
    server.handle.shutdown(PATIENCE);
}

/// The CPU time of the monitor's thread.
fn cpu_time() -> Duration {
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        if std::fs::read_to_string(task.join("comm")).unwrap() == "monitor\n" {
            let statistics = std::fs::read_to_string(task.join("schedstat")).unwrap();
            let nanoseconds = statistics.split(' ').next().unwrap().parse().unwrap();
            return Duration::from_nanos(nanoseconds);
        }
    }
    panic!("no thread of the monitor");
}

#[test]
fn clients_that_leave_a_busy_machine_cost_no_time() {
    let server = Server::everywhere("");
    let mut held = Vec::new();
    for way in 0..4 {
        for line in Line::each(&server) {
            leave(line, "{'execute':'qmp_capabilities'}".as_bytes(), way);
        }
        for mut line in Line::each(&server) {
            line.send("{'execute':'qmp_capabilities'}".as_bytes());
            line.send("{'execute':'stop'}".repeat(12).as_bytes());
            held.push(server.command());
            leave(line, b"{'execute':'stop'}", way);
        }
    }
    let mut witness = Witness::of(&server, false);
    witness.sync();
    let before = cpu_time();
    // The sleep is the measured interval, and waits for nothing.
    std::thread::sleep(Duration::from_millis(300));
    let spent = cpu_time().saturating_sub(before);
    assert!(spent < Duration::from_millis(30), "{spent:?}");
    // All of it is executed in order.
    for (_, reply) in held {
        drop(reply);
        (0..12).for_each(|_| drop(server.command()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_first_bytes_decide_over_real_sockets_as_in_the_model(
        space in "[ \t\r\n]{0,3}",
        first in any::<u8>(),
        cut in 0_usize..5,
    ) {
        let server = Server::everywhere("");
        let mut witness = Witness::of(&server, false);
        let input = [space.as_bytes(), &[first], b"\n", QMP.as_bytes()].concat();
        let cut = cut.min(input.len());
        let [_, mut line] = Line::each(&server);
        line.send(&input[..cut]);
        witness.sync();
        line.send(&input[cut..]);
        if b" \t\r\n".contains(&first) {
            prop_assert_eq!(server.command().0, MachineCommand::Quit);
        } else if first == b'{' {
            // The message has begun, and never ends.
            line.shutdown(Shutdown::Write);
            line.rest();
            prop_assert!(server.commands.try_recv().is_err());
        } else {
            let said = line.rest();
            prop_assert!(!said.contains("return") && !said.contains("error"), "{}", said);
            prop_assert!(server.commands.try_recv().is_err());
        }
    }
}
