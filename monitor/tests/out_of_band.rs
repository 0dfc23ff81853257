//! docs/protocol.md, section 3.3: out-of-band execution.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_schema::{Empty, MachineCommand, MachineReturn};
use serde_json::{Value, json};
use support::Server;

fn done() -> MachineReturn {
    MachineReturn::Empty(Empty {})
}

#[test]
fn a_blocked_in_band_command_is_overtaken() {
    let server = Server::new();
    let mut client = server.capable_client(&["oob"]);
    client.send("{'execute': 'stop', 'id': 1} {'execute': 'query-version', 'id': 2}");
    client.send("{'exec-oob': 'get-stop-event', 'id': 3}");
    assert_eq!(client.read()["id"], json!(3));
    let (command, reply) = server.command();
    assert_eq!(command, MachineCommand::Stop);
    reply.send(Ok(done()));
    assert_eq!(client.read()["id"], json!(1));
    assert_eq!(client.read()["id"], json!(2));
}

#[test]
fn eight_commands_in_flight_keep_no_other_out_of_band() {
    let server = Server::new();
    let mut client = server.capable_client(&["oob"]);
    client.send("{'execute': 'stop'}".repeat(8));
    client.send("{'exec-oob': 'get-stop-event', 'id': 'oob'}");
    assert_eq!(client.read()["id"], json!("oob"));
    for _ in 0..8 {
        server.command().1.send(Ok(done()));
        assert_eq!(client.read(), json!({"return": {}}));
    }
}

#[test]
fn a_malformed_in_band_command_answers_in_order() {
    let server = Server::new();
    let mut client = server.capable_client(&["oob"]);
    client.send("{'execute': 'stop', 'id': 1} {'execute': 5, 'id': 2} {'nonsense': 1, 'id': 3} {]");
    client.send("{'exec-oob': 'put-event', 'arguments': {'tag': 'x'}, 'id': 4}");
    let oob = client.read();
    assert_eq!(oob["id"], json!(4));
    assert_eq!(
        oob["error"]["desc"],
        "Invalid parameter type for 'tag', expected: integer"
    );
    server.command().1.send(Ok(done()));
    let ids: Vec<Value> = (0..4).map(|_| client.read()["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(2), json!(3), json!(null)]);
}

#[test]
fn only_commands_marked_for_it_run_out_of_band() {
    let server = Server::new();
    let mut client = server.capable_client(&["oob"]);
    let (class, desc) = client.error("{'exec-oob': 'query-status'}");
    assert_eq!(
        (class.as_str(), desc.as_str()),
        (
            "GenericError",
            "The command query-status does not support OOB"
        )
    );
    let (class, _) = client.error("{'exec-oob': 'no-such-command'}");
    assert_eq!(class, "CommandNotFound");
    let entry = |name: &str| {
        faultvisor_schema::COMMANDS
            .iter()
            .find(|entry| entry.name == name)
            .unwrap()
            .allow_oob
    };
    assert!(entry("put-event") && entry("get-block-io-error-event") && !entry("stop"));
}

#[test]
fn out_of_band_is_for_those_who_asked_for_the_capability() {
    let server = Server::new();
    let mut client = server.quiet_client();
    client.send(
        "{'execute': 'stop', 'id': 1} {'exec-oob': 'put-event', 'arguments': {'tag': 1}, 'id': 2}",
    );
    server.command().1.send(Ok(done()));
    assert_eq!(
        client.read()["id"],
        json!(1),
        "in order, for a client that expects it"
    );
    let refused = client.read();
    assert_eq!(
        refused["error"]["desc"],
        "QMP input member 'exec-oob' is unexpected"
    );
    assert_eq!(refused["id"], json!(2));
}
