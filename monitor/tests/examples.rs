//! The examples in the schema's documentation take place as written.
//!
//! The client's messages are sent to a monitor; the server's are compared with the example. The machine answers its
//! commands with the example's own answer, through the schema's types: an answer that does not decode fails. Events are
//! raised from the example's own data, in the same way.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use faultvisor_monitor::{ListenAddress, Machine, Monitor, MonitorHandle, Reply};
use faultvisor_qapi_generator::{Exchange, Message, load};
use faultvisor_schema::{
    COMMANDS, CommandError, CommandOwner, ErrorClass, Event, MachineCommand, MachineReturn,
    MonitorReturn, Notice,
};
use serde_json::{Map, Value, json};
use support::Client;
use tempfile::TempDir;

/// Commands whose examples show a few elements of a longer answer.
const ABRIDGED: [&str; 2] = ["query-commands", "query-qmp-schema"];

/// Commands that are executed before the negotiation ends.
const BEFORE_NEGOTIATION: [&str; 2] = ["qmp_capabilities", "disable-default-events"];

/// Answers every command with the example's answer.
struct ExampleMachine {
    answer: Arc<Mutex<Value>>,
}

impl Machine for ExampleMachine {
    fn submit(&self, command: MachineCommand, reply: Reply) {
        let answer = self.answer.lock().unwrap().clone();
        reply.send(match answer.get("error") {
            Some(error) => Err(command_error(error)),
            None => MachineReturn::decode(command.name(), answer["return"].clone()),
        });
    }

    fn answer(&self, _: &MachineCommand) -> Option<MachineReturn> {
        None
    }

    fn has_device(&self, _: &str) -> bool {
        true
    }

    fn is_current(&self, _: &Event) -> bool {
        false
    }
}

fn command_error(error: &Value) -> CommandError {
    let class = [
        ErrorClass::GenericError,
        ErrorClass::CommandNotFound,
        ErrorClass::DeviceNotFound,
        ErrorClass::DeviceNotActive,
        ErrorClass::KVMMissingCap,
        ErrorClass::InvalidParameterValue,
    ]
    .into_iter()
    .find(|class| serde_json::to_value(class).unwrap() == error["class"])
    .unwrap_or_else(|| panic!("no class of errors: {error}"));
    CommandError::new(class, error["desc"].as_str().unwrap())
}

/// A fresh monitor for one example.
struct Stage {
    handle: MonitorHandle,
    answer: Arc<Mutex<Value>>,
    client: Client,
    /// The example's handles, with the actual ones.
    handles: BTreeMap<String, Value>,
    _directory: TempDir,
}

impl Stage {
    fn set(exchange: &Exchange<'_>) -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("qmp.sock");
        let address: ListenAddress = format!("unix:{}", path.display()).parse().unwrap();
        let answer = Arc::new(Mutex::new(Value::Null));
        let machine = ExampleMachine {
            answer: Arc::clone(&answer),
        };
        let monitor = Monitor::builder().bind(&[address]).unwrap();
        let handle = monitor.start(Box::new(machine)).unwrap();
        let mut client = Client::connect(&path);
        assert!(client.read()["QMP"].is_object());
        let negotiates = exchange.messages.iter().any(|message| match message {
            Message::Client(text) => BEFORE_NEGOTIATION.contains(&command(&json(text))),
            Message::Server(_) => false,
        });
        if !negotiates {
            // Default events would arrive beside the connected ones.
            if exchange
                .messages
                .iter()
                .any(|m| matches!(m, Message::Client(_)))
            {
                client.execute("disable-default-events");
            }
            // Connections to objects need the capability.
            let objects = exchange.messages.iter().any(|message| match message {
                Message::Client(text) => command(&json(text)) == "connect",
                Message::Server(_) => false,
            });
            let enable: &[&str] = if objects { &["class-hints"] } else { &[] };
            let negotiate = json!({"execute": "qmp_capabilities", "arguments": {"enable": enable}});
            client.send(negotiate.to_string());
            assert_eq!(client.read(), json!({"return": {}}));
        }
        Self {
            handle,
            answer,
            client,
            handles: BTreeMap::new(),
            _directory: directory,
        }
    }

