//! Events as objects, each a connection to a signal.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultvisor_schema::{AccessorArguments, Connection, Decode, Signal};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::connecting::{Connecting, Instruction, refused};
use crate::core::{lock, own_waker};
use crate::message::Band;
use crate::routes::{Deliver, ObjectId, RawOccurrence};
use crate::said::Data;
use crate::socket::Deadline;
use crate::{Error, Session};

/// When an event was raised, by the server's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// Microseconds beyond these.
    pub microseconds: i64,
}

/// An event with its data as they are on the wire.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RawEvent {
    /// Its name, such as `BLOCK_IO_ERROR`.
    pub name: String,
    /// Its data.
    pub data: Map<String, Value>,
    /// The client's name for the connection that it arrived on, if it has one (`listen-event`).
    pub id: Option<Value>,
}

/// An event that has occurred.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence<T> {
    /// Its data.
    pub data: T,
    /// When it was raised.
    pub timestamp: Timestamp,
    /// Whether it replays the current state.
    pub initial: bool,
    /// The number of events of this object that were lost before this one: they were not received in time, here or at
    /// the server, or they did not match their type and could not be passed to a handler.
    pub lost: u64,
}

impl<T> Deref for Occurrence<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// The event as received.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    pub(crate) name: String,
    pub(crate) data: Data,
    pub(crate) id: Option<Value>,
}

/// A type that an event's data can be decoded to.
pub trait EventData: Sized + Send + 'static {
    /// Decodes them.
    ///
    /// # Errors
    ///
    /// They do not match.
    fn read(event: Unread) -> Result<Self, Error>;
}

impl EventData for RawEvent {
    fn read(event: Unread) -> Result<Self, Error> {
        match event.data.members() {
            Ok(data) => Ok(Self {
                name: event.name,
                data,
                id: event.id,
            }),
            Err(why) => Err(misfit(event.name, why)),
        }
    }
}

impl<T: Decode + DeserializeOwned + Send + 'static> EventData for T {
    fn read(event: Unread) -> Result<Self, Error> {
        let read = event.data.read();
        read.map_err(|why| misfit(event.name, why))
    }
}

fn misfit(event: String, why: String) -> Error {
    Error::Event { event, why }
}

impl<T: EventData> Occurrence<T> {
    pub(crate) fn read(raw: RawOccurrence) -> Result<Self, Error> {
        Ok(Self {
            data: T::read(raw.event)?,
            timestamp: raw.timestamp,
            initial: raw.initial,
            lost: raw.lost,
        })
    }
}

/// Identifies a handler of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandlerId(u64);

/// A connection to a signal: while this lives it receives the signal's events, complete and in order.
///
/// Events are queued until they are received ([`recv`](Self::recv) and the like, or iteration), or are passed to
/// handlers ([`connect`](Self::connect)) while there are any. An object queues 65,536 events of 64 MiB together; the
/// next event says how many were lost beyond that, or at the server.
///
/// Dropping it disconnects (`put-event`). No handler of it runs afterwards: the drop waits for one that is running in
/// another thread. A handler may drop its own object, which does not wait for itself. A handler must not need what the
/// dropping thread holds.
///
/// If the server has no accessors, like QEMU, the object uses the events that arrive by default. QEMU limits
/// `BLOCK_IO_ERROR` to one a second for a device.
#[must_use = "dropping it disconnects"]
pub struct Events<T> {
    session: Session,
    object: ObjectId,
    /// What is waited for, for an error's message.
    name: String,
    handlers: Arc<Handlers<T>>,
    _of: PhantomData<fn() -> T>,
}

/// Every event of a server, or all of one name, as they are on the wire.
pub type AnyEvent = Events<RawEvent>;

struct Handlers<T> {
    signal: Signal<Occurrence<T>>,
    connections: Mutex<BTreeMap<u64, Connection>>,
    next: AtomicU64,
    /// Events that did not match their type since the last one that did.
    unreadable: AtomicU64,
}

