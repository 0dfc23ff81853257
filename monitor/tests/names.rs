//! docs/protocol.md, sections 6, 7 and 9: connections that the client names, and late subscribers.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::atomic::Ordering;

use faultvisor_schema::Event;
use serde_json::{Value, json};
use support::{Client, Server, io_error};

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(request.to_string());
    client.read()
}

fn listen(client: &mut Client, event: &str, id: &str) -> Value {
    let arguments = json!({"event": event, "id": id});
    ask(
        client,
        &json!({"execute": "listen-event", "arguments": arguments}),
    )
}

fn unlisten(client: &mut Client, id: &str) -> Value {
    let arguments = json!({"id": id});
    ask(
        client,
        &json!({"execute": "unlisten-event", "arguments": arguments}),
    )
}

fn refused(desc: &str) -> Value {
    json!({"error": {"class": "GenericError", "desc": desc}})
}

/// What distinguishes the events of connections.
fn marks(events: &[Value]) -> Vec<(Value, Value)> {
    let mark = |event: &Value| (event["event"].clone(), event["id"].clone());
    events.iter().map(mark).collect()
}

#[test]
fn events_arrive_with_the_id_that_the_client_chose() {
    let server = Server::new();
    let mut client = server.quiet_client();
    assert_eq!(
        listen(&mut client, "BLOCK_IO_ERROR", "blah00001"),
        json!({"return": {}})
    );
    server.signals.raise(Event::Resume);
    server.signals.raise(io_error("disk0", "x"));
    let said = client.until_now();
    assert_eq!(
        marks(&said),
        [(json!("BLOCK_IO_ERROR"), json!("blah00001"))]
    );
    assert_eq!(said[0].get("tag"), None);
    assert_eq!(said[0].get("initial"), None);
    assert_eq!(unlisten(&mut client, "blah00001"), json!({"return": {}}));
    server.signals.raise(io_error("disk0", "x"));
    assert!(client.until_now().is_empty());
}

#[test]
fn an_id_in_use_an_unknown_event_and_an_unknown_id_are_named() {
    let server = Server::new();
    let mut client = server.quiet_client();
    listen(&mut client, "RESUME", "a");
    assert_eq!(
        listen(&mut client, "RESET", "a"),
        refused("Id 'a' is in use already")
    );
    assert_eq!(
        listen(&mut client, "NO_SUCH_EVENT", "b"),
        refused("There is no event 'NO_SUCH_EVENT'")
    );
    assert_eq!(
        listen(&mut client, "EVENTS_LOST", "b"),
        refused("There is no event 'EVENTS_LOST'")
    );
    assert_eq!(unlisten(&mut client, "b"), refused("Id 'b' is not in use"));
    let mut other = server.quiet_client();
    assert_eq!(unlisten(&mut other, "a"), refused("Id 'a' is not in use"));
    assert_eq!(listen(&mut other, "resume", "a"), json!({"return": {}}));
}

#[test]
fn a_subscription_can_have_any_json_value_as_its_id() {
    let server = Server::new();
    let mut client = server.capable_client(&["subscribe"]);
    let ids = [
        json!(null),
        json!(1),
        json!("1"),
        json!([1, {"b": 2, "a": 1}]),
        json!(1.5),
    ];
    for id in &ids {
        let answer = ask(&mut client, &json!({"subscribe": "RESET", "id": id}));
        assert_eq!(answer, json!({"return": {}, "id": id}));
    }
    let twice = ask(
        &mut client,
        &json!({"subscribe": "STOP", "id": [1, {"a": 1, "b": 2}]}),
    );
    assert!(
        twice["error"]["desc"]
            .as_str()
            .unwrap()
            .contains("in use already")
    );
    let big = "123456789012345678901234567890";
    client.send(format!("{{'subscribe': 'resume', 'id': {big}}}"));
    assert!(client.line().unwrap().contains(&format!("\"id\": {big}")));
    server.signals.raise(Event::Resume);
    assert!(client.line().unwrap().contains(&format!("\"id\": {big}")));
    server.signals.raise(support::reset());
    let heard: Vec<Value> = client
        .until_now()
        .iter()
        .map(|event| event["id"].clone())
        .collect();
    assert_eq!(heard, ids);
}