    /// Sends a request, with the example's answer as the machine's.
    fn request(&mut self, request: &Value, answer: &Value) {
        *self.answer.lock().unwrap() = answer.clone();
        let mut request = request.clone();
        self.translate(&mut request);
        self.client.send(request.to_string());
        let command = command(&request);
        let mut expected = answer.clone();
        let got = self.client.read();
        let handle = match command {
            "connect" => Some("/return/id"),
            accessor if accessor.starts_with("get-") => Some("/return"),
            _ => None,
        };
        if let Some(handle) = handle {
            let named = expected.pointer_mut(handle).unwrap();
            let given = got.pointer(handle).unwrap();
            assert!(given.is_i64(), "{got}");
            self.handles.insert(named.to_string(), given.clone());
            *named = given.clone();
        } else if ABRIDGED.contains(&command) {
            for element in expected["return"].as_array().unwrap() {
                let list = got["return"].as_array().unwrap();
                assert!(list.contains(element), "{element} is not in {got}");
            }
            expected["return"] = got["return"].clone();
        }
        compare(&expected, &got);
        answers_as_the_schema_says(command, answer);
    }

    /// Raises an event, and waits for it to arrive as the example shows it. A notice of the monitor is only checked
    /// against the schema.
    fn event(&mut self, event: &Value) {
        let name = event["event"].as_str().unwrap();
        let data = event.get("data").cloned().unwrap_or_else(|| json!({}));
        if let Ok(notice) = Notice::decode(name, data.clone()) {
            let encoded = serde_json::to_value(notice).unwrap();
            assert_eq!(encoded["data"], event["data"]);
            return;
        }
        let decoded = Event::decode(name, data).unwrap();
        self.handle.signals().raise(decoded);
        let mut expected = event.clone();
        self.translate(&mut expected);
        compare(&expected, &self.client.read());
    }

    /// Replaces the example's handles with the actual ones.
    fn translate(&self, message: &mut Value) {
        for place in ["/arguments/tag", "/arguments/connection/id", "/tag"] {
            if let Some(tag) = message.pointer_mut(place)
                && let Some(given) = self.handles.get(&tag.to_string())
            {
                *tag = given.clone();
            }
        }
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn command(request: &Value) -> &str {
    let name = request.get("execute").or_else(|| request.get("exec-oob"));
    name.and_then(Value::as_str).unwrap_or_default()
}

/// Compares all but the time and this program's version.
fn compare(expected: &Value, got: &Value) {
    let constant = |message: &Value| {
        let mut message = message.clone();
        if let Some(timestamp) = message.get_mut("timestamp") {
            let parts = timestamp.as_object_mut().unwrap();
            parts.values_mut().for_each(|part| {
                assert!(part.is_u64());
                *part = json!(0);
            });
        }
        if let Some(package) = message.pointer_mut("/return/package") {
            let name = package.as_str().unwrap().split(' ').next().unwrap();
            *package = json!(name);
        }
        message
    };
    assert_eq!(constant(expected), constant(got));
}

/// Checks that the example's answer to a monitor command decodes as the schema's type.
fn answers_as_the_schema_says(command: &str, answer: &Value) {
    let Some(value) = answer.get("return") else {
        return;
    };
    let entry = COMMANDS.iter().find(|entry| entry.name == command).unwrap();
    if entry.owner == CommandOwner::Monitor {
        let decoded = MonitorReturn::decode(command, value.clone()).unwrap();
        assert_eq!(&serde_json::to_value(decoded).unwrap(), value);
    }
}

fn perform(exchange: &Exchange<'_>) {
    let mut stage = Stage::set(exchange);
    let mut messages = exchange.messages.iter();
    while let Some(message) = messages.next() {
        match message {
            Message::Server(text) => stage.event(&json(text)),
            Message::Client(text) => {
                let Some(Message::Server(answer)) = messages.next() else {
                    panic!("nobody answers {text}")
                };
                stage.request(&json(text), &json(answer));
            }
        }
    }
}

#[test]
fn every_example_happens_as_it_is_written() {
    let schema = load(Path::new("../schema/qapi/qapi-schema.json")).unwrap();
    let exchanges = schema.examples();
    assert!(!exchanges.is_empty());
    let mut failed = Map::new();
    for exchange in &exchanges {
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| perform(exchange)));
        if outcome.is_err() {
            failed.insert(exchange.location.to_string(), json!(exchange.of.name));
        }
    }
    assert!(failed.is_empty(), "these examples are wrong: {failed:?}");
}

#[test]
fn every_command_and_every_event_has_an_example() {
    let schema = load(Path::new("../schema/qapi/qapi-schema.json")).unwrap();
    let exchanges = schema.examples();
    let names = COMMANDS
        .iter()
        .map(|entry| entry.name)
        .filter(|name| schema.definitions.iter().any(|d| d.name == *name));
    let events = faultvisor_schema::SignalName::ALL.iter().map(|s| s.name());
    for name in names.chain(events) {
        assert!(
            exchanges.iter().any(|exchange| exchange.of.name == name),
            "'{name}' has no example"
        );
    }
}