impl<T> Events<T> {
    /// Connects to the events of these names.
    pub(crate) fn connect_to(
        session: &Session,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<Self, Error> {
        let connecting = Connecting::to(name, arguments, session.has_accessors());
        Self::perform(session, connecting, name)
    }

    /// Connects to every event.
    pub(crate) fn connect_to_all(session: &Session) -> Result<Self, Error> {
        let connecting = Connecting::to_all(session.has_accessors());
        Self::perform(session, connecting, "event")
    }

    fn perform(session: &Session, mut connecting: Connecting, name: &str) -> Result<Self, Error> {
        let core = &session.core;
        let events = Self {
            session: session.clone(),
            object: core.object(connecting.filter()),
            name: name.to_owned(),
            handlers: Arc::default(),
            _of: PhantomData,
        };
        // On failure the object is dropped, and puts its handles back.
        loop {
            let known = lock(&core.known_events).clone();
            match connecting.next(known.as_ref())? {
                Instruction::Done => return Ok(events),
                Instruction::Ask { command } => {
                    let answer = session.execute_raw(command, None)?;
                    if let Some(names) = connecting.told(answer) {
                        *lock(&core.known_events) = Some(names);
                    }
                }
                Instruction::Connect { command, arguments } => {
                    let object = Some(events.object);
                    let answer = core
                        .execute(Band::In, &command, Some(&arguments), object)
                        .map_err(|error| refused(name, error))?;
                    crate::session::decode::<i64>(&command, &answer)?;
                }
            }
        }
    }
}

impl<T: EventData> Events<T> {
    /// Waits for the next event.
    ///
    /// # Errors
    ///
    /// The event does not match its type; the next one may. Or the connection has ended, and no event is left.
    pub fn recv(&self) -> Result<Occurrence<T>, Error> {
        match self.wait(Deadline::Never)? {
            Some(occurrence) => Ok(occurrence),
            // A wait without a limit ends with an event or an error.
            None => self.recv(),
        }
    }

    /// Waits for the next event for a limited time.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&self, within: Duration) -> Result<Occurrence<T>, Error> {
        let found = self.wait(Deadline::of(Some(within)))?;
        found.ok_or_else(|| Error::TimedOut {
            awaited: self.name.clone(),
            within,
        })
    }

