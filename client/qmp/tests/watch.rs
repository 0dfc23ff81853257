//! Watching events.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use faultvisor_schema::{Event, Shutdown, ShutdownCause};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{Program, Relay, Server, io_error, qmp, serve_one, wait};

const ACCESSOR: &str = "get-block-io-error-event";

#[test]
fn an_event_is_a_line_and_a_signal_puts_the_object_back() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = Server::start();
        let relay = Relay::to(&server);
        let mut watch = Program::start(relay.path(), &["watch", "BLOCK_IO_ERROR", "device=disk0"]);
        let (asked, answered) = relay.answered(ACCESSOR);
        assert_eq!(asked["arguments"]["device"], "disk0");
        server.raise(io_error("disk1", "of another"));
        server.raise(io_error("disk0", "No space left"));
        let line = watch.line();
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.ends_with('Z') && time.contains('T'), "{line}");
        assert_eq!(
            rest,
            "BLOCK_IO_ERROR action=stop device=disk0 node-name=disk0 nospace=true operation=write \
             qom-path=/machine/peripheral/disk0 reason=\"No space left\""
        );
        watch.signal(signal);
        let output = watch.ended().succeeded();
        assert_eq!(output.lines().count(), 1, "{output}");
        let (put, done) = relay.answered("put-event");
        assert_eq!(put["arguments"]["tag"], answered["return"]);
        assert_eq!(done["return"], json!({}));
    }
}

#[test]
fn every_event_is_watched_if_none_is_named() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let mut watch = Program::start(
        relay.path(),
        &["watch", "--count", "2", "--json", "device=disk1"],
    );
    // The last accessor.
    relay.answered("get-stop-event");
    for accessor in ["get-resume-event", "get-reset-event", ACCESSOR] {
        relay.answered(accessor);
    }
    wait_until_connected(&server, &relay);
    server.raise(io_error("disk0", "of another"));
    server.raise(io_error("disk1", "a"));
    server.raise(io_error("disk1", "b"));
    for reason in ["a", "b"] {
        let event: Value = serde_json::from_str(&watch.line()).unwrap();
        assert_eq!(event["event"], "BLOCK_IO_ERROR");
        assert_eq!(
            (&event["data"]["reason"], &event["data"]["device"]),
            (&json!(reason), &json!("disk1"))
        );
        assert!(event["timestamp"]["seconds"].is_i64(), "{event}");
    }
    watch.ended().succeeded();
    let commands = relay.commands();
    let got = commands
        .iter()
        .filter(|name| name.starts_with("get-"))
        .count();
    let put = commands.iter().filter(|name| *name == "put-event").count();
    assert_eq!(got, put, "{commands:?}");
}

/// Waits until all accessors are answered: nothing follows the last answer.
fn wait_until_connected(server: &Server, relay: &Relay) {
    let answer = server.qmp(&["query-commands", "--json"]).succeeded();
    let commands: Vec<Value> = serde_json::from_str(&answer).unwrap();
    let names = commands
        .iter()
        .map(|command| command["name"].as_str().unwrap());
    for accessor in names.filter(|name| name.starts_with("get-") && name.ends_with("-event")) {
        relay.answered(accessor);
    }
}

#[test]
fn initial_replays_the_current_state_first() {
    let server = Server::start();
    server.raise(io_error("disk0", "earlier"));
    let words = ["watch", "block-io-error", "--initial", "--count", "1"];
    let line = server.qmp(&words).succeeded();
    assert!(line.ends_with(" reason=earlier (initial)\n"), "{line}");
    let words = [
        "watch",
        "block-io-error",
        "--initial",
        "--count",
        "1",
        "--json",
    ];
    let event: Value = serde_json::from_str(&server.qmp(&words).succeeded()).unwrap();
    assert_eq!(event["initial"], true);
}

#[test]
fn a_timeout_ends_a_watch_and_is_an_error_if_events_are_missing() {
    let server = Server::start();
    assert_eq!(
        server
            .qmp(&["watch", "STOP", "--timeout", "0.2"])
            .succeeded(),
        ""
    );
    let words = ["watch", "STOP", "--timeout", "0.2", "--count", "3"];
    assert_eq!(
        server.qmp(&words).failed(1),
        "qmp: 0 of 3 events within 200ms"
    );
}

#[test]
fn unknown_events_cannot_be_watched() {
    let server = Server::start();
    let unknown = server.qmp(&["watch", "BLOCK_IO_EROR"]).failed(1);
    assert_eq!(
        unknown,
        "qmp: the server has no event 'BLOCK_IO_EROR'; did you mean 'BLOCK_IO_ERROR'?"
    );
    let device = server
        .qmp(&["watch", "BLOCK_IO_ERROR", "device=tape0"])
        .failed(1);
    assert!(device.starts_with("qmp: DeviceNotFound: "), "{device}");
    let key = server.qmp(&["watch", "id=x"]).failed(2);
    assert_eq!(key, "qmp: watch: there is no 'id'; there is device=DEVICE");
}

