//! The server's state: every session and every connection, and the subscribers that bring it events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_schema::{Event, SignalName};
use vmm_sys_util::timerfd::TimerFd;

use crate::budget::{self, Budget};
use crate::delivery::registry::Registry;
use crate::delivery::rendering::Rendering;
use crate::delivery::standing::Standing;
use crate::delivery::throttle::{Throttle, later};
use crate::identity::SessionId;
use crate::inbox::{Item, MonitorInbox};
use crate::machine::Machine;
use crate::server::settings::Settings;
use crate::session::{OpeningRule, ServerContext, Session};
use crate::transport::address::{Endpoint, ListenAddress};
use crate::transport::stream::Stream;
use crate::wire::event::{EncodedEvent, Timestamp};

/// Most inbox items that are handled before the resulting output is sent, so that a client that reads does not lose
/// events to a burst.
const ITEMS_PER_TURN: usize = 256;

/// The size of a read.
const READ_SIZE: usize = 64 * 1024;

/// How long a client that has received everything may take to close its side before the program ends.
const LINGER: Duration = Duration::from_millis(50);

/// The end of the server, in progress.
#[derive(Clone, Copy, Debug)]
struct Closing {
    /// The limit for clients that have received everything.
    lingers_until: Instant,
    /// The limit for the others.
    ends: Instant,
}

/// The server, shared by its subscribers, which all run on the monitor's thread.
pub(crate) type Shared = Rc<RefCell<Server>>;

/// A delayed default event.
#[derive(Debug)]
struct Delayed {
    signal: SignalName,
    event: Rc<EncodedEvent>,
}

/// Everything that the monitor's thread owns.
pub(crate) struct Server {
    pub(crate) settings: Settings,
    machine: Box<dyn Machine>,
    inbox: Arc<MonitorInbox>,
    sessions: BTreeMap<SessionId, Session>,
    /// Sessions with work since the last [`Server::settle`].
    touched: BTreeSet<SessionId>,
    /// Sessions begun since then.
    begun: Vec<SessionId>,
    /// The memory of their outputs.
    budget: Rc<Budget>,
    next_session: SessionId,
    registry: Registry,
    throttle: Throttle<Delayed>,
    unasked: Rc<Rendering>,
    standing: Standing,
    closing: Option<Closing>,
    scratch: Vec<u8>,
}

/// The state of a session, for the loop that watches its stream.
#[derive(Debug)]
pub(crate) enum Settled {
    /// It waits for these events.
    Waits(EventSet),
    /// It has ended. Its stream is still open: a closed one could not be removed from the loop, and would stay in it if
    /// another process has it open, too.
    Over(Stream),
}

impl Server {
    pub(crate) fn new(
        settings: Settings,
        machine: Box<dyn Machine>,
        inbox: Arc<MonitorInbox>,
    ) -> Self {
        Self {
            machine,
            inbox,
            sessions: BTreeMap::new(),
            touched: BTreeSet::new(),
            begun: Vec::new(),
            budget: Budget::new(settings.total_output_limit),
            next_session: SessionId::FIRST,
            registry: Registry::default(),
            throttle: Throttle::new(settings.default_event_interval),
            unasked: Rc::new(Rendering::unasked()),
            standing: Standing::new(Timestamp::now()),
            closing: None,
            scratch: vec![0; READ_SIZE],
            settings,
        }
    }

    /// Begins a session.
    pub(crate) fn begin(&mut self, stream: Stream, address: &ListenAddress) -> SessionId {
        let id = self.next_session;
        self.next_session = id.next();
        let output_limit = address.max_output.unwrap_or(self.settings.output_limit);
        let rule = match (&address.endpoint, &stream) {
            (Endpoint::Stdio, _) => OpeningRule::Free,
            (Endpoint::Tcp { .. }, _) | (_, Stream::Tcp(_)) => OpeningRule::Strict,
            (_, Stream::Unix(_)) => OpeningRule::Restartable,
        };
        self.budget.allow_one(output_limit);
        let protocol = address.protocol;
        let session = Session::new(id, protocol, rule, stream, output_limit, &self.budget);
        self.sessions.insert(id, session);
        self.begun.push(id);
        self.touched.insert(id);
        id
    }

    /// The sessions begun since the last call.
    pub(crate) fn take_begun(&mut self) -> Vec<SessionId> {
        std::mem::take(&mut self.begun)
    }

    /// Whether a session exists.
    pub(crate) fn has_session(&self, id: SessionId) -> bool {
        self.sessions.contains_key(&id)
    }

    /// A session's stream is ready.
    pub(crate) fn ready(&mut self, id: SessionId, events: EventSet) {
        if let Some(session) = self.sessions.get_mut(&id) {
            if self.closing.is_some() && events.contains(EventSet::IN) {
                session.discard(&mut self.scratch);
            } else {
                session.ready(events, &mut self.scratch);
            }
            self.touched.insert(id);
        }
    }

    /// A session, for its descriptor and the events that it waits for.
    pub(crate) fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// The inbox has items.
    pub(crate) fn receive(&mut self, now: Instant) {
        for item in self.inbox.take(ITEMS_PER_TURN) {
            match item {
                Item::Raised(event, timestamp) => {
                    self.standing.note(&event, timestamp);
                    self.deliver(&event, timestamp, now);
                }
                Item::Dropped {
                    last,
                    timestamp,
                    count,
                } => {
                    self.standing.note(&last, timestamp);
                    self.lose(last.signal(), last.device(), count);
                }
                Item::Answer(ticket, result) => {
                    if let Some(session) = self.sessions.get_mut(&ticket.session) {
                        session.answered(ticket.sequence, &result);
                        self.touched.insert(ticket.session);
                    }
                }
                Item::Shutdown(time) => self.close(now, time),
            }
        }
    }