    /// Returns the next event if there is one; reads what the server has sent, without waiting.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Occurrence<T>>, Error> {
        self.wait(Deadline::Now)
    }

    fn wait(&self, deadline: Deadline) -> Result<Option<Occurrence<T>>, Error> {
        let core = &self.session.core;
        let found = core.wait(deadline, |routes, waker| routes.event(self.object, waker));
        match found? {
            Some(Ok(raw)) => {
                let lost = raw.lost;
                let read = Occurrence::read(raw);
                if read.is_err() && lost > 0 {
                    // The error does not count these.
                    core.with_routes(|routes| routes.lose(self.object, lost));
                }
                read.map(Some)
            }
            Some(Err(error)) => Err(error),
            None => {
                // Repeated calls without an event in between leave nothing behind.
                core.with_routes(|routes| routes.leave(self.object, &own_waker()));
                Ok(None)
            }
        }
    }

    /// Iterates over the events, up to the error that is the connection's end.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            events: self,
            is_over: false,
        }
    }

    /// Calls `handler` with every event, beginning with those that are queued; while there are handlers, no event can
    /// be received otherwise.
    ///
    /// Handlers run in a thread of the session, one at a time, and may use the session; with
    /// [`Options::manual_dispatch`](crate::Options::manual_dispatch) they run in the thread that dispatches. A handler
    /// that panics is called again with the next event; in a thread that dispatches the panic propagates.
    ///
    /// # Errors
    ///
    /// The host refuses a thread.
    pub fn connect(
        &self,
        handler: impl FnMut(&Occurrence<T>) + Send + 'static,
    ) -> Result<HandlerId, Error> {
        self.session.start_handlers()?;
        let handler = Mutex::new(handler);
        let connection = self.handlers.signal.connect(move |occurrence| {
            // Handlers run one at a time, so that it is free.
            (lock(&handler))(occurrence);
        });
        let id = self.handlers.next.fetch_add(1, Ordering::Relaxed);
        let handlers = Arc::clone(&self.handlers);
        let deliver: Deliver = Arc::new(move |raw| handlers.deliver(raw));
        // Held until events are dispatched: otherwise a thread that disconnects the last handler meanwhile would stop
        // that.
        let mut connections = lock(&self.handlers.connections);
        connections.insert(id, connection);
        self.session.core.deliver(self.object, Some(deliver));
        Ok(HandlerId(id))
    }

    /// Disconnects a handler; false if there is no such handler. It does not run when this returns, unless it is the
    /// caller.
    pub fn disconnect(&self, handler: HandlerId) -> bool {
        let mut connections = lock(&self.handlers.connections);
        let connection = connections.remove(&handler.0);
        let was_there = connection.is_some();
        if was_there && connections.is_empty() {
            self.session.core.deliver(self.object, None);
        }
        // Events that wait for a handler do not block others.
        drop(connections);
        drop(connection);
        was_there
    }

    /// Disconnects, as dropping does, and waits for the server's answer.
    ///
    /// # Errors
    ///
    /// The connection failed. The object is gone all the same.
    pub fn put(self) -> Result<(), Error> {
        let mut tags = self.end().into_iter();
        let put = tags.try_for_each(|tag| {
            let arguments = serde_json::json!({ "tag": tag });
            self.session
                .execute_raw("put-event", Some(arguments))
                .map(drop)
        });
        // The handles behind one that failed are put all the same.
        tags.for_each(|tag| self.session.core.put(tag));
        put
    }
}

impl<T> Events<T> {
    /// Ends it on this side; these handles remain to be put.
    fn end(&self) -> Vec<i64> {
        let core = &self.session.core;
        let tags = core.with_routes(|routes| routes.remove(self.object));
        let connections = std::mem::take(&mut *lock(&self.handlers.connections));
        drop(connections);
        tags
    }
}

impl<T> Drop for Events<T> {
    fn drop(&mut self) {
        for tag in self.end() {
            self.session.core.put(tag);
        }
    }
}

impl<T: EventData> Handlers<T> {
    fn deliver(&self, raw: RawOccurrence) {
        let lost = raw.lost;
        match Occurrence::read(raw) {
            Ok(mut occurrence) => {
                let unreadable = self.unreadable.swap(0, Ordering::Relaxed);
                occurrence.lost = lost.saturating_add(unreadable);
                self.signal.raise(&occurrence);
            }
            Err(_) => {
                let gone = lost.saturating_add(1);
                self.unreadable.fetch_add(gone, Ordering::Relaxed);
            }
        }
    }
}

impl<T> Default for Handlers<T> {
    fn default() -> Self {
        Self {
            signal: Signal::default(),
            connections: Mutex::default(),
            next: AtomicU64::default(),
            unreadable: AtomicU64::default(),
        }
    }
}

impl<T> fmt::Debug for Events<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Events")
            .field("of", &self.name)
            .finish_non_exhaustive()
    }
}

/// The events of an object, as they are received.
#[derive(Debug)]
pub struct Iter<'a, T> {
    events: &'a Events<T>,
    is_over: bool,
}

impl<T: EventData> Iterator for Iter<'_, T> {
    type Item = Result<Occurrence<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let next = self.events.recv();
        self.is_over = matches!(next, Err(Error::Closed { .. }));
        Some(next)
    }
}

impl<'a, T: EventData> IntoIterator for &'a Events<T> {
    type Item = Result<Occurrence<T>, Error>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}
