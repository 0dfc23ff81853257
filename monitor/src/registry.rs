//! The connections: who wants to hear which signal, and under which handle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::{AtomicI64, Ordering};

use faultvisor_schema::{Event, SignalName};

use crate::codec;
use crate::session::SessionId;

/// The largest handle: what a client that keeps numbers in doubles still tells apart from the next one.
const LAST_HANDLE: i64 = (1 << 53) - 1;

/// The next handle. It belongs to the process, so that no monitor in it ever gives one out a second time.
static NEXT_HANDLE: AtomicI64 = AtomicI64::new(1);

/// The name of a connection, for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(i64);

impl Handle {
    fn next() -> Option<Self> {
        NEXT_HANDLE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next <= LAST_HANDLE).then_some(next + 1)
            })
            .ok()
            .map(Self)
    }

    /// What a client calls a handle; whether there is one is the registry's to say.
    pub(crate) fn from_tag(tag: i64) -> Self {
        Self(tag)
    }

    /// As it is on the wire.
    pub(crate) fn tag(self) -> i64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests(tag: i64) -> Self {
        Self(tag)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A connection: a signal, a filter, and how its events are rendered.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) session: SessionId,
    pub(crate) signal: SignalName,
    /// The only device to hear of.
    device: Option<String>,
    /// What ends each of its events on the wire.
    pub(crate) tail: Rc<[u8]>,
}

impl Connection {
    fn wants(&self, device: Option<&str>) -> bool {
        self.device.is_none() || self.device.as_deref() == device
    }
}

/// Every connection of every session.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: BTreeMap<Handle, Connection>,
    by_signal: BTreeMap<SignalName, BTreeSet<Handle>>,
    by_session: BTreeMap<SessionId, BTreeSet<Handle>>,
}

impl Registry {
    /// Makes a connection. There is none to be had once all handles were given out.
    pub(crate) fn connect(
        &mut self,
        session: SessionId,
        signal: SignalName,
        device: Option<String>,
    ) -> Option<Handle> {
        let handle = Handle::next()?;
        let tail = codec::tagged(handle);
        self.connections.insert(
            handle,
            Connection {
                session,
                signal,
                device,
                tail,
            },
        );
        self.by_signal.entry(signal).or_default().insert(handle);
        self.by_session.entry(session).or_default().insert(handle);
        Some(handle)
    }

    /// Ends a connection that `session` holds, and says what it was.
    pub(crate) fn disconnect(&mut self, session: SessionId, handle: Handle) -> Option<Connection> {
        if !self.by_session.get_mut(&session)?.remove(&handle) {
            return None;
        }
        self.remove(handle)
    }

    /// Ends every connection of a session.
    pub(crate) fn leave(&mut self, session: SessionId) {
        for handle in self.by_session.remove(&session).unwrap_or_default() {
            self.remove(handle);
        }
    }

    /// How many connections a session holds.
    pub(crate) fn held_by(&self, session: SessionId) -> usize {
        self.by_session.get(&session).map_or(0, BTreeSet::len)
    }

    /// The connections that an event goes to, the oldest first.
    pub(crate) fn of_event(&self, event: &Event) -> impl Iterator<Item = (Handle, &Connection)> {
        self.of(event.signal(), event.device())
    }

    /// The connections that an event of a signal about a device goes to.
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

#[cfg(test)]
mod tests;
