//! docs/protocol.md, sections 4 to 9, against a model: for any order of connecting, disconnecting, raising, reading and
//! leaving, each connection receives exactly its events, once, in order, and every gap is reported with its size.

// Tests may fail by panicking, in their helpers too: clippy.toml knows only the functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use faultvisor_monitor::Monitor;
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Client, Server, io_error};

const CLIENTS: usize = 3;

/// The ways to connect to a signal.
#[derive(Clone, Copy, Debug)]
enum Way {
    Accessor,
    Listen,
    Subscription,
    Object,
}

#[derive(Clone, Debug)]
enum ServerStep {
    Connect {
        client: usize,
        way: Way,
        disk: Option<u8>,
    },
    End {
        client: usize,
        nth: usize,
    },
    Raise {
        disk: u8,
        count: usize,
    },
    Read {
        client: usize,
    },
    Leave {
        client: usize,
    },
}

fn step() -> impl Strategy<Value = ServerStep> {
    let client = 0..CLIENTS;
    let way = prop_oneof![
        Just(Way::Accessor),
        Just(Way::Listen),
        Just(Way::Subscription),
        Just(Way::Object),
    ];
    let disk = proptest::option::of(0..2_u8);
    prop_oneof![
        4 => (client.clone(), way, disk).prop_map(|(client, way, disk)| ServerStep::Connect { client, way, disk }),
        2 => (client.clone(), 0..5_usize).prop_map(|(client, nth)| ServerStep::End { client, nth }),
        5 => (0..2_u8, 1..1500_usize).prop_map(|(disk, count)| ServerStep::Raise { disk, count }),
        2 => client.clone().prop_map(|client| ServerStep::Read { client }),
        1 => client.prop_map(|client| ServerStep::Leave { client }),
    ]
}

/// The model's connection.
struct Connection {
    way: Way,
    /// The client's name for it.
    name: Value,
    disk: Option<u8>,
    /// The numbers of the events that are still to arrive, in full or counted as lost.
    owed: VecDeque<u64>,
}

/// A client with its modelled connections.
struct Modelled {
    client: Client,
    connections: BTreeMap<String, Connection>,
    names: u64,
}

impl Modelled {
    fn new(server: &Server) -> Self {
        Self {
            client: server.capable_client(&["subscribe", "class-hints"]),
            connections: BTreeMap::new(),
            names: 0,
        }
    }

    /// Receives everything up to the answer to a request, and returns the answer.
    fn ask(&mut self, request: &Value) -> Value {
        self.client.send(request.to_string());
        loop {
            let message = self.client.read();
            if message.get("return").is_some() || message.get("error").is_some() {
                return message;
            }
            self.hear(&message);
        }
    }

    /// Checks that an event or a notice is the next one that its connection is owed.
    fn hear(&mut self, message: &Value) {
        let name = [
            &message["tag"],
            &message["id"],
            &message["connection"]["id"],
        ]
        .into_iter()
        .find(|name| !name.is_null())
        .unwrap();
        let connection = self
            .connections
            .get_mut(&name.to_string())
            .unwrap_or_else(|| panic!("no such connection: {message}"));
        let data = message.get("data").unwrap_or(&message["arguments"]);
        let missed = match (message["event"].as_str(), message["signal"].as_str()) {
            (Some("EVENTS_LOST"), None) | (None, Some("events-lost")) => {
                data["count"].as_u64().unwrap()
            }
            (Some("BLOCK_IO_ERROR"), None) | (None, Some("io-error")) => {
                let number: u64 = data["reason"].as_str().unwrap().parse().unwrap();
                assert_eq!(connection.owed.pop_front(), Some(number), "{message}");
                return;
            }
            _ => panic!("nobody asked for {message}"),
        };
        for _ in 0..missed {
            assert!(connection.owed.pop_front().is_some(), "{message}");
        }
    }