#[test]
fn an_unsubscription_names_its_event_and_its_id() {
    let server = Server::new();
    let mut client = server.capable_client(&["subscribe"]);
    ask(&mut client, &json!({"subscribe": "RESET", "id": "bar"}));
    let wrong = ask(&mut client, &json!({"unsubscribe": "RESUME", "id": "bar"}));
    assert_eq!(
        wrong["error"]["desc"],
        "Id 'bar' is no subscription to 'RESUME'"
    );
    let right = ask(&mut client, &json!({"unsubscribe": "reset", "id": "bar"}));
    assert_eq!(right, json!({"return": {}, "id": "bar"}));
    server.signals.raise(support::reset());
    assert!(client.until_now().is_empty());
    let gone = ask(&mut client, &json!({"unsubscribe": "RESET", "id": "bar"}));
    assert!(gone["error"].is_object());
}

#[test]
fn a_subscription_is_for_those_who_asked_for_the_capability() {
    let server = Server::new();
    let mut client = server.quiet_client();
    for member in ["subscribe", "unsubscribe"] {
        let answer = ask(&mut client, &json!({member: "STOP", "id": 1}));
        let desc = format!("QMP input member '{member}' is unexpected");
        assert_eq!(
            answer,
            json!({"error": {"class": "GenericError", "desc": desc}, "id": 1})
        );
    }
    let mut early = server.greeted();
    let answer = ask(&mut early, &json!({"subscribe": "STOP", "id": 1}));
    assert_eq!(answer["error"]["class"], "CommandNotFound");
    let mut client = server.capable_client(&["subscribe"]);
    let answer = ask(&mut client, &json!({"subscribe": "RESET"}));
    assert_eq!(answer, refused("QMP input lacks member 'id'"));
    let answer = ask(
        &mut client,
        &json!({"subscribe": "RESET", "id": 1, "arguments": {"device": "disk0"}}),
    );
    assert_eq!(answer["error"]["desc"], "Parameter 'device' is unexpected");
    let answer = ask(
        &mut client,
        &json!({"subscribe": "BLOCK_IO_ERROR", "id": 1, "arguments": {"device": "nix"}}),
    );
    assert_eq!(answer["error"]["class"], "DeviceNotFound");
}

#[test]
fn a_late_subscriber_receives_the_current_state() {
    let server = Server::new();
    server.signals.raise(Event::Resume);
    server.signals.raise(io_error("disk0", "first"));
    server.signals.raise(io_error("disk1", "other"));
    server.signals.raise(io_error("disk0", "last"));
    server.signals.raise(Event::Stop);
    let mut witness = server.client();
    let mut client = server.capable_client(&["subscribe"]);
    let answer = ask(
        &mut client,
        &json!({"subscribe": "BLOCK_IO_ERROR", "id": "bar"}),
    );
    assert_eq!(answer, json!({"return": {}, "id": "bar"}));
    let said = client.until_now();
    let reasons: Vec<&Value> = said.iter().map(|event| &event["data"]["reason"]).collect();
    assert_eq!(reasons, ["last", "other"]);
    assert!(said.iter().all(|event| event["initial"] == json!(true)
        && event["id"] == json!("bar")
        && event["timestamp"]["seconds"].is_i64()));
    listen(&mut client, "stop", "s");
    let said = client.until_now();
    assert_eq!(marks(&said), [(json!("STOP"), json!("s"))]);
    assert_eq!(said[0]["initial"], json!(true));
    // The same for one device, through an accessor with `initial`.
    client.send(
        "{'execute': 'get-block-io-error-event', 'arguments': {'device': 'disk1', 'initial': true}}",
    );
    let handle = client.read()["return"].clone();
    let said = client.until_now();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (&said[0]["tag"], &said[0]["initial"]),
        (&handle, &json!(true))
    );
    assert!(witness.until_now().is_empty(), "nobody else is told again");
    // An accessor without `initial` replays nothing.
    client.execute("get-stop-event");
    assert!(client.until_now().is_empty());
    // A past state is not replayed.
    server.signals.raise(Event::Resume);
    client.until_now();
    ask(&mut client, &json!({"subscribe": "STOP", "id": 3}));
    ask(
        &mut client,
        &json!({"subscribe": "BLOCK_IO_ERROR", "id": 4}),
    );
    assert!(client.until_now().is_empty());
}

#[test]
fn a_machine_that_was_never_started_is_stopped() {
    let server = Server::new();
    let mut client = server.quiet_client();
    listen(&mut client, "STOP", "a");
    assert_eq!(client.until_now().len(), 1);
    // The machine's current state overrides the recorded event.
    server.is_current.store(false, Ordering::SeqCst);
    listen(&mut client, "STOP", "b");
    assert!(client.until_now().is_empty());
}
