//! docs/protocol.md, section 11: JSON-RPC 2.0.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use faultvisor_schema::{Event, MachineReturn};
use serde_json::{Value, json};
use support::{Client, Server, io_error};

fn ask(client: &mut Client, request: &Value) -> Value {
    client.send(request.to_string());
    client.read()
}

fn request(method: &str, params: &Value, id: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params, "id": id})
}

fn call(client: &mut Client, method: &str, params: &Value) -> Value {
    let answer = ask(client, &request(method, params, &json!(1)));
    assert_eq!(
        (&answer["jsonrpc"], &answer["id"]),
        (&json!("2.0"), &json!(1))
    );
    answer
}

/// A client, which receives no greeting.
fn client(server: &Server) -> Client {
    Client::connect(&server.path)
}

fn until_now(client: &mut Client) -> Vec<Value> {
    client.send(request("query-version", &json!({}), &json!("until now")).to_string());
    let mut said = Vec::new();
    loop {
        let message = client.read();
        if message["id"] == "until now" {
            return said;
        }
        said.push(message);
    }
}

#[test]
fn there_is_no_greeting_no_negotiation_and_no_default_event() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    server.signals.raise(Event::Stop);
    let answer = call(&mut client, "query-status", &json!({}));
    assert_eq!(
        answer,
        json!({"jsonrpc": "2.0", "result": {"running": true, "status": "running"}, "id": 1})
    );
    for method in ["qmp_capabilities", "disable-default-events"] {
        let answer = call(&mut client, method, &json!({}));
        assert_eq!(answer["error"]["code"], json!(-32601));
    }
}

#[test]
fn events_are_notifications() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    server.signals.raise(Event::Resume);
    let tag = call(
        &mut client,
        "get-block-io-error-event",
        &json!({"device": "disk0"}),
    )["result"]
        .clone();
    call(
        &mut client,
        "listen-event",
        &json!({"event": "RESET", "id": "mine"}),
    );
    server.signals.raise(io_error("disk0", "x"));
    server.signals.raise(support::reset());
    let said = until_now(&mut client);
    assert_eq!(said.len(), 2);
    assert_eq!(said[0]["method"], "BLOCK_IO_ERROR");
    assert_eq!(said[0]["params"]["tag"], tag);
    assert_eq!(said[0]["params"]["data"]["reason"], "x");
    assert!(said[0]["params"]["timestamp"]["seconds"].is_i64());
    assert_eq!(said[1]["params"]["id"], "mine");
    assert!(
        said.iter()
            .all(|event| event.get("id").is_none() && event["jsonrpc"] == "2.0")
    );
    let put = call(&mut client, "put-event", &json!({"tag": tag}));
    assert_eq!(put["result"], json!({}));
    server.signals.raise(io_error("disk0", "x"));
    assert!(until_now(&mut client).is_empty());
}

#[test]
fn signals_of_objects_are_notifications_too() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    let params =
        json!({"obj": {"__jsonclass__": "BlockDevice", "id": "disk0"}, "signal": "io-error"});
    let connection = call(&mut client, "connect", &params)["result"].clone();
    server.signals.raise(io_error("disk0", "x"));
    let said = until_now(&mut client);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0]["method"], "BLOCK_IO_ERROR");
    assert_eq!(said[0]["params"]["connection"], connection);
    let ended = call(
        &mut client,
        "disconnect",
        &json!({"connection": connection}),
    );
    assert_eq!(ended["result"], json!(null));
}

#[test]
fn errors_have_the_standards_codes() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    let mut code = |text: &str| {
        client.send(text);
        let answer = client.read();
        (
            answer["error"]["code"].as_i64().unwrap(),
            answer["id"].clone(),
        )
    };
    assert_eq!(
        code("{\"jsonrpc\": \"2.0\", \"method\": \"foobar, }\n"),
        (-32700, json!(null))
    );
    assert_eq!(
        code("{'jsonrpc': '2.0', 'method': 'query-status', 'id': 1}\n"),
        (-32700, json!(null))
    );
    assert_eq!(code("\u{1}"), (-32700, json!(null)));
    assert_eq!(
        code("{\"jsonrpc\": \"2.0\", \"method\": 1, \"params\": \"bar\"}"),
        (-32600, json!(null))
    );
    assert_eq!(code("[]"), (-32600, json!(null)));
    assert_eq!(
        code(&request("foobar", &json!({}), &json!("1")).to_string()),
        (-32601, json!("1"))
    );
    assert_eq!(
        code(&request("put-event", &json!({"tag": "x"}), &json!(2)).to_string()),
        (-32602, json!(2))
    );
    assert_eq!(
        code(&request("put-event", &json!([1]), &json!(3)).to_string()),
        (-32602, json!(3))
    );
    let answer = call(&mut client, "put-event", &json!({"tag": 0}));
    assert_eq!(
        answer["error"],
        json!({"code": -32000, "message": "Parameter 'tag' expects a valid event handle",
               "data": {"class": "InvalidParameterValue", "desc": "Parameter 'tag' expects a valid event handle"}})
    );
}

#[test]
fn a_notification_is_executed_and_not_answered() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    client.send(json!({"jsonrpc": "2.0", "method": "stop"}).to_string());
    client.send(json!({"jsonrpc": "2.0", "method": "no-such-command"}).to_string());
    let (_, reply) = server.command();
    reply.send(Ok(MachineReturn::Empty(faultvisor_schema::Empty {})));
    assert!(until_now(&mut client).is_empty());
}

#[test]
fn a_batch_is_answered_together_and_in_order() {
    let server = Server::json_rpc();
    let mut client = client(&server);
    let batch = json!([
        request("query-version", &json!({}), &json!("a")),
        request("stop", &json!({}), &json!("b")),
        {"jsonrpc": "2.0", "method": "query-status"},
        7,
        request("get-stop-event", &json!({"initial": true}), &json!("c")),
        request("no-such-command", &json!({}), &json!("d")),
    ]);
    client.send(batch.to_string());
    client.send(request("query-version", &json!({}), &json!("after")).to_string());
    let (_, reply) = server.command();
    reply.send(Ok(MachineReturn::Empty(faultvisor_schema::Empty {})));
    let answers = client.read();
    let answers = answers.as_array().unwrap();
    let ids: Vec<&Value> = answers.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(
        ids,
        [
            &json!("a"),
            &json!("b"),
            &json!(null),
            &json!("c"),
            &json!("d")
        ]
    );
    assert_eq!(answers[2]["error"]["code"], json!(-32600));
    assert_eq!(answers[4]["error"]["code"], json!(-32601));
    let initial = client.read();
    assert_eq!(
        initial["params"]["initial"],
        json!(true),
        "after the answer that names its tag"
    );
    assert_eq!(initial["params"]["tag"], answers[3]["result"]);
    assert_eq!(client.read()["id"], "after");
    client.send(json!([{"jsonrpc": "2.0", "method": "query-status"}]).to_string());
    assert!(
        until_now(&mut client).is_empty(),
        "nothing but notifications is answered by nothing"
    );
}