    fn connect(&mut self, way: Way, disk: Option<u8>) {
        self.names += 1;
        let mut arguments = json!({});
        if let Some(disk) = disk {
            arguments["device"] = json!(format!("disk{disk}"));
        }
        let chosen = json!(format!("name {}", self.names));
        let (request, disk) = match way {
            Way::Accessor => (
                json!({"execute": "get-block-io-error-event", "arguments": arguments}),
                disk,
            ),
            Way::Listen => {
                arguments["event"] = json!("block-io-error");
                arguments["id"] = chosen.clone();
                (
                    json!({"execute": "listen-event", "arguments": arguments}),
                    disk,
                )
            }
            Way::Subscription => (
                json!({"subscribe": "BLOCK_IO_ERROR", "id": [chosen], "arguments": arguments}),
                disk,
            ),
            Way::Object => {
                // A signal always belongs to one object.
                let disk = disk.unwrap_or(0);
                let object = json!({"__jsonclass__": "BlockDevice", "id": format!("disk{disk}")});
                (
                    json!({"execute": "connect", "arguments": {"obj": object, "signal": "io-error"}}),
                    Some(disk),
                )
            }
        };
        let answer = self.ask(&request);
        let name = match way {
            Way::Accessor => answer["return"].clone(),
            Way::Listen => chosen,
            Way::Subscription => json!([chosen]),
            Way::Object => answer["return"]["id"].clone(),
        };
        assert!(answer.get("return").is_some(), "{answer}");
        let connection = Connection {
            way,
            name: name.clone(),
            disk,
            owed: VecDeque::new(),
        };
        let before = self.connections.insert(name.to_string(), connection);
        assert!(before.is_none(), "{name} was given out twice");
    }

    fn end(&mut self, nth: usize) {
        let Some(key) = self.connections.keys().nth(nth).cloned() else {
            return;
        };
        let connection = &self.connections[&key];
        let name = &connection.name;
        let request = match connection.way {
            Way::Accessor => json!({"execute": "put-event", "arguments": {"tag": name}}),
            Way::Listen => json!({"execute": "unlisten-event", "arguments": {"id": name}}),
            Way::Subscription => json!({"unsubscribe": "BLOCK_IO_ERROR", "id": name}),
            Way::Object => {
                let connection = json!({"__jsonclass__": "Connection", "id": name});
                json!({"execute": "disconnect", "arguments": {"connection": connection}})
            }
        };
        let answer = self.ask(&request);
        assert!(answer.get("return").is_some(), "{answer}");
        // Everything has arrived, and nothing may follow: `hear` would find no connection.
        let connection = self.connections.remove(&key).unwrap();
        assert!(
            connection.owed.is_empty(),
            "{key} is still owed {:?}",
            connection.owed
        );
    }

    /// Checks that every connection has received every raised event, in full or as a count.
    fn settle(&mut self) {
        self.ask(&json!({"execute": "query-version"}));
        while self
            .connections
            .values()
            .any(|connection| !connection.owed.is_empty())
        {
            let message = self.client.read();
            self.hear(&message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_connection_hears_what_it_is_owed_or_how_much_it_missed(
        steps in proptest::collection::vec(step(), 1..40),
    ) {
        // So little room that a client that does not read loses events.
        let server = Server::with(
            Monitor::builder()
                .default_event_interval(Duration::ZERO)
                .output_limit(4096),
        );
        // Initial events have tests of their own.
        server.is_current.store(false, Ordering::SeqCst);
        let mut clients: Vec<Modelled> = (0..CLIENTS).map(|_| Modelled::new(&server)).collect();
        // Answered only after the events raised before have been taken in.
        let mut witness = server.quiet_client();
        let mut number = 0;
        for step in steps {
            match step {
                ServerStep::Connect { client, way, disk } => clients[client].connect(way, disk),
                ServerStep::End { client, nth } => clients[client].end(nth),
                ServerStep::Read { client } => clients[client].settle(),
                ServerStep::Leave { client } => clients[client] = Modelled::new(&server),
                ServerStep::Raise { disk, count } => {
                    for _ in 0..count {
                        number += 1;
                        server.signals.raise(io_error(&format!("disk{disk}"), &number.to_string()));
                        let connections = clients.iter_mut().flat_map(|client| client.connections.values_mut());
                        for connection in connections.filter(|c| c.disk.is_none_or(|of| of == disk)) {
                            connection.owed.push_back(number);
                        }
                    }
                    witness.until_now();
                }
            }
        }
        clients.iter_mut().for_each(Modelled::settle);
    }
}
