//! docs/protocol.md, section 8: objects, signals and connections.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_schema::{Event, MachineReturn};
use serde_json::{Value, json};
use support::{Client, Server, io_error};

fn execute(client: &mut Client, command: &str, arguments: &Value) -> Value {
    client.send(json!({"execute": command, "arguments": arguments}).to_string());
    client.read()
}

fn connect(client: &mut Client, obj: &Value, signal: &str) -> Value {
    execute(client, "connect", &json!({"obj": obj, "signal": signal}))
}

fn disk(id: &str) -> Value {
    json!({"__jsonclass__": "BlockDevice", "id": id})
}

fn machine() -> Value {
    json!({"__jsonclass__": "Machine"})
}

#[test]
fn a_signal_of_an_object_arrives_as_a_signal() {
    let server = Server::new();
    let mut client = server.capable_client(&["class-hints"]);
    let connection = connect(&mut client, &disk("disk0"), "io-error")["return"].clone();
    assert_eq!(connection["__jsonclass__"], "Connection");
    server.signals.raise(io_error("disk1", "not this one"));
    server.signals.raise(io_error("disk0", "this one"));
    let said = client.until_now();
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["signal"], "io-error");
    assert_eq!(said[0]["connection"], connection);
    assert_eq!(said[0]["arguments"]["reason"], "this one");
    assert!(said[0]["timestamp"]["seconds"].is_i64());
    assert_eq!(said[0].get("event"), None);
    let ended = execute(
        &mut client,
        "disconnect",
        &json!({"connection": connection}),
    );
    assert_eq!(ended, json!({"return": null}));
    server.signals.raise(io_error("disk0", "nobody"));
    assert!(client.until_now().is_empty());
    let again = execute(
        &mut client,
        "disconnect",
        &json!({"connection": connection}),
    );
    assert_eq!(again["error"]["class"], "InvalidParameterValue");
}

#[test]
fn the_machine_carries_its_own_signals() {
    let server = Server::new();
    let mut client = server.capable_client(&["class-hints"]);
    for signal in ["stop", "resume", "shutdown", "reset"] {
        assert!(connect(&mut client, &machine(), signal)["return"].is_object());
    }
    server.signals.raise(Event::Stop);
    server.signals.raise(support::reset());
    let said = client.until_now();
    assert_eq!(said.len(), 2);
    assert_eq!(
        (&said[0]["signal"], &said[0]["arguments"]),
        (&json!("stop"), &json!({}))
    );
    assert_eq!(said[1]["arguments"]["guest"], json!(false));
}

#[test]
fn an_unknown_object_or_signal_is_named() {
    let server = Server::new();
    let mut client = server.capable_client(&["class-hints"]);
    let mut refused = |obj: &Value, signal: &str| {
        let answer = connect(&mut client, obj, signal);
        let text = |name: &str| answer["error"][name].as_str().unwrap().to_owned();
        (text("class"), text("desc"))
    };
    let generic = |desc: &str| ("GenericError".to_owned(), desc.to_owned());
    assert_eq!(
        refused(&disk("nix"), "io-error").0,
        "DeviceNotFound".to_owned()
    );
    assert_eq!(
        refused(&disk("disk0"), "stop"),
        generic("Parameter 'signal' does not accept value 'stop'")
    );
    assert_eq!(
        refused(&json!({"__jsonclass__": "Cow"}), "moo"),
        generic("Parameter 'obj.__jsonclass__' does not accept value 'Cow'")
    );
    assert_eq!(
        refused(&json!({"__jsonclass__": "Machine", "id": 1}), "stop"),
        generic("Parameter 'obj.id' is unexpected")
    );
    assert_eq!(
        refused(&json!({"__jsonclass__": "BlockDevice"}), "io-error"),
        generic("Parameter 'obj.id' is missing")
    );
    assert_eq!(
        refused(&json!("disk0"), "io-error"),
        generic("Invalid parameter type for 'obj', expected: object")
    );
}

#[test]
fn the_object_model_is_for_those_who_asked_for_the_capability() {
    let server = Server::new();
    let mut client = server.quiet_client();
    let answer = connect(&mut client, &machine(), "stop");
    assert_eq!(answer["error"]["class"], "CommandNotFound");
    let answer = execute(&mut client, "disconnect", &json!({"connection": {}}));
    assert_eq!(answer["error"]["class"], "CommandNotFound");
}

#[test]
fn every_kind_of_connection_is_ended_as_what_it_is() {
    let server = Server::new();
    let mut client = server.capable_client(&["class-hints"]);
    let connection = connect(&mut client, &machine(), "stop")["return"].clone();
    let tag = client.execute("get-stop-event");
    let put = execute(&mut client, "put-event", &json!({"tag": connection["id"]}));
    assert_eq!(put["error"]["class"], "InvalidParameterValue");
    let tagged = json!({"__jsonclass__": "Connection", "id": tag});
    let ended = execute(&mut client, "disconnect", &json!({"connection": tagged}));
    assert_eq!(ended["error"]["class"], "InvalidParameterValue");
    server.signals.raise(Event::Stop);
    assert_eq!(client.until_now().len(), 2);
}

#[test]
fn objects_in_answers_say_which_they_are_to_those_who_asked() {
    let server = Server::new();
    let mut hinted = server.capable_client(&["class-hints"]);
    let mut plain = server.quiet_client();
    for (client, hint) in [(&mut hinted, true), (&mut plain, false)] {
        client.send("{'execute': 'query-block'}");
        let (_, reply) = server.command();
        reply.send(Ok(MachineReturn::QueryBlock(vec![support::disk("disk0")])));
        let answer = client.read();
        let disk = &answer["return"][0];
        assert_eq!(disk["device"], "disk0");
        assert_eq!(disk.get("__jsonclass__").is_some(), hint);
        if hint {
            assert_eq!(
                (&disk["__jsonclass__"], &disk["id"]),
                (&json!("BlockDevice"), &json!("disk0"))
            );
        }
    }
}
