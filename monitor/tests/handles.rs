//! docs/protocol.md, section 5: accessors and handles.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use faultvisor_schema::Event;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Client, Server, io_error};

fn put(client: &mut Client, tag: &Value) -> Value {
    client.send(format!(
        "{{'execute': 'put-event', 'arguments': {{'tag': {tag}}}}}"
    ));
    client.read()
}

fn refused() -> Value {
    json!({"error": {"class": "InvalidParameterValue", "desc": "Parameter 'tag' expects a valid event handle"}})
}

#[test]
fn a_signals_events_arrive_with_their_handle_as_tag() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let handle = client.execute("get-block-io-error-event");
    server.signals.raise(Event::Stop);
    server
        .signals
        .raise(io_error("disk0", "No space left on device"));
    let said = client.until_now();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["tag"], handle);
    assert_eq!(
        said[0]["data"],
        json!({"qom-path": "/machine/peripheral/disk0", "device": "disk0", "node-name": "disk0",
               "operation": "write", "action": "stop", "nospace": true, "reason": "No space left on device"})
    );
}

#[test]
fn a_session_with_two_connections_gets_each_event_twice() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let first = client.execute("get-stop-event");
    let second = client.execute("get-stop-event");
    assert_ne!(first, second);
    server.signals.raise(Event::Stop);
    let tags: Vec<Value> = client
        .until_now()
        .iter()
        .map(|event| event["tag"].clone())
        .collect();
    assert_eq!(tags, [first, second]);
}

#[test]
fn a_put_handle_never_fires_again() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let handle = client.execute("get-stop-event");
    server.signals.raise(Event::Stop);
    client.send(format!(
        "{{'execute': 'put-event', 'arguments': {{'tag': {handle}}}}}"
    ));
    server.signals.raise(Event::Stop);
    // For either outcome of the race: nothing after the answer.
    while client.read().get("return").is_none() {}
    server.signals.raise(Event::Stop);
    assert!(client.until_now().is_empty());
}

#[test]
fn a_tag_that_the_session_does_not_hold_is_refused() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let mut other = server.quiet_client();
    let handle = client.execute("get-stop-event");
    assert_eq!(put(&mut other, &handle), refused(), "another session's");
    for never in [json!(0), json!(-1), json!(i64::MAX), json!(i64::MIN)] {
        assert_eq!(put(&mut client, &never), refused());
    }
    assert_eq!(put(&mut client, &handle), json!({"return": {}}));
    assert_eq!(put(&mut client, &handle), refused(), "already put");
}

#[test]
fn an_accessor_can_be_of_one_device_only() {
    let server = Server::new();
    let mut client = server.quiet_client();
    client.send("{'execute': 'get-block-io-error-event', 'arguments': {'device': 'disk1'}}");
    let handle = client.read()["return"].clone();
    for disk in ["disk0", "disk1", "disk2"] {
        server.signals.raise(io_error(disk, "x"));
    }
    let said = client.until_now();
    assert_eq!(said.len(), 1);
    assert_eq!(
        (&said[0]["tag"], &said[0]["data"]["device"]),
        (&handle, &json!("disk1"))
    );
    let (class, desc) =
        client.error("{'execute': 'get-block-io-error-event', 'arguments': {'device': 'nix'}}");
    assert_eq!(
        (class.as_str(), desc.as_str()),
        ("DeviceNotFound", "Device 'nix' not found")
    );
    let (_, desc) = client.error("{'execute': 'get-stop-event', 'arguments': {'device': 'disk0'}}");
    assert_eq!(desc, "Parameter 'device' is unexpected");
}

#[test]
fn every_event_of_the_schema_has_its_accessor() {
    let server = Server::new();
    let mut client = server.quiet_client();
    for signal in faultvisor_schema::SignalName::ALL {
        assert!(client.execute(signal.accessor()).is_i64());
    }
}

