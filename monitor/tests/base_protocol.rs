//! docs/protocol.md, sections 1 to 3: messages, sessions, requests.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Read;
use std::net::Shutdown;

use faultvisor_monitor::Monitor;
use faultvisor_schema::{CommandError, Empty, Event, MachineCommand, MachineReturn};
use serde_json::json;
use support::{Client, Server};

const DONE: Result<MachineReturn, CommandError> = Ok(MachineReturn::Empty(Empty {}));

#[test]
fn the_greeting_says_which_qemu_it_follows_and_what_it_is() {
    let server = Server::new();
    let greeting = Client::connect(&server.path).read();
    assert_eq!(
        greeting["QMP"]["version"]["qemu"],
        json!({"major": 10, "minor": 0, "micro": 0})
    );
    let package = greeting["QMP"]["version"]["package"].as_str().unwrap();
    assert!(package.starts_with("faultvisor "));
    assert_eq!(
        greeting["QMP"]["capabilities"],
        json!(["oob", "subscribe", "class-hints"])
    );
}

#[test]
fn until_negotiation_only_two_commands_run() {
    let server = Server::new();
    let mut client = server.greeted();
    let (class, _) = client.error("{'execute': 'query-version'}");
    assert_eq!(class, "CommandNotFound");
    server.signals.raise(Event::Stop);
    client.execute("disable-default-events");
    client.execute("qmp_capabilities");
    for command in ["qmp_capabilities", "disable-default-events"] {
        let (class, _) = client.error(format!("{{'execute': '{command}'}}"));
        assert_eq!(class, "CommandNotFound");
    }
    assert_eq!(client.execute("query-version")["qemu"]["major"], 10);
}

#[test]
fn a_capability_that_is_not_offered_cannot_be_enabled() {
    let server = Server::new();
    let mut client = server.greeted();
    let enable = |name: &str| {
        format!("{{'execute': 'qmp_capabilities', 'arguments': {{'enable': ['{name}']}}}}")
    };
    let (_, desc) = client.error(enable("foo"));
    assert_eq!(desc, "Parameter 'enable[0]' does not accept value 'foo'");
    client.execute("qmp_capabilities");
}

#[test]
fn input_may_arrive_in_any_number_of_pieces_and_several_in_one() {
    let server = Server::new();
    let mut client = server.client();
    for byte in b"{\"execute\": 'query-version', 'id': 'it\\'s'}" {
        client.send([*byte]);
    }
    assert_eq!(client.read()["id"], "it's");
    client.send("{'execute':'query-status','id':1}{'execute':'query-version','id':2}\n\n{'execute':'query-status','id':3}");
    for id in 1..=3 {
        assert_eq!(client.read()["id"], id);
    }
}

#[test]
fn an_id_is_echoed_exactly() {
    let server = Server::new();
    let mut client = server.client();
    for id in [
        "123456789012345678901234567890",
        "1.0e+2",
        "[1, {\"b\": null, \"a\": 0.10}]",
        "null",
    ] {
        client.send(format!("{{\"execute\": \"query-status\", \"id\": {id}}}"));
        let line = client.line().unwrap();
        assert!(line.ends_with(&format!(", \"id\": {id}}}\r\n")), "{line}");
    }
}

#[test]
fn an_error_names_the_argument_and_comes_before_any_side_effect() {
    let server = Server::new();
    let mut client = server.client();
    for (request, expected) in [
        ("{'execute': 'put-event'}", "Parameter 'tag' is missing"),
        (
            "{'execute': 'put-event', 'arguments': {'tag': '1'}}",
            "Invalid parameter type for 'tag', expected: integer",
        ),
        (
            "{'execute': 'put-event', 'arguments': {'tag': 1.5}}",
            "Invalid parameter type for 'tag', expected: integer",
        ),
        (
            "{'execute': 'stop', 'arguments': {'foo': 1}}",
            "Parameter 'foo' is unexpected",
        ),
        (
            "{'execute': 'stop', 'foo': 1}",
            "QMP input member 'foo' is unexpected",
        ),
        (
            "{'exec-oob': 'stop'}",
            "QMP input member 'exec-oob' is unexpected",
        ),
        ("[]", "QMP input must be a JSON object"),
    ] {
        let (class, desc) = client.error(request);
        assert_eq!(
            (class.as_str(), desc.as_str()),
            ("GenericError", expected),
            "{request}"
        );
    }
    let (class, desc) = client.error("{'execute': 'no-such-thing'}");
    assert_eq!(class, "CommandNotFound");
    assert_eq!(desc, "The command no-such-thing has not been found");
    client.until_now();
    assert!(
        server.commands.try_recv().is_err(),
        "nothing reached the machine"
    );
}

