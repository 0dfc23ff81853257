//! What to send to a server to receive an event.

use std::collections::VecDeque;
use std::sync::Arc;

use faultvisor_schema::AccessorArguments;
use serde_json::{Map, Value};

use crate::routes::Filter;
use crate::{Error, ErrorClass};

/// The steps to a connection.
pub(crate) struct Connecting {
    filter: Filter,
    /// The accessors that remain to be executed.
    accessors: VecDeque<String>,
    arguments: Map<String, Value>,
    asks: Ask,
}

/// What has to be known first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ask {
    Nothing,
    /// Which accessors exist.
    Accessors,
    /// Whether an event of this name exists, which then arrives by default.
    Events,
}

/// The next step.
#[derive(Debug, PartialEq)]
pub(crate) enum Instruction {
    Done,
    /// Execute this, and [pass](Connecting::told) its return value.
    Ask {
        command: &'static str,
    },
    /// Execute this accessor.
    Connect {
        command: String,
        arguments: Value,
    },
}

impl Connecting {
    /// To one event.
    pub(crate) fn to(name: &str, arguments: &AccessorArguments, has_accessors: bool) -> Self {
        if !has_accessors {
            return Self {
                filter: Filter::Default {
                    name: name.to_owned(),
                    device: arguments.device.clone(),
                },
                accessors: VecDeque::new(),
                arguments: Map::new(),
                asks: Ask::Events,
            };
        }
        let device = arguments
            .device
            .clone()
            .map(|device| ("device", device.into()));
        let initial = arguments.initial.then_some(("initial", true.into()));
        let stated = device.into_iter().chain(initial);
        Self {
            filter: Filter::Handles,
            accessors: VecDeque::from([accessor(name)]),
            arguments: stated
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            asks: Ask::Nothing,
        }
    }

    /// To all events.
    pub(crate) fn to_all(has_accessors: bool) -> Self {
        Self {
            filter: Filter::Everything,
            accessors: VecDeque::new(),
            arguments: Map::new(),
            asks: if has_accessors {
                Ask::Accessors
            } else {
                Ask::Nothing
            },
        }
    }

    /// The object receives default events.
    pub(crate) fn filter(&self) -> Filter {
        self.filter.clone()
    }

    /// The next step. `known_events` has the names of the server's events, if they are known.
    pub(crate) fn next(
        &mut self,
        known_events: Option<&Arc<[String]>>,
    ) -> Result<Instruction, Error> {
        match (self.asks, &self.filter, known_events) {
            (Ask::Accessors, ..) => {
                return Ok(Instruction::Ask {
                    command: "query-commands",
                });
            }
            (Ask::Events, _, None) => {
                return Ok(Instruction::Ask {
                    command: "query-qmp-schema",
                });
            }
            (Ask::Events, Filter::Default { name, .. }, Some(known)) if !known.contains(name) => {
                return Err(Error::EventNotFound {
                    event: name.clone(),
                });
            }
            _ => {}
        }
        Ok(match self.accessors.pop_front() {
            Some(command) => Instruction::Connect {
                command,
                arguments: Value::Object(self.arguments.clone()),
            },
            None => Instruction::Done,
        })
    }

    /// Takes the answer to a step. Returns the names of the server's events, if the answer has them.
    pub(crate) fn told(&mut self, answer: Value) -> Option<Arc<[String]>> {
        let entries = match answer {
            Value::Array(entries) => entries,
            _ => Vec::new(),
        };
        let name = |entry: &Value| Some(entry.get("name")?.as_str()?.to_owned());
        if self.asks == Ask::Accessors {
            self.asks = Ask::Nothing;
            let names = entries.iter().filter_map(name);
            let is_accessor = |name: &String| name.starts_with("get-") && name.ends_with("-event");
            self.accessors = names.filter(is_accessor).collect();
            return None;
        }
        let is_event = |entry: &&Value| entry.get("meta-type") == Some(&Value::from("event"));
        Some(entries.iter().filter(is_event).filter_map(name).collect())
    }
}

/// The meaning of a failed accessor: if it does not exist, the event does not either.
pub(crate) fn refused(event: &str, error: Error) -> Error {
    match error.class() {
        Some(ErrorClass::CommandNotFound) => Error::EventNotFound {
            event: event.to_owned(),
        },
        _ => error,
    }
}

/// The command that connects to an event.
fn accessor(event: &str) -> String {
    format!("get-{}-event", event.to_ascii_lowercase().replace('_', "-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn with_accessors_one_is_executed() {
        let arguments = AccessorArguments {
            device: Some("d".to_owned()),
            initial: true,
        };
        let mut connecting = Connecting::to("BLOCK_IO_ERROR", &arguments, true);
        assert_eq!(connecting.filter(), Filter::Handles);
        let expected = Instruction::Connect {
            command: "get-block-io-error-event".to_owned(),
            arguments: json!({"device": "d", "initial": true}),
        };
        assert_eq!(connecting.next(None).unwrap(), expected);
        assert_eq!(connecting.next(None).unwrap(), Instruction::Done);
    }

    #[test]
    fn without_accessors_the_event_has_to_exist() {
        let mut connecting = Connecting::to("STOP", &AccessorArguments::default(), false);
        assert_eq!(
            connecting.next(None).unwrap(),
            Instruction::Ask {
                command: "query-qmp-schema"
            }
        );
        let known = connecting.told(json!([
            {"name": "STOP", "meta-type": "event", "arg-type": "0"},
            {"name": "RESUME", "meta-type": "command"},
        ]));
        assert_eq!(connecting.next(known.as_ref()).unwrap(), Instruction::Done);
        let mut other = Connecting::to("RESUME", &AccessorArguments::default(), false);
        assert!(matches!(
            other.next(known.as_ref()),
            Err(Error::EventNotFound { event }) if event == "RESUME"
        ));
    }

    #[test]
    fn all_events_are_every_accessor_of_the_server() {
        let mut connecting = Connecting::to_all(true);
        assert_eq!(
            connecting.next(None).unwrap(),
            Instruction::Ask {
                command: "query-commands"
            }
        );
        connecting
            .told(json!([{"name": "get-stop-event"}, {"name": "stop"}, {"name": "get-new-event"}]));
        for expected in ["get-stop-event", "get-new-event"] {
            let Instruction::Connect { command, .. } = connecting.next(None).unwrap() else {
                panic!("no accessor")
            };
            assert_eq!(command, expected);
        }
        assert_eq!(connecting.next(None).unwrap(), Instruction::Done);
        assert_eq!(
            Connecting::to_all(false).next(None).unwrap(),
            Instruction::Done
        );
    }
}
