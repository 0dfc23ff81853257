//! docs/protocol.md, sections 4 and 10: hostile or broken clients cost a bounded amount of memory and delay nobody.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::io::Write;

use faultvisor_monitor::Monitor;
use faultvisor_schema::Event;
use serde_json::json;
use support::{Client, Server, io_error};

/// Whether another client is served.
fn serves(server: &Server) {
    let mut other = server.quiet_client();
    assert_eq!(other.execute("query-status")["running"], json!(true));
}

#[test]
fn an_unfinished_message_delays_no_other_client() {
    let server = Server::new();
    let mut halves: Vec<Client> = (0..10).map(|_| server.client()).collect();
    for (index, client) in halves.iter_mut().enumerate() {
        let begin = [
            "{\"execute\": \"query-sta",
            "{",
            "[[[[",
            "{\"execute\": 'a\\",
            "5",
        ];
        client.send(begin[index % begin.len()]);
    }
    serves(&server);
    for client in &mut halves {
        // An incomplete message can be abandoned.
        client.send([0xff]);
        assert!(client.read()["error"].is_object());
        client.execute("query-version");
    }
}

#[test]
fn a_message_without_an_end_is_refused_at_the_limit() {
    let server = Server::new();
    let mut client = server.client();
    client.send("{\"execute\": \"");
    let mut sent = 0;
    // The error arrives before the string ends; input is read on regardless.
    while sent <= 1024 * 1024 {
        let piece = "x".repeat(64 * 1024);
        client.send(&piece);
        sent += piece.len();
    }
    let refused = client.read();
    assert_eq!(
        refused["error"]["desc"],
        "JSON message size limit of 1048576 bytes exceeded"
    );
    serves(&server);
    client.send("\", \"id\": 1}");
    client.execute("query-version");
}

#[test]
fn a_client_that_reads_a_byte_at_a_time_receives_everything() {
    use std::io::Read;

    let server = Server::with(Monitor::builder().output_limit(1024));
    let mut client = server.quiet_client();
    client.execute("get-resume-event");
    for _ in 0..2000 {
        server.signals.raise(Event::Resume);
    }
    serves(&server);
    let (mut line, mut told) = (Vec::new(), 0);
    while told < 2000 {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
        if byte[0] == b'\n' {
            let message: serde_json::Value = serde_json::from_slice(&line).unwrap();
            line.clear();
            told += match message["event"].as_str() {
                Some("RESUME") => 1,
                Some("EVENTS_LOST") => message["data"]["count"].as_u64().unwrap(),
                _ => panic!("{message}"),
            };
        }
    }
    assert_eq!(told, 2000);
}

#[test]
fn a_client_that_asks_and_never_reads_is_not_read_from() {
    let server = Server::with(Monitor::builder().output_limit(64 * 1024));
    let mut client = server.client();
    client.stream.set_nonblocking(true).unwrap();
    let request = "{'execute': 'query-qmp-schema'}".repeat(100);
    // Its socket fills up once the monitor has stopped reading: output is bounded.
    let mut sent = 0;
    loop {
        match client.stream.write(request.as_bytes()) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                // The stop may be temporary or permanent.
                serves(&server);
                if client.stream.write(b" ").is_err() {
                    break;
                }
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent > 0);
    serves(&server);
}

#[test]
fn a_client_that_disappears_within_a_message_leaves_nothing_behind() {
    let server = Server::new();
    for _ in 0..200 {
        let mut client = server.client();
        client.execute("get-block-io-error-event");
        client.send("{\"execute\": \"query-st");
    }
    // Their places are free once the monitor has seen them disconnect.
    let mut others: Vec<Client> = (0..32).map(|_| server.client()).collect();
    server.signals.raise(io_error("disk0", "x"));
    assert!(
        others
            .iter_mut()
            .all(|client| client.until_now().len() == 1)
    );
}

#[test]
fn names_of_connections_are_bounded() {
    let server = Server::new();
    let mut client = server.capable_client(&["subscribe"]);
    let mut subscribe = |number: usize, length: usize| {
        let id = json!([number, "n".repeat(length)]);
        client.send(json!({"subscribe": "RESET", "id": id}).to_string());
        client.read()["error"]["desc"].as_str().map(str::to_owned)
    };
    let refused = subscribe(0, 5000).unwrap();
    assert_eq!(
        refused,
        "The id of a connection can have 4096 bytes at most"
    );
    let refused = (0..1000)
        .find_map(|number| subscribe(number, 4000))
        .unwrap();
    assert!(refused.contains("1048576 bytes together"), "{refused}");
    serves(&server);
}

#[test]
fn a_batch_whose_answers_are_too_long_is_cut_short_and_answered() {
    let server = Server::json_rpc();
    let mut client = Client::connect(&server.path);
    let request = |id: usize| json!({"jsonrpc": "2.0", "method": "query-qmp-schema", "id": id});
    let batch: Vec<_> = (0..1000).map(request).collect();
    client.send(serde_json::to_string(&batch).unwrap());
    let answers = client.read();
    let answers = answers.as_array().unwrap();
    assert_eq!(answers.len(), 1000);
    assert!(answers[0]["result"].is_array());
    assert_eq!(answers[999]["error"]["code"], json!(-32000));
}

#[test]
fn an_error_repeats_no_more_than_the_beginning_of_what_was_wrong() {
    let server = Server::new();
    let mut client = server.client();
    let name = "n".repeat(1000 * 1000);
    client.send(json!({"execute": "stop", "arguments": {name: 1}}).to_string());
    let desc = client.read()["error"]["desc"].as_str().unwrap().to_owned();
    assert!(desc.starts_with("Parameter 'nnnn") && desc.len() < 2000);
}

#[test]
fn many_connections_that_lose_delay_nobody_for_long() {
    let server = Server::with(Monitor::builder().output_limit(64 * 1024));
    let mut client = server.quiet_client();
    for _ in 0..100 {
        client.send("{'execute': 'get-resume-event'}".repeat(100));
        (0..100).for_each(|_| drop(client.read()));
    }
    for _ in 0..20 {
        server.signals.raise(Event::Resume);
        serves(&server);
    }
    let refused = client.execute_after_events("get-resume-event");
    assert!(refused["error"]["desc"].as_str().unwrap().contains("10000"));
}