#[test]
fn a_lost_connection_ends_a_watch_with_an_error() {
    let mut server = Server::start();
    let relay = Relay::to(&server);
    let watch = Program::start(relay.path(), &["watch", "STOP"]);
    relay.answered("get-stop-event");
    server.end();
    let gone = watch.ended().failed(1);
    assert!(gone.ends_with("is closed: the server closed it"), "{gone}");
}

#[test]
fn events_that_were_lost_are_counted() {
    // A server without accessors that sends all events at once.
    let schema = r#"{"return": [{"name": "query-qmp-schema", "meta-type": "command", "arg-type": "0", "ret-type": "0"}, {"name": "STOP", "meta-type": "event", "arg-type": "0"}], "id": ID}"#;
    let stamp = r#""timestamp": {"seconds": 1300000000, "microseconds": 5}"#;
    let said = format!(
        "{schema}\r\n{{\"event\": \"STOP\", {stamp}}}\r\n\
         {{\"event\": \"EVENTS_LOST\", \"data\": {{\"event\": \"STOP\", \"count\": 3}}, {stamp}}}\r\n\
         {{\"event\": \"STOP\", {stamp}}}"
    );
    let (_directory, path) = serve_one(move |_| Some(said.clone()));
    let output = Program::start(&path, &["watch", "STOP", "--count", "2"])
        .ended()
        .succeeded();
    let line = "2011-03-13T07:06:40.000005Z STOP\n";
    assert_eq!(output, format!("{line}(3 lost)\n{line}"));
}

#[test]
fn an_announced_shutdown_ends_a_watch_well() {
    let mut server = Server::start();
    let relay = Relay::to(&server);
    let mut watch = Program::start(relay.path(), &["watch", "SHUTDOWN", "STOP"]);
    relay.answered("get-stop-event");
    server.raise(shutdown());
    assert!(
        watch
            .line()
            .ends_with(" SHUTDOWN guest=false reason=host-qmp-quit")
    );
    server.end();
    watch.ended().succeeded();
}

#[test]
fn an_unwatched_shutdown_is_not_shown_and_missing_events_are_an_error() {
    let mut server = Server::start();
    let relay = Relay::to(&server);
    let watch = Program::start(relay.path(), &["watch", "STOP", "--count", "2"]);
    // The connection to the shutdown comes last.
    relay.answered("get-shutdown-event");
    server.raise(Event::Stop);
    server.raise(shutdown());
    server.end();
    let ended = watch.ended();
    assert_eq!(ended.status, Some(1));
    assert_eq!(ended.output.lines().count(), 1, "{}", ended.output);
    assert_eq!(
        ended.errors,
        "qmp: 1 of 2 events before the machine shut down\n"
    );
}

fn shutdown() -> Event {
    Event::Shutdown(Shutdown {
        guest: false,
        reason: ShutdownCause::HostQmpQuit,
    })
}

#[test]
fn a_watch_ends_when_nobody_reads_it_any_more() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut command = qmp(&["watch", "BLOCK_IO_ERROR", "-s"]);
    command.arg(relay.path()).stdout(File::from(writer));
    let mut watch = command.spawn().unwrap();
    // Closes this process's copy of the pipe's write end.
    drop(command);
    relay.answered(ACCESSOR);
    server.raise(io_error("disk0", "the only one"));
    let mut line = String::new();
    BufReader::new(File::from(reader))
        .read_line(&mut line)
        .unwrap();
    assert!(line.contains("the only one"), "{line}");
    // The read end is closed, as by `head -1`. No further event arrives.
    assert_eq!(wait(&mut watch).code(), Some(0));
    relay.answered("put-event");
}

#[test]
fn a_script_that_watches_ends_when_nobody_reads_it_any_more() {
    let server = Server::start();
    let relay = Relay::to(&server);
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut command = qmp(&["shell", "-s"]);
    command
        .arg(relay.path())
        .stdout(File::from(writer))
        .stdin(Stdio::piped());
    let mut shell = command.spawn().unwrap();
    drop(command);
    // Its input stays open.
    let mut input = shell.stdin.take().unwrap();
    input.write_all(b"watch STOP\n").unwrap();
    relay.answered("get-stop-event");
    drop(reader);
    assert_eq!(wait(&mut shell).code(), Some(0));
    drop(input);
}