#[test]
fn a_disconnected_clients_handles_are_released() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let handle = client.execute("get-stop-event");
    drop(client);
    let mut other = server.quiet_client();
    server.signals.raise(Event::Stop);
    assert!(other.until_now().is_empty());
    assert_eq!(put(&mut other, &handle), refused());
    assert!(
        other.execute("get-stop-event").as_i64() > handle.as_i64(),
        "never used again"
    );
}

#[test]
fn handles_are_unique_for_the_life_of_the_process() {
    let servers = [Server::new(), Server::new()];
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        for server in &servers {
            let mut client = server.quiet_client();
            let handle = client.execute("get-stop-event").as_i64().unwrap();
            assert!(seen.insert(handle) && handle < (1 << 53));
        }
    }
}

#[derive(Clone, Debug)]
enum HandleStep {
    Get { client: usize, disk: Option<u8> },
    Put { client: usize, nth: usize },
    Raise { disk: u8 },
    Leave { client: usize },
}

fn step() -> impl Strategy<Value = HandleStep> {
    let client = 0..3_usize;
    prop_oneof![
        3 => (client.clone(), proptest::option::of(0..2_u8)).prop_map(|(client, disk)| HandleStep::Get { client, disk }),
        2 => (client.clone(), 0..4_usize).prop_map(|(client, nth)| HandleStep::Put { client, nth }),
        4 => (0..2_u8).prop_map(|disk| HandleStep::Raise { disk }),
        1 => client.prop_map(|client| HandleStep::Leave { client }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_interleaving_delivers_exactly_what_is_connected(steps in proptest::collection::vec(step(), 1..40)) {
        let server = Server::new();
        let mut clients: Vec<Client> = (0..3).map(|_| server.quiet_client()).collect();
        let mut held: Vec<BTreeMap<i64, Option<u8>>> = vec![BTreeMap::new(); 3];
        let mut expected: Vec<Vec<(i64, u8)>> = vec![Vec::new(); 3];
        let mut last_handle = 0;
        for step in steps {
            match step {
                HandleStep::Get { client, disk } => {
                    let arguments = disk.map(|d| format!("'device': 'disk{d}'")).unwrap_or_default();
                    // Events raised before the request precede its answer.
                    check(&mut clients[client], &mut expected[client])?;
                    clients[client].send(format!("{{'execute': 'get-block-io-error-event', 'arguments': {{{arguments}}}}}"));
                    let handle = clients[client].read()["return"].as_i64().unwrap();
                    prop_assert!(handle > last_handle);
                    last_handle = handle;
                    held[client].insert(handle, disk);
                }
                HandleStep::Put { client, nth } => {
                    check(&mut clients[client], &mut expected[client])?;
                    let handle = held[client].keys().nth(nth).copied();
                    let answer = put(&mut clients[client], &json!(handle.unwrap_or(last_handle + 1)));
                    prop_assert_eq!(answer == refused(), handle.is_none());
                    handle.map(|handle| held[client].remove(&handle));
                }
                HandleStep::Raise { disk } => {
                    server.signals.raise(io_error(&format!("disk{disk}"), "x"));
                    for (held, expected) in held.iter().zip(&mut expected) {
                        let wanting = held.iter().filter(|(_, of)| of.is_none_or(|of| of == disk));
                        expected.extend(wanting.map(|(handle, _)| (*handle, disk)));
                    }
                }
                HandleStep::Leave { client } => {
                    clients[client] = server.quiet_client();
                    held[client].clear();
                    expected[client].clear();
                }
            }
        }
        for (client, expected) in clients.iter_mut().zip(&mut expected) {
            check(client, expected)?;
        }
    }
}

fn check(client: &mut Client, expected: &mut Vec<(i64, u8)>) -> Result<(), TestCaseError> {
    let said: Vec<(i64, Value)> = client
        .until_now()
        .into_iter()
        .map(|event| {
            (
                event["tag"].as_i64().unwrap(),
                event["data"]["device"].clone(),
            )
        })
        .collect();
    let wanted: Vec<(i64, Value)> = expected
        .drain(..)
        .map(|(tag, disk)| (tag, json!(format!("disk{disk}"))))
        .collect();
    prop_assert_eq!(said, wanted);
    Ok(())
}
