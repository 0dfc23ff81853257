//! The selection of events.

use libqmp::{AccessorArguments, AnyEvent, Error, ErrorClass, Occurrence, RawEvent};
use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;
use crate::help::event_name;
use crate::suggestion;

/// Events to connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Their names; empty for all.
    names: Vec<String>,
    device: Option<String>,
    initial: bool,
}

impl Selection {
    /// Reads names of events, and `device=`.
    ///
    /// # Errors
    ///
    /// A word is another `key=value`, or the current state is asked for without an event.
    pub fn from_words(words: &[String], initial: bool) -> Result<Self, Failure> {
        let mut selection = Self {
            initial,
            ..Self::default()
        };
        for word in words {
            match word.split_once('=') {
                None => selection.names.push(event_name(word)),
                Some(("device", _)) if selection.device.is_some() => {
                    return Err(Failure::Usage("watch: 'device' is given twice".to_owned()));
                }
                Some(("device", device)) => selection.device = Some(device.to_owned()),
                Some((key, _)) => {
                    let error = format!("watch: there is no '{key}'; there is device=DEVICE");
                    return Err(Failure::Usage(error));
                }
            }
        }
        if initial && selection.names.is_empty() {
            let error = "watch: --initial needs the names of events";
            return Err(Failure::Usage(error.to_owned()));
        }
        Ok(selection)
    }

    /// Connects. `handler` is called once for each connection that an event matches.
    ///
    /// # Errors
    ///
    /// An event or a device is unknown, or the connection fails.
    pub fn connect(
        &self,
        client: &Client,
        handler: impl FnMut(&Occurrence<RawEvent>) + Clone + Send + 'static,
    ) -> Result<Vec<AnyEvent>, Failure> {
        if self.names.is_empty() {
            return Ok(vec![self.connect_to_all(client, handler)?]);
        }
        let arguments = AccessorArguments {
            device: self.device.clone(),
            initial: self.initial,
        };
        let each = |name: &String| {
            let events = client.session().get_event(name, &arguments);
            let events = events.map_err(|error| explained(client, name, error))?;
            events.connect(handler.clone())?;
            Ok(events)
        };
        self.names.iter().map(each).collect()
    }

    /// Connects to all events. A device is selected by the events' data, as there is no accessor for all of them.
    fn connect_to_all(
        &self,
        client: &Client,
        mut handler: impl FnMut(&Occurrence<RawEvent>) + Send + 'static,
    ) -> Result<AnyEvent, Failure> {
        let events = client.session().any_event()?;
        let device = self.device.clone();
        events.connect(move |event| {
            let of = event.data.data.get("device").and_then(Value::as_str);
            if device.is_none() || device.as_deref() == of {
                handler(event);
            }
        })?;
        Ok(events)
    }
}

/// Adds the most similar event to the error for an unknown one. A server with accessors reports the accessor as an unknown
/// command.
fn explained(client: &Client, name: &str, error: Error) -> Failure {
    let not_found = matches!(error, Error::EventNotFound { .. })
        || error.class() == Some(&ErrorClass::CommandNotFound);
    if not_found
        && let Ok(introspection) = client.introspection()
        && introspection.event_type(name).is_none()
    {
        return Failure::UnknownEvent {
            name: name.to_owned(),
            nearest: suggestion::nearest(name, introspection.event_names()).map(str::to_owned),
        };
    }
    error.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(words: &[&str], initial: bool) -> Result<Selection, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Selection::from_words(&words, initial).map_err(|failure| failure.to_string())
    }

    #[test]
    fn events_are_named_as_in_the_schema_or_as_in_their_accessors() {
        let selected = selection(&["BLOCK_IO_ERROR", "device=disk0", "stop"], true).unwrap();
        assert_eq!(selected.names, ["BLOCK_IO_ERROR", "STOP"]);
        assert_eq!(selected.device.as_deref(), Some("disk0"));
        assert_eq!(
            selection(&["block-io-error"], false).unwrap().names,
            ["BLOCK_IO_ERROR"]
        );
        assert_eq!(selection(&[], false), Ok(Selection::default()));
    }

    #[test]
    fn an_invalid_selection_is_refused() {
        let refused = |words, initial| selection(words, initial).unwrap_err();
        assert_eq!(
            refused(&["id=x"], false),
            "watch: there is no 'id'; there is device=DEVICE"
        );
        assert_eq!(
            refused(&["device=a", "device=b"], false),
            "watch: 'device' is given twice"
        );
        assert_eq!(
            refused(&["device=a"], true),
            "watch: --initial needs the names of events"
        );
    }
}
