//! A client of the monitor for tests: a libqmp session, and its events in order of arrival.
//!
//! Each event arrives once, and every time: connections, unlike default events, have no rate limit.

use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use libqmp::{AnyEvent, Error, Occurrence, RawEvent, Session, Timestamp};
use serde_json::Value;

/// An event, with its data as on the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name, such as `BLOCK_IO_ERROR`.
    pub name: String,
    /// An object; without members for an event without data.
    pub data: Value,
    /// When it was raised.
    pub timestamp: Timestamp,
}

impl From<Occurrence<RawEvent>> for Event {
    fn from(occurrence: Occurrence<RawEvent>) -> Self {
        let timestamp = occurrence.timestamp;
        Self {
            name: occurrence.data.name,
            data: Value::Object(occurrence.data.data),
            timestamp,
        }
    }
}

/// A session with all typed commands, and the events that it receives.
#[derive(Debug)]
pub struct Client {
    session: Session,
    events: AnyEvent,
    /// The events to return; all if empty.
    names: Vec<String>,
    patience: Duration,
}

impl Client {
    /// Connects to a Unix socket as soon as something listens there. `patience` bounds each wait.
    pub fn connect(path: &Path, patience: Duration) -> Result<Self, Error> {
        let options = Session::options().within(patience).timeout(patience);
        let session = options.connect(&format!("unix:{}", path.display()))?;
        Self::of(session, patience)
    }

    /// Receives the events of a session from now on.
    pub fn of(session: Session, patience: Duration) -> Result<Self, Error> {
        Ok(Self {
            events: session.any_event()?,
            session,
            names: Vec::new(),
            patience,
        })
    }

    /// The same client, which drops all events but those of these names.
    #[must_use]
    pub fn only(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Executes a command without arguments, known to the schema or not.
    pub fn execute(&self, command: &str) -> Result<Value, Error> {
        self.session.execute_raw(command, None)
    }

    /// Executes a command with arguments, valid or not.
    pub fn execute_with(&self, command: &str, arguments: Value) -> Result<Value, Error> {
        self.session.execute_raw(command, Some(arguments))
    }

    /// The next event of any name.
    pub fn next_event(&self) -> Result<Event, Error> {
        self.next_event_within(self.patience)
    }

    /// The next event of any name, waited for only so long.
    pub fn next_event_within(&self, within: Duration) -> Result<Event, Error> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = Event::from(self.events.recv_timeout(left)?);
            if self.is_of_interest(&event) {
                return Ok(event);
            }
        }
    }

    /// The next event of that name; those before it are dropped.
    pub fn wait_for_event(&self, name: &str) -> Result<Event, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self.next_event_within(left)?;
            if event.name == name {
                return Ok(event);
            }
        }
    }

    /// The events received and not returned yet: at least those raised before the last answer.
    pub fn take_events(&self) -> Result<Vec<Event>, Error> {
        let mut events = Vec::new();
        loop {
            match self.events.try_recv() {
                Ok(Some(occurrence)) => {
                    let event = Event::from(occurrence);
                    events.extend(self.is_of_interest(&event).then_some(event));
                }
                Ok(None) | Err(Error::Closed { .. }) => return Ok(events),
                Err(error) => return Err(error),
            }
        }
    }

    fn is_of_interest(&self, event: &Event) -> bool {
        self.names.is_empty() || self.names.contains(&event.name)
    }
}

impl Deref for Client {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}
