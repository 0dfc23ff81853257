//! The exchanges in docs/protocol.md take place as written.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use faultvisor_monitor::Monitor;
use faultvisor_schema::{Event, Notice};
use serde_json::{Value, json};
use support::{Client, Server, io_error};

const PAGE: &str = include_str!("../../docs/protocol.md");

/// The page's placeholder for an omitted value.
const ANYTHING: &str = "…";

#[derive(Debug)]
enum Message {
    Client(Value),
    Server(Value),
}

/// The exchanges of a page: its code blocks with messages.
fn exchanges(page: &str) -> Vec<Vec<Message>> {
    // Text and blocks take turns.
    let blocks = page.split("\n```").skip(1).step_by(2);
    let exchanges = blocks.filter_map(|block| {
        let mut texts: Vec<String> = Vec::new();
        for line in block.lines().skip(1) {
            if line.starts_with("-> ") || line.starts_with("<- ") {
                texts.push(line.to_owned());
            } else {
                texts.last_mut()?.push_str(line);
            }
        }
        Some(texts.iter().map(|text| message(text)).collect())
    });
    exchanges
        .filter(|exchange: &Vec<Message>| !exchange.is_empty())
        .collect()
}

fn message(text: &str) -> Message {
    let (speaker, text) = text.split_at(2);
    let text = text.replace("{ … }", "\"…\"").replace("{…}", "\"…\"");
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    match speaker {
        "->" => Message::Client(value),
        _ => Message::Server(value),
    }
}

/// Whether a message matches the page, with handles translated.
fn is_as_written(written: &Value, got: &Value, handles: &BTreeMap<i64, i64>) -> bool {
    match (written, got) {
        (Value::String(text), _) if text == ANYTHING => true,
        (Value::Object(written), Value::Object(got)) => {
            written.len() == got.len()
                && written.iter().all(|(name, value)| match got.get(name) {
                    None => false,
                    // The page knows neither the time nor this version.
                    Some(_) if name == "timestamp" => true,
                    Some(got) if name == "package" => {
                        got.as_str().unwrap().starts_with("faultvisor ")
                    }
                    Some(got) => is_as_written(value, got, handles),
                })
        }
        (Value::Number(number), Value::Number(got)) => {
            let named = number.as_i64().and_then(|number| handles.get(&number));
            number == got || named.is_some_and(|given| got.as_i64() == Some(*given))
        }
        _ => written == got,
    }
}

/// Replaces the page's handles with the actual ones.
fn translate(request: &mut Value, handles: &BTreeMap<i64, i64>) {
    for place in ["/arguments/tag", "/arguments/connection/id"] {
        if let Some(handle) = request.pointer_mut(place)
            && let Some(given) = handle.as_i64().and_then(|named| handles.get(&named))
        {
            *handle = json!(given);
        }
    }
}

/// The handle in an answer, if the request asked for one.
fn handle_in(request: &Value, answer: &Value) -> Option<i64> {
    let command = request.get("execute").or_else(|| request.get("method"));
    let place = match command.and_then(Value::as_str).unwrap_or_default() {
        "connect" => "/return/id",
        accessor if accessor.starts_with("get-") => match answer.get("result") {
            Some(_) => "/result",
            None => "/return",
        },
        _ => return None,
    };
    answer.pointer(place).and_then(Value::as_i64)
}

/// The event in a message of the server.
fn event(message: &Value) -> Event {
    let name = message.get("event").or_else(|| message.get("method"));
    match (name.and_then(Value::as_str), message.get("data")) {
        (Some(name), Some(data)) if data.is_object() => Event::decode(name, data.clone()).unwrap(),
        // The page abridges only this kind of event.
        _ => io_error("disk0", "No space left on device"),
    }
}

struct Stage {
    server: Server,
    client: Client,
    handles: BTreeMap<i64, i64>,
}

impl Stage {
    fn set(exchange: &[Message]) -> Self {
        let is = |test: fn(&Value) -> bool| {
            exchange.iter().any(|message| match message {
                Message::Client(value) | Message::Server(value) => test(value),
            })
        };
        let is_json_rpc = is(|message| message.get("jsonrpc").is_some());
        let greets = is(|message| message.get("QMP").is_some());
        let asks = exchange
            .iter()
            .any(|message| matches!(message, Message::Client(_)));
        let server = if is_json_rpc {
            Server::json_rpc()
        } else {
            Server::with(Monitor::builder())
        };
        if is(|message| message.get("initial").is_some()) {
            server.signals.raise(Event::Resume);
            server
                .signals
                .raise(io_error("disk0", "No space left on device"));
        }
        let client = match (is_json_rpc || greets, asks) {
            (true, _) => Client::connect(&server.path),
            (false, true) => server.capable_client(&["oob", "subscribe", "class-hints"]),
            (false, false) => server.client(),
        };
        Self {
            server,
            client,
            handles: BTreeMap::new(),
        }
    }

    fn play(&mut self, exchange: &[Message]) {
        let mut asked: Option<&Value> = None;
        for message in exchange {
            match message {
                Message::Client(request) => {
                    let mut request = request.clone();
                    translate(&mut request, &self.handles);
                    self.client.send(request.to_string());
                    asked = match message {
                        Message::Client(request) => Some(request),
                        Message::Server(_) => None,
                    };
                }
                Message::Server(written) => self.hear(written, asked.take()),
            }
        }
        assert!(asked.is_none(), "nobody answers {asked:?}");
    }

    fn hear(&mut self, written: &Value, asked: Option<&Value>) {
        if written["event"] == "EVENTS_LOST" {
            // Sent to a client that does not read: only its form is checked.
            Notice::decode("EVENTS_LOST", written["data"].clone()).unwrap();
            return;
        }
        let is_raised = asked.is_none() && written.get("QMP").is_none();
        if is_raised && written.get("initial").is_none() {
            self.server.signals.raise(event(written));
        }
        let got = self.client.read();
        if let Some(request) = asked
            && let Some(given) = handle_in(request, &got)
            && let Some(named) = handle_in(request, written)
        {
            self.handles.insert(named, given);
        }
        let is_right = is_as_written(written, &got, &self.handles);
        assert!(is_right, "the page has {written}, the monitor {got}");
    }
}

#[test]
fn every_exchange_of_the_page_happens_as_it_is_written() {
    let exchanges = exchanges(PAGE);
    assert!(exchanges.len() >= 8, "only {} were found", exchanges.len());
    for exchange in &exchanges {
        Stage::set(exchange).play(exchange);
    }
}

#[test]
fn a_message_is_compared_except_for_ellipses() {
    let none = BTreeMap::new();
    let handles = BTreeMap::from([(32, 7)]);
    let is = |written: Value, got: Value, handles| is_as_written(&written, &got, handles);
    assert!(is(
        json!({"a": "…", "tag": 32}),
        json!({"a": {"b": 1}, "tag": 7}),
        &handles
    ));
    assert!(!is(json!({"tag": 32}), json!({"tag": 7}), &none));
    assert!(!is(json!({"a": 1}), json!({"a": 1, "b": 2}), &none));
    assert!(!is(json!({"a": 1, "b": 2}), json!({"a": 1}), &none));
    assert!(!is(json!({"a": "x"}), json!({"a": "y"}), &none));
}