    /// Begins the end: no request is executed any more, and queued output is sent within the limit.
    fn close(&mut self, now: Instant, time: Duration) {
        for delayed in self.throttle.drain() {
            self.send_default(&delayed);
        }
        self.closing = Some(Closing {
            lingers_until: later(now, time.min(LINGER)),
            ends: later(now, time),
        });
        self.touched.extend(self.sessions.keys());
    }

    fn deliver(&mut self, event: &Event, timestamp: Timestamp, now: Instant) {
        let encoded = match EncodedEvent::event(event, timestamp) {
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

    fn deliver_default(&mut self, event: &Event, encoded: &Rc<EncodedEvent>, now: Instant) {
        let delayed = Delayed {
            signal: event.signal(),
            event: Rc::clone(encoded),
        };
        let is_limited = !self.settings.default_event_interval.is_zero();
        let Some(subject) = event.rate_limit().filter(|_| is_limited) else {
            return self.send_default(&delayed);
        };
        self.send_delayed(now);
        let signal = event.signal();
        if let Some(admitted) = self.throttle.admit(signal, subject, delayed, now) {
            self.send_default(&admitted);
        }
    }

    /// Sends the delayed default events that are due.
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

    /// Counts events as lost for every session that would have received them.
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

    /// Advances every session with work.
    pub(crate) fn settle(&mut self) -> Vec<(SessionId, Settled)> {
        let mut settled = Vec::new();
        for id in std::mem::take(&mut self.touched) {
            let Some(session) = self.sessions.get_mut(&id) else {
                continue;
            };
            let mut goes_on = false;
            if self.closing.is_some() {
                session.wind_up();
            } else {
                goes_on = session.advance(&mut ServerContext {
                    machine: self.machine.as_ref(),
                    registry: &mut self.registry,
                    inbox: &self.inbox,
                    standing: &self.standing,
                });
            }
            if session.is_over() {
                // The session's connections end with it.
                self.registry.leave(id);
                if let Some(session) = self.sessions.remove(&id) {
                    settled.push((id, Settled::Over(session.stream)));
                }
                continue;
            }
            let mut interest = session.interest();
            if self.closing.is_some() && !session.has_input_ended() {
                interest |= EventSet::IN;
            }
            if goes_on {
                self.touched.insert(id);
            }
            settled.push((id, Settled::Waits(interest)));
        }
        let (outputs, connections) = (&self.budget, self.registry.budget());
        // Both have to be evaluated.
        if outputs.is_worth_returning() | connections.is_worth_returning() {
            budget::return_memory();
        }
        settled
    }

    /// Whether a session has more work than fitted its turn.
    pub(crate) fn is_busy(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Ends a session that cannot be served.
    pub(crate) fn give_up(&mut self, id: SessionId) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.give_up();
            self.touched.insert(id);
        }
    }

    /// When to wake up without an event.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let closing = self.closing.map(|closing| {
            if self.is_flushed() {
                closing.lingers_until
            } else {
                closing.ends
            }
        });
        [self.throttle.next_due(), closing]
            .into_iter()
            .flatten()
            .min()
    }

    fn is_flushed(&self) -> bool {
        self.sessions.values().all(Session::is_flushed)
    }

    /// Whether the server has ended: all output is sent, or the limit has passed.
    pub(crate) fn is_done(&self, now: Instant) -> bool {
        self.closing.is_some_and(|closing| {
            let lingered = now >= closing.lingers_until && self.is_flushed();
            self.sessions.is_empty() || lingered || now >= closing.ends
        })
    }

    /// The time left to end.
    pub(crate) fn time_to_close(&self, now: Instant) -> Duration {
        self.closing.map_or(Duration::ZERO, |closing| {
            closing.ends.saturating_duration_since(now)
        })
    }
}

/// The events that a session's stream is subscribed to at first.
pub(super) const FIRST_INTEREST: EventSet = EventSet::IN;

/// Watches a session's stream.
pub(super) struct Watch {
    pub(super) id: SessionId,
    pub(super) server: Shared,
}

impl MutEventSubscriber for Watch {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let mut server = self.server.borrow_mut();
        let Some(session) = server.session(self.id) else {
            return;
        };
        if let Err(error) = ops.add(Events::new(&session.stream, FIRST_INTEREST)) {
            tracing::error!(%error, "cannot watch a session");
            server.give_up(self.id);
        }
    }

    fn process(&mut self, events: Events, _: &mut EventOps<'_>) {
        self.server.borrow_mut().ready(self.id, events.event_set());
    }
}

/// Watches the inbox.
pub(super) struct Mail(pub(super) Shared);

impl MutEventSubscriber for Mail {
    fn init(&mut self, _: &mut EventOps<'_>) {}

    fn process(&mut self, _: Events, _: &mut EventOps<'_>) {
        self.0.borrow_mut().receive(Instant::now());
    }
}

/// Watches the timer.
pub(super) struct Alarm {
    pub(super) timer: Rc<RefCell<TimerFd>>,
    pub(super) server: Shared,
}

impl MutEventSubscriber for Alarm {
    fn init(&mut self, _: &mut EventOps<'_>) {}

    fn process(&mut self, _: Events, _: &mut EventOps<'_>) {
        // The timer is ready, so that this does not block; it is set again before the loop continues.
        let _ = self.timer.borrow_mut().wait();
        self.server.borrow_mut().send_delayed(Instant::now());
    }
}