#[test]
fn after_an_error_the_stream_recovers() {
    let server = Server::new();
    let mut client = server.client();
    for bad in [
        "{'execute': foo}".to_owned(),
        "{]".to_owned(),
        "{'a\tb': 1}".to_owned(),
        "{'never closed\n".to_owned(),
        "{'half a message': \u{1}".to_owned(),
        "}".to_owned(),
        "[".repeat(1025) + &"]".repeat(1025),
        format!("{{'a': '{}'}}", "x".repeat(1024 * 1024)),
    ] {
        let (class, _) = client.error(format!("{bad}\n"));
        assert_eq!(class, "GenericError");
        assert!(client.until_now().is_empty(), "one error for {:.30}", bad);
    }
    client.send(b"{'execute': \xff");
    assert_eq!(client.read()["error"]["class"], "GenericError");
    assert!(client.until_now().is_empty());
}

#[test]
fn in_band_commands_answer_in_order_even_the_monitors_own() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{'execute':'stop','id':1}{'execute':'query-version','id':2}{'execute':5,'id':3}{'execute':'cont','id':4}");
    let (command, reply) = server.command();
    assert_eq!(command, MachineCommand::Stop);
    assert!(server.commands.try_recv().is_err(), "one at a time");
    reply.send(DONE);
    for id in 1..=3 {
        assert_eq!(client.read()["id"], id);
    }
    let (command, reply) = server.command();
    assert_eq!(command, MachineCommand::Cont);
    // A dropped reply is an error; the client does not wait forever.
    drop(reply);
    let answer = client.read();
    assert_eq!(answer["id"], 4);
    assert_eq!(answer["error"]["class"], "GenericError");
}

#[test]
fn an_event_raised_before_an_answer_is_given_comes_before_it() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{'execute': 'stop'}");
    let (_, reply) = server.command();
    server.signals.raise(Event::Stop);
    reply.send(DONE);
    assert_eq!(client.read()["event"], "STOP");
    assert_eq!(client.read()["return"], json!({}));
}

#[test]
fn a_session_with_eight_commands_waiting_is_not_read_from() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{'execute': 'stop'}".repeat(8));
    let (_, first) = server.command();
    // More than the socket's buffers: the write completes only if the server reads.
    client.stream.set_nonblocking(true).unwrap();
    let filler = vec![b' '; 64 * 1024];
    let blocked = std::iter::repeat_with(|| std::io::Write::write(&mut client.stream, &filler))
        .take(1000)
        .find_map(Result::err);
    assert_eq!(
        blocked.map(|error| error.kind()),
        Some(std::io::ErrorKind::WouldBlock)
    );
    client.stream.set_nonblocking(false).unwrap();
    first.send(DONE);
    assert!(client.read()["return"].is_object());
    for _ in 1..8 {
        server.command().1.send(DONE);
        assert!(client.read()["return"].is_object());
    }
    assert!(client.until_now().is_empty());
}

#[test]
fn each_client_has_its_own_negotiation_and_a_blocked_one_delays_nobody() {
    let server = Server::new();
    let mut blocked = server.client();
    blocked.send("{'execute': 'stop'}");
    let (_, reply) = server.command();
    let mut other = server.greeted();
    assert_eq!(
        other.error("{'execute': 'query-status'}").0,
        "CommandNotFound"
    );
    other.execute("qmp_capabilities");
    other.execute("query-status");
    reply.send(DONE);
    assert!(blocked.read()["return"].is_object());
}

