//! The server's state: every session and every connection, and what happens to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::EventSet;
use faultvisor_schema::{Event, SignalName};

use crate::Machine;
use crate::inbox::{Inbox, Item, Timestamp};
use crate::monitor::Settings;
use crate::protocol::Protocol;
use crate::registry::Registry;
use crate::rendering::{Encoded, Rendering};
use crate::session::{Session, SessionId, Surroundings};
use crate::stream::Stream;
use crate::throttle::Throttle;

/// How much is read from a client at a time.
const READ_SIZE: usize = 64 * 1024;

/// The server, as its subscribers share it. They all run on the monitor's thread.
pub(crate) type Shared = Rc<RefCell<Server>>;

/// What a delayed default event is kept as.
#[derive(Debug)]
struct Delayed {
    signal: SignalName,
    event: Rc<Encoded>,
}

/// Everything that the monitor's thread owns.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    machine: Box<dyn Machine>,
    inbox: Arc<Inbox>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions that something happened to since the last [`Server::settle`].
    touched: BTreeSet<SessionId>,
    /// Sessions that began since then.
    begun: Vec<SessionId>,
    next_session: SessionId,
    registry: Registry,
    throttle: Throttle<Delayed>,
    unasked: Rc<Rendering>,
    closing: Option<Instant>,
    scratch: Vec<u8>,
}

/// What became of a session, for the loop that watches its stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// It waits for this.
    Waits(EventSet),
    /// It is over.
    Over,
}

impl Server {
    pub(crate) fn new(settings: Settings, machine: Box<dyn Machine>, inbox: Arc<Inbox>) -> Self {
        Self {
            machine,
            inbox,
            sessions: BTreeMap::new(),
            touched: BTreeSet::new(),
            begun: Vec::new(),
            next_session: SessionId::FIRST,
            registry: Registry::default(),
            throttle: Throttle::new(settings.default_event_interval),
            unasked: Rc::new(Rendering::unasked()),
            closing: None,
            scratch: vec![0; READ_SIZE],
            settings,
        }
    }

    /// Begins a session.
    pub(crate) fn begin(&mut self, stream: Stream, protocol: Protocol) -> SessionId {
        let id = self.next_session;
        self.next_session = id.next();
        let session = Session::new(id, protocol, stream, self.settings.output_limit);
        self.sessions.insert(id, session);
        self.begun.push(id);
        self.touched.insert(id);
        id
    }

    /// The sessions that began since this was last asked.
    pub(crate) fn take_begun(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.begun)
    }

    /// Whether a session goes on.
    pub(crate) fn has_session(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// A session's stream is ready for something.
    pub(crate) fn ready(&mut self, id: SessionId, events: EventSet) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.ready(events, &mut self.scratch);
            self.touched.insert(id);
        }
    }

    /// What a session waits for, and on which descriptor.
    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// Something came into the inbox.
    pub(crate) fn receive(&mut self, now: Instant) {
        for item in self.inbox.take() {
            match item {
                Item::Raised(event, timestamp) => self.deliver(&event, timestamp, now),
                Item::Dropped {
                    signal,
                    device,
                    count,
                } => {
                    self.lose(signal, device.as_deref(), count);
                }
                Item::Answer(ticket, result) => {
                    if let Some(session) = self.sessions.get_mut(&ticket.session) {
                        session.answered(ticket.sequence, &result);
                        self.touched.insert(ticket.session);
                    }
                }
                Item::Shutdown(time) => {
                    self.closing = Some(now + time);
                    self.touched.extend(self.sessions.keys());
                }
            }
        }
    }

    fn deliver(&mut self, event: &Event, timestamp: Timestamp, now: Instant) {
        let encoded = match Encoded::event(event, timestamp) {
            Ok(encoded) => Rc::new(encoded),
            Err(error) => return tracing::error!(%error, "cannot encode an event"),
        };
        self.deliver_default(event, &encoded, now);
        for (handle, connection) in self.registry.of_event(event) {
            if let Some(session) = self.sessions.get_mut(&connection.session) {
                let rendering = &connection.rendering;
                session
                    .output
                    .event(Some(handle), connection.signal, rendering, &encoded);
                self.touched.insert(connection.session);
            }
        }
    }

    fn deliver_default(&mut self, event: &Event, encoded: &Rc<Encoded>, now: Instant) {
        let delayed = Delayed {
            signal: event.signal(),
            event: Rc::clone(encoded),
        };
        let Some(key) = rate_key(event).filter(|_| !self.settings.default_event_interval.is_zero())
        else {
            return self.send_default(&delayed);
        };
        self.send_delayed(now);
        if let Some(admitted) = self.throttle.admit(key, delayed, now) {
            self.send_default(&admitted);
        }
    }

    /// Sends the default events whose second is over.
    pub(crate) fn send_delayed(&mut self, now: Instant) {
        for delayed in self.throttle.expire(now) {
            self.send_default(&delayed);
        }
    }

    fn send_default(&mut self, event: &Delayed) {
        for (id, session) in &mut self.sessions {
            if session.has_default_events() {
                session
                    .output
                    .event(None, event.signal, &self.unasked, &event.event);
                self.touched.insert(*id);
            }
        }
    }

    /// Tells everyone who would have heard of events that they will not.
    fn lose(&mut self, signal: SignalName, device: Option<&str>, count: u64) {
        for (id, session) in &mut self.sessions {
            if session.has_default_events() {
                session.output.lose(None, signal, &self.unasked, count);
                self.touched.insert(*id);
            }
        }
        for (handle, connection) in self.registry.of(signal, device) {
            if let Some(session) = self.sessions.get_mut(&connection.session) {
                session
                    .output
                    .lose(Some(handle), signal, &connection.rendering, count);
                self.touched.insert(connection.session);
            }
        }
    }

    /// Takes every session that something happened to as far as it gets.
    pub(crate) fn settle(&mut self) -> Vec<(SessionId, Settled)> {
        let mut settled = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            if self.closing.is_some() {
                session.flush();
            } else {
                session.advance(&mut Surroundings {
                    machine: self.machine.as_ref(),
                    registry: &mut self.registry,
                    inbox: &self.inbox,
                });
            }
            if session.is_over() {
                // What the client held goes with it.
                self.sessions.remove(&id);
                self.registry.leave(id);
                settled.push((id, Settled::Over));
            } else {
                let mut interest = session.interest();
                if self.closing.is_some() {
                    interest.remove(EventSet::IN);
                }
                settled.push((id, Settled::Waits(interest)));
            }
        }
        settled
    }

    /// When to wake up even if nothing happens.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        [self.throttle.next_due(), self.closing]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether the server is done: told to end, with nothing more to send or no more time to.
    pub(crate) fn is_done(&self, now: Instant) -> bool {
        self.closing.is_some_and(|deadline| {
            now >= deadline || self.sessions.values().all(Session::is_flushed)
        })
    }

    /// How long is left to end in.
    pub(crate) fn time_to_close(&self, now: Instant) -> Duration {
        self.closing.map_or(Duration::ZERO, |deadline| {
            deadline.saturating_duration_since(now)
        })
    }
}

/// By what default events of a kind are limited to one a second; most are not.
fn rate_key(event: &Event) -> Option<&str> {
    match event {
        Event::BlockIoError(error) => Some(&error.qom_path),
        Event::Stop | Event::Resume | Event::Shutdown(_) | Event::Reset(_) => None,
    }
}
