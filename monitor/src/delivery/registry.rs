//! The connections of all sessions, by signal and by the client's name for them.
//!
//! All ways to connect make one kind of connection: they differ in the client's name for it ([`Hold`]) and in the form
//! of its events ([`Rendering`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use faultvisor_schema::{Event, SignalName};
use serde_json::value::RawValue;

use crate::budget::{Budget, Charge};
use crate::delivery::rendering::Rendering;
use crate::identity::{Handle, SessionId};
use crate::wire::event::Form;
use crate::wire::protocol::Protocol;

/// A connection: a signal, a filter, and the form of its events.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: SessionId,
    pub(crate) signal: SignalName,
    /// Only events about this device.
    pub(crate) device: Option<String>,
    pub(crate) rendering: Rc<Rendering>,
    hold: Hold,
}

/// A client's name for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Its handle, the tag of its events.
    Tag,
    /// A name of the client's own: the canonical text, which equal names share.
    Name(String),
    /// Its handle, as an object.
    Object,
}

/// A connection to be made.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) session: SessionId,
    pub(crate) signal: SignalName,
    pub(crate) device: Option<String>,
}

/// A connection is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("A session can hold {CONNECTION_LIMIT} connections at most")]
    TooMany,
    #[error("The id of a connection can have {NAME_LIMIT} bytes at most")]
    NameTooLong,
    #[error("The ids of a session's connections can have {NAMES_LIMIT} bytes together at most")]
    NamesTooLong,
    #[error("The connections of all sessions can take {TOTAL_LIMIT} bytes together at most")]
    NoRoom,
    #[error("Id '{0}' is in use already")]
    InUse(String),
    #[error("There are no connection handles left")]
    NoHandles,
}

/// Most connections of a session.
///
/// One event for each of them fits into the default output.
const CONNECTION_LIMIT: usize = 10_000;

/// The longest name of a connection in bytes, as spelled.
pub(crate) const NAME_LIMIT: usize = 4096;

/// The length of all names of a session's connections in bytes.
const NAMES_LIMIT: usize = 1024 * 1024;

/// The memory of all connections in bytes, beside each session's guaranteed share.
const TOTAL_LIMIT: usize = 32 * 1024 * 1024;

/// The memory of a connection without its name, as the allocator counts.
const CONNECTION_COST: usize = 400;

impl Connection {
    fn wants(&self, device: Option<&str>) -> bool {
        self.device.is_none() || self.device.as_deref() == device
    }
}

/// The connections of one session.
#[derive(Debug)]
struct Held {
    handles: BTreeSet<Handle>,
    names: HashMap<String, Named>,
    /// The length of the names.
    name_bytes: usize,
    /// The memory charged for them.
    charge: Charge,
}

impl Held {
    fn new(budget: &Rc<Budget>) -> Self {
        Self {
            handles: BTreeSet::new(),
            names: HashMap::new(),
            name_bytes: 0,
            charge: Charge::new(budget),
        }
    }
}

#[derive(Debug)]
struct Named {
    handle: Handle,
    /// The bytes counted against the limit of names.
    bytes: usize,
    /// The bytes charged for the name, wherever it is kept.
    charged: usize,
}

/// Every connection of every session.
#[derive(Debug)]
pub(crate) struct Registry {
    connections: BTreeMap<Handle, Connection>,
    by_signal: BTreeMap<SignalName, BTreeSet<Handle>>,
    by_session: BTreeMap<SessionId, Held>,
    /// The memory of all connections.
    budget: Rc<Budget>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            connections: BTreeMap::new(),
            by_signal: BTreeMap::new(),
            by_session: BTreeMap::new(),
            budget: Budget::new(TOTAL_LIMIT),
        }
    }
}