#[test]
fn a_client_beyond_the_limit_gets_an_error() {
    let server = Server::with(Monitor::builder().session_limit(2));
    let _first = server.client();
    let second = server.client();
    let mut third = Client::connect(&server.path);
    assert_eq!(third.read()["error"]["class"], "GenericError");
    assert_eq!(third.line(), None);
    // Its place is free once the server has closed the connection, as the end of the stream shows.
    second.stream.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    (&second.stream).read_to_end(&mut rest).unwrap();
    drop(second);
    server.client();
}

#[test]
fn requests_before_a_half_close_are_answered() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{'execute': 'stop'}{'execute': 'query-version'}{'half");
    client.stream.shutdown(Shutdown::Write).unwrap();
    server.command().1.send(DONE);
    assert!(client.read()["return"].is_object());
    assert_eq!(client.read()["return"]["qemu"]["major"], 10);
    assert_eq!(client.line(), None);
}

#[test]
fn an_answer_to_a_client_that_is_gone_harms_nobody() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{'execute': 'stop'}{'execute': 'cont'}");
    let (_, reply) = server.command();
    drop(client);
    let mut other = server.client();
    reply.send(DONE);
    other.until_now();
}

#[test]
fn query_commands_lists_every_command_and_accessor() {
    let server = Server::new();
    let commands = server.client().execute("query-commands");
    let names: Vec<&str> = commands
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert!(names.is_sorted());
    for name in [
        "cont",
        "get-block-io-error-event",
        "get-reset-event",
        "get-shutdown-event",
        "put-event",
        "quit",
    ] {
        assert!(names.contains(&name), "{name}");
    }
    assert!(!names.contains(&"get-events-lost-event"));
}

#[test]
fn strings_may_be_in_single_or_double_quotes_with_a_single_quote_escaped_in_both() {
    let server = Server::new();
    let mut client = server.quiet_client();
    for (spelled, id) in [
        (r"'it\'s'", "it's"),
        (r#""it\'s""#, "it's"),
        (r#"'say \"no\"'"#, "say \"no\""),
        (r#"'say "no"'"#, "say \"no\""),
        (r#""it's""#, "it's"),
    ] {
        client.send(format!("{{'execute': 'query-version', 'id': {spelled}}}"));
        assert_eq!(client.read()["id"], json!(id), "{spelled}");
    }
}

#[test]
fn answers_and_events_are_one_line_of_ascii_each() {
    let server = Server::unlimited();
    let mut client = server.client();
    server
        .signals
        .raise(support::io_error("disk0", "kein Platz übrig: \u{1f4be}\n"));
    client.send("{'execute': 'ü', 'id': 'ü'}");
    // The client checks each line: ASCII, with CRLF at its end only.
    assert_eq!(
        client.read()["data"]["reason"],
        "kein Platz übrig: \u{1f4be}\n"
    );
    let answer = client.read();
    assert_eq!(answer["id"], "ü");
    assert!(answer["error"]["desc"].as_str().unwrap().contains('ü'));
}

#[test]
fn nesting_and_size_have_limits_and_the_stream_recovers() {
    let server = Server::new();
    let mut client = server.client();
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let (_, desc) = client.error(format!(
        "{{'execute': 'stop', 'arguments': {}}}",
        nested(1023)
    ));
    assert_eq!(desc, "QMP input member 'arguments' must be an object");
    let (_, desc) = client.error(format!(
        "{{'execute': 'stop', 'arguments': {}}}",
        nested(1024)
    ));
    assert_eq!(desc, "JSON nesting depth limit of 1024 exceeded");
    client.execute("query-version");
    let long = format!("{{'execute': 'stop', 'id': '{}'}}", "x".repeat(1024 * 1024));
    let (_, desc) = client.error(long);
    assert_eq!(desc, "JSON message size limit of 1048576 bytes exceeded");
    client.execute("query-version");
}
