//! Events as objects: having one is being connected to a signal.

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

use crate::connecting::{Connecting, Step, refused};
use crate::core::{lock, own_waker};
use crate::message::Band;
use crate::routes::{Deliver, ObjectId, RawOccurrence};
use crate::said::Data;
use crate::socket::Patience;
use crate::{Error, Session};

/// When a server says that something happened, by its clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(default)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub seconds: i64,
    /// The rest of them.
    pub microseconds: i64,
}

/// An event with its data as they are on the wire.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RawEvent {
    /// Its name, as `BLOCK_IO_ERROR`.
    pub name: String,
    /// Its data.
    pub data: Map<String, Value>,
    /// What the client has called the connection that it arrived on, if it has (`listen-event`).
    pub id: Option<Value>,
}

/// An event that has happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence<T> {
    /// What it says.
    pub data: T,
    /// When it was raised.
    pub timestamp: Timestamp,
    /// Whether it only says what is so already.
    pub initial: bool,
    /// How many events of this object were lost before this one: because they were not fetched in time, here or at
    /// the server, or because they did not fit their type and could not be handed to a handler.
    pub lost: u64,
}

impl<T> Deref for Occurrence<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

/// An event as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Unread {
    pub(crate) name: String,
    pub(crate) data: Data,
    pub(crate) id: Option<Value>,
}

/// What an event's data can be read as.
pub trait EventData: Sized + Send + 'static {
    /// Reads them.
    ///
    /// # Errors
    ///
    /// They do not fit.
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

/// Which handler of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HandlerId(u64);

/// A connection to a signal: as long as this lives, its events arrive here, in their order and complete.
///
/// They wait here until somebody fetches them ([`recv`](Self::recv) and its kin, or by iterating), or go to handlers
/// ([`connect`](Self::connect)) as long as there are any. An object keeps 65,536 events, of 64 MiB
/// together, for who does not come; how many were lost beyond that, or at the server, the next one says.
///
/// Dropping it disconnects (`put-event`), and no handler of it runs afterwards: the drop waits for one that is running
/// in another thread. A handler may drop its own object; that does not wait for itself. As with any waiting, a handler
/// must not need what the dropping thread holds.
///
/// Where the server has no accessors, as QEMU, the object rests on the events that arrive by default. QEMU thins
/// those of `BLOCK_IO_ERROR` to one in a second for a device.
#[must_use = "dropping it disconnects"]
pub struct Events<T> {
    session: Session,
    object: ObjectId,
    /// What is waited for, for whoever waits in vain.
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
    /// Events that did not fit their type since the last that did.
    unreadable: AtomicU64,
}

impl<T> Events<T> {
    /// Connects to the events of those names.
    pub(crate) fn connect_to(
        session: &Session,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<Self, Error> {
        let connecting = Connecting::to(name, arguments, session.has_accessors());
        Self::perform(session, connecting, name)
    }

    /// Connects to every event there is.
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
        // What fails leaves an object behind that puts back what it got.
        loop {
            let known = lock(&core.known_events).clone();
            match connecting.next(known.as_ref())? {
                Step::Done => return Ok(events),
                Step::Ask { command } => {
                    let answer = session.execute_raw(command, None)?;
                    if let Some(names) = connecting.told(answer) {
                        *lock(&core.known_events) = Some(names);
                    }
                }
                Step::Connect { command, arguments } => {
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
    /// The event does not fit its type; the next may. Or the connection is at its end, and no event is left.
    pub fn recv(&self) -> Result<Occurrence<T>, Error> {
        match self.wait(Patience::Endless)? {
            Some(occurrence) => Ok(occurrence),
            // What waits for ever does not end without either.
            None => self.recv(),
        }
    }

    /// Waits for the next event, but only so long.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv), and [`Error::TimedOut`].
    pub fn recv_timeout(&self, within: Duration) -> Result<Occurrence<T>, Error> {
        let found = self.wait(Patience::of(Some(within)))?;
        found.ok_or_else(|| Error::TimedOut {
            awaited: self.name.clone(),
            within,
        })
    }

    /// The next event, if it is there; reads what the server has sent, and does not wait for it.
    ///
    /// # Errors
    ///
    /// As those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Occurrence<T>>, Error> {
        self.wait(Patience::None)
    }

    fn wait(&self, patience: Patience) -> Result<Option<Occurrence<T>>, Error> {
        let core = &self.session.core;
        let found = core.wait(patience, |routes, waker| routes.event(self.object, waker));
        match found? {
            Some(Ok(raw)) => {
                let lost = raw.lost;
                let read = Occurrence::read(raw);
                if read.is_err() && lost > 0 {
                    // The error does not tell of those.
                    core.with_routes(|routes| routes.lose(self.object, lost));
                }
                read.map(Some)
            }
            Some(Err(error)) => Err(error),
            None => {
                // Who asks again and again without an event in between leaves nothing behind.
                core.with_routes(|routes| routes.leave(self.object, &own_waker()));
                Ok(None)
            }
        }
    }

    /// The events, one after the other. After an error that is the connection's end there are no more.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter {
            events: self,
            is_over: false,
        }
    }

    /// Has `handler` called with every event from now on, beginning with those that wait to be fetched; as long as
    /// there are handlers, nothing is fetched otherwise.
    ///
    /// Handlers run in a thread of the session, one at a time, and may use the session; with
    /// [`Options::manual_dispatch`](crate::Options::manual_dispatch) in whichever thread dispatches. One that panics is
    /// called again with the next event; where threads dispatch by hand, the panic is theirs.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub fn connect(
        &self,
        handler: impl FnMut(&Occurrence<T>) + Send + 'static,
    ) -> Result<HandlerId, Error> {
        self.session.start_handlers()?;
        let handler = Mutex::new(handler);
        let connection = self.handlers.signal.connect(move |occurrence| {
            // Handlers run one at a time: it is free.
            (lock(&handler))(occurrence);
        });
        let id = self.handlers.next.fetch_add(1, Ordering::Relaxed);
        let handlers = Arc::clone(&self.handlers);
        let deliver: Deliver = Arc::new(move |raw| handlers.deliver(raw));
        // Held until events are handed on: else who disconnects the last handler meanwhile would stop that.
        let mut connections = lock(&self.handlers.connections);
        connections.insert(id, connection);
        self.session.core.deliver(self.object, Some(deliver));
        Ok(HandlerId(id))
    }

    /// Has a handler not called any more; false if there is no such handler. It does not run when this returns, unless
    /// this is called by it.
    pub fn disconnect(&self, handler: HandlerId) -> bool {
        let mut connections = lock(&self.handlers.connections);
        let connection = connections.remove(&handler.0);
        let was_there = connection.is_some();
        if was_there && connections.is_empty() {
            self.session.core.deliver(self.object, None);
        }
        // What waits for a handler keeps nobody else.
        drop(connections);
        drop(connection);
        was_there
    }

    /// Disconnects as dropping does, and waits for the server to say so.
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
        // Those behind one that failed are given back all the same.
        tags.for_each(|tag| self.session.core.put(tag));
        put
    }
}

impl<T> Events<T> {
    /// Ends it here; what is left to be done is to give these handles back.
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

/// The events of an object, as they are waited for.
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