impl Registry {
    /// The memory of all connections.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    fn held(&mut self, session: SessionId) -> &mut Held {
        let held = self.by_session.entry(session);
        held.or_insert_with(|| Held::new(&self.budget))
    }

    /// Makes a connection whose events carry its handle as tag.
    pub(crate) fn connect_tagged(
        &mut self,
        wanted: Wanted,
        form: Form,
    ) -> Result<Handle, ConnectError> {
        self.connect(wanted, Hold::Tag, |handle| Rendering::tagged(form, handle))
    }

    /// Makes a connection that its client names.
    pub(crate) fn connect_named(
        &mut self,
        wanted: Wanted,
        form: Form,
        id: &RawValue,
        name: String,
    ) -> Result<Handle, ConnectError> {
        let session = wanted.session;
        let held = self.held(session);
        if held.names.contains_key(&name) {
            return Err(ConnectError::InUse(spoken(&name)));
        }
        // Its canonical text is kept twice, and its spelling twice.
        let bytes = 2 * name.len() + id.get().len();
        let charged = bytes + id.get().len();
        if held.name_bytes.saturating_add(bytes) > NAMES_LIMIT {
            return Err(ConnectError::NamesTooLong);
        }
        if !held.charge.allows(CONNECTION_COST + charged) {
            return Err(ConnectError::NoRoom);
        }
        let handle = self.connect(wanted, Hold::Name(name.clone()), |_| {
            Rendering::named(form, id)
        })?;
        let held = self.held(session);
        held.name_bytes += bytes;
        held.charge.add(charged);
        held.names.insert(
            name,
            Named {
                handle,
                bytes,
                charged,
            },
        );
        Ok(handle)
    }

    /// Makes a connection that is an object.
    pub(crate) fn connect_object(
        &mut self,
        wanted: Wanted,
        protocol: Protocol,
    ) -> Result<Handle, ConnectError> {
        self.connect(wanted, Hold::Object, |handle| {
            Rendering::object(protocol, handle)
        })
    }

    fn connect(
        &mut self,
        wanted: Wanted,
        hold: Hold,
        rendering: impl FnOnce(Handle) -> Rendering,
    ) -> Result<Handle, ConnectError> {
        let Wanted {
            session,
            signal,
            device,
        } = wanted;
        let held = self.held(session);
        if held.handles.len() >= CONNECTION_LIMIT {
            return Err(ConnectError::TooMany);
        }
        if !held.charge.allows(CONNECTION_COST) {
            return Err(ConnectError::NoRoom);
        }
        let handle = Handle::allocate().ok_or(ConnectError::NoHandles)?;
        held.handles.insert(handle);
        held.charge.add(CONNECTION_COST);
        self.by_signal.entry(signal).or_default().insert(handle);
        self.connections.insert(
            handle,
            Connection {
                session,
                signal,
                device,
                rendering: Rc::new(rendering(handle)),
                hold,
            },
        );
        Ok(handle)
    }

    /// A connection.
    pub(crate) fn connection(&self, handle: Handle) -> Option<&Connection> {
        self.connections.get(&handle)
    }

    /// The session's connection of this name.
    pub(crate) fn named(&self, session: SessionId, name: &str) -> Option<Handle> {
        let named = self.by_session.get(&session)?.names.get(name)?;
        Some(named.handle)
    }

    /// Ends a connection that `session` holds under this name. Returns whether it did.
    pub(crate) fn disconnect(&mut self, session: SessionId, handle: Handle, hold: &Hold) -> bool {
        let holds =
            |connection: &Connection| connection.session == session && connection.hold == *hold;
        if !self.connections.get(&handle).is_some_and(holds) {
            return false;
        }
        self.remove(handle);
        if let Some(held) = self.by_session.get_mut(&session) {
            held.handles.remove(&handle);
            held.charge.give_back(CONNECTION_COST);
            if let Hold::Name(name) = hold
                && let Some(named) = held.names.remove(name)
            {
                held.name_bytes -= named.bytes;
                held.charge.give_back(named.charged);
            }
        }
        true
    }

    /// Ends every connection of a session.
    pub(crate) fn leave(&mut self, session: SessionId) {
        if let Some(held) = self.by_session.remove(&session) {
            for handle in &held.handles {
                self.remove(*handle);
            }
        }
    }

    /// The connections that receive an event, the oldest first.
    pub(crate) fn of_event(&self, event: &Event) -> impl Iterator<Item = (Handle, &Connection)> {
        self.of(event.signal(), event.device())
    }

    /// The connections that receive an event of a signal about a device.
    pub(crate) fn of(
        &self,
        signal: SignalName,
        device: Option<&str>,
    ) -> impl Iterator<Item = (Handle, &Connection)> {
        let handles = self.by_signal.get(&signal).into_iter().flatten();
        handles
            .filter_map(|handle| Some((*handle, self.connections.get(handle)?)))
            .filter(move |(_, connection)| connection.wants(device))
    }

    fn remove(&mut self, handle: Handle) -> Option<Connection> {
        let connection = self.connections.remove(&handle)?;
        if let Some(handles) = self.by_signal.get_mut(&connection.signal) {
            handles.remove(&handle);
        }
        Some(connection)
    }
}

/// A name, for a message.
pub(crate) fn spoken(name: &str) -> String {
    match serde_json::from_str(name) {
        Ok(serde_json::Value::String(text)) => text,
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests;
