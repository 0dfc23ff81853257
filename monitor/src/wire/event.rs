//! The encoder of events: each is written once in each form that a connection wants.
//!
//! A line is the event's head, the connection's members, and what closes the form's objects. The head ends where the
//! connection's members go, so that all connections share it.

use std::cell::OnceCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use faultvisor_schema::{Event, Notice};

use crate::wire::codec;
use crate::wire::objects;

/// When an event was raised, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timestamp {
    pub(crate) seconds: i64,
    pub(crate) microseconds: u32,
}

impl Timestamp {
    pub(crate) fn now() -> Self {
        // A clock set before 1970 is not worth failing for.
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        Self {
            seconds,
            microseconds: since.subsec_micros(),
        }
    }
}

/// The spellings of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// QMP's: `{"event": …, "data": …, "timestamp": …}`.
    Event,
    /// A signal of an object: `{"signal": …, "arguments": …, "timestamp": …}`.
    Signal,
    /// JSON-RPC's: `{"jsonrpc": "2.0", "method": …, "params": {"data": …, "timestamp": …}}`.
    Notification,
}

impl Form {
    /// What closes the objects that a head leaves open.
    pub(crate) fn closing(self) -> &'static str {
        match self {
            Self::Event | Self::Signal => "}",
            Self::Notification => "}}",
        }
    }
}

/// An event or a notice, encoded.
#[derive(Debug)]
pub(crate) struct EncodedEvent {
    name: &'static str,
    /// Its name as a property of an object.
    property: String,
    /// Its data as JSON, if it has any.
    data: Option<String>,
    /// When it was raised. A notice has no such moment.
    timestamp: Option<Timestamp>,
    /// The heads that were wanted so far, by form.
    heads: [OnceCell<Rc<[u8]>>; 3],
}

impl EncodedEvent {
    pub(crate) fn event(event: &Event, timestamp: Timestamp) -> serde_json::Result<Self> {
        Ok(Self {
            name: event.name(),
            property: objects::signal(event.signal()),
            data: codec::encode_part(|serializer| event.serialize_data(serializer))?,
            timestamp: Some(timestamp),
            heads: Default::default(),
        })
    }

    pub(crate) fn notice(notice: &Notice) -> serde_json::Result<Self> {
        Ok(Self {
            name: notice.name(),
            property: objects::dashed(notice.name()),
            data: codec::encode_part(|serializer| notice.serialize_data(serializer))?,
            timestamp: None,
            heads: Default::default(),
        })
    }

    /// Everything up to the connection's members.
    pub(crate) fn head(&self, form: Form) -> &Rc<[u8]> {
        self.heads[form as usize].get_or_init(|| self.encode_head(form).into_bytes().into())
    }

    fn encode_head(&self, form: Form) -> String {
        let Self { name, property, .. } = self;
        let data = self.data.as_deref();
        let timestamp = self.timestamp.map(|at| {
            format!(
                "\"timestamp\": {{\"seconds\": {}, \"microseconds\": {}}}",
                at.seconds, at.microseconds
            )
        });
        let (name, data) = match form {
            Form::Event => (
                Some(format!("{{\"event\": \"{name}\"")),
                data.map(|data| format!("\"data\": {data}")),
            ),
            Form::Signal => (
                Some(format!("{{\"signal\": \"{property}\"")),
                Some(format!("\"arguments\": {}", data.unwrap_or("{}"))),
            ),
            Form::Notification => (None, data.map(|data| format!("\"data\": {data}"))),
        };
        let members: Vec<String> = [name, data, timestamp].into_iter().flatten().collect();
        let members = members.join(", ");
        match form {
            Form::Event | Form::Signal => members,
            Form::Notification => {
                let method = self.name;
                format!("{{\"jsonrpc\": \"2.0\", \"method\": \"{method}\", \"params\": {{{members}")
            }
        }
    }
}
