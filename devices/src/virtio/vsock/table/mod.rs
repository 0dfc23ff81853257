//! The connections with their sockets. Everything here is bounded: connections, clients whose line is being read,
//! bytes that a client has not taken, packets that the guest has not taken.
//!
//! [`host`] has what sockets are ready for, [`guest`] what packets say.

mod guest;
mod host;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events};
use vm_memory::GuestMemoryMmap;

use super::backend::Connector;
use super::backlog::Backlog;
use super::connection::{Connection, Key};
use super::handshake::Handshake;
use super::packet::{Header, MAX_PAYLOAD};
use super::statistics::Counters;

/// Bytes that a connection holds for a slow client, while few connections are open and when many are.
const BUFFER: u32 = 256 << 10;
const SMALL_BUFFER: u32 = 32 << 10;

/// Descriptors that connections and clients leave to the program's other parts.
const RESERVE: u64 = 256;

/// As many connections are few.
const FEW_CONNECTIONS: usize = 64;

/// The host's ports that are given to clients begin here, as in Firecracker.
const FIRST_PORT: u32 = 1 << 30;

/// The bounds of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Maximum number of connections, with those whose last bytes are being delivered.
    pub connections: usize,
    /// Maximum number of clients whose line is being read. Others wait in the listener's backlog.
    pub handshakes: usize,
    /// Packets that wait for the guest and belong to no connection. With more the guest's are not read.
    pub replies: usize,
    /// How long a client may take for its line, and the guest for its answer to a request.
    pub opening: Duration,
    /// How long the guest may take to reset a connection that the host has closed, and to take any bytes of a client that
    /// has left; as long as Linux waits for the host.
    pub closing: Duration,
    /// How long the end of the device waits for clients that take the guest's last bytes.
    pub farewell: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 64,
            replies: 256,
            opening: Duration::from_secs(10),
            closing: Duration::from_secs(8),
            farewell: Duration::from_secs(1),
        }
    }
}

impl Bounds {
    /// The same with no more connections than a program with so many descriptors has room for.
    pub(super) fn within(self, descriptors: u64) -> Self {
        let left = descriptors.saturating_sub(RESERVE);
        let left = usize::try_from(left).unwrap_or(usize::MAX);
        let left = left.saturating_sub(self.handshakes).max(1);
        Self {
            connections: self.connections.min(left),
            ..self
        }
    }
}

/// Events of a socket. Edge-triggered: each slot remembers what the host has told, so that a socket that is not read
/// causes no wakeups.
fn wanted() -> EventSet {
    EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED
}

/// Maximum bytes of one connection's turn: a large payload, in as many packets as the guest's buffers need.
pub(super) const TURN: u32 = MAX_PAYLOAD;

/// What to do next for the guest.
pub(super) enum Next {
    /// Nothing is to be sent.
    Nothing,
    /// A packet without data.
    Packet(Header),
    /// At most `limit` bytes of this slot's socket.
    Data { slot: usize, limit: u32 },
}

/// A packet of the guest has a payload outside of guest memory.
#[derive(Debug)]
pub(super) struct OutsideMemory;

struct Slot {
    socket: UnixStream,
    /// Whether a read may return something: until it would block.
    is_readable: bool,
    /// The same for a write.
    is_writable: bool,
    /// In `ready`.
    is_ready: bool,
    deadline: Option<Instant>,
    role: Role,
}

enum Role {
    /// The client's line is being read.
    Handshake(Handshake),
    Connected(Connection, Backlog),
    /// The guest has closed the connection; its last bytes are being delivered.
    Draining(Backlog),
}

/// All sockets of a device.
pub(super) struct Table {
    guest_cid: u64,
    bounds: Bounds,
    memory: Arc<GuestMemoryMmap>,
    connector: Box<dyn Connector>,
    counters: Arc<Counters>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    handshakes: usize,
    keys: BTreeMap<Key, usize>,
    /// Connections with something for the guest, in turn.
    ready: VecDeque<usize>,
    /// Connections whose last bytes are being delivered, the oldest first.
    draining: VecDeque<usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    /// Packets to the guest that belong to no connection.
    replies: VecDeque<Header>,
    next_port: u32,
    /// Whether there is a driver to make connections with.
    has_driver: bool,
    /// Whether clients wait with their requests: the driver has not learned yet that its earlier connections have ended.
    holds_requests: bool,
}

/// Clients, and bounds.
impl Table {
    pub(super) fn new(
        guest_cid: u64,
        bounds: Bounds,
        memory: Arc<GuestMemoryMmap>,
        connector: Box<dyn Connector>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            guest_cid,
            bounds,
            memory,
            connector,
            counters,
            slots: Vec::new(),
            free: Vec::new(),
            handshakes: 0,
            keys: BTreeMap::new(),
            ready: VecDeque::new(),
            draining: VecDeque::new(),
            deadlines: BTreeSet::new(),
            replies: VecDeque::new(),
            next_port: FIRST_PORT,
            has_driver: false,
            holds_requests: false,
        }
    }

    /// Closes every connection, but for bytes of the guest that a client has not taken yet. Clients whose line is being
    /// read are kept.
    pub(super) fn set_driver(&mut self, has_driver: bool, ops: &mut EventOps<'_>) {
        self.has_driver = has_driver;
        self.holds_requests = false;
        for index in 0..self.slots.len() {
            self.drain(index, ops);
        }
        self.replies.clear();
    }

    /// Refuses further connections of either side, until there is another driver.
    pub(super) fn stop_connecting(&mut self) {
        self.has_driver = false;
    }

    /// Sends the guest no requests of clients, until [`Self::release_requests`] or another driver.
    pub(super) fn hold_requests(&mut self) {
        self.holds_requests = true;
    }

    /// Sends the requests that were held.
    pub(super) fn release_requests(&mut self) {
        self.holds_requests = false;
        (0..self.slots.len()).for_each(|index| self.enqueue(index));
    }

    /// The host's port of the next client.
    pub(super) fn next_port(&self) -> u32 {
        self.next_port
    }

    /// Continues with this port, or with one that clients have.
    pub(super) fn set_next_port(&mut self, port: u32) {
        self.next_port = FIRST_PORT | (port % FIRST_PORT);
    }

    /// How long the end of the device waits for [`Self::is_drained`].
    pub(super) fn farewell(&self) -> Duration {
        self.bounds.farewell
    }

    /// Whether every client has taken what the guest sent before it closed its connection.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.is_empty()
    }

    pub(super) fn has_room_for_a_client(&self) -> bool {
        self.handshakes < self.bounds.handshakes
    }

    /// Takes a client, and reads its line.
    pub(super) fn admit(&mut self, client: UnixStream, now: Instant, ops: &mut EventOps<'_>) {
        let role = Role::Handshake(Handshake::default());
        match self.insert(client, role, ops) {
            Some(index) => {
                self.set_deadline(index, Some(now + self.bounds.opening));
                self.read_line(index, now, ops);
            }
            None => self.counters.refused.add(1),
        }
    }

    fn insert(&mut self, socket: UnixStream, role: Role, ops: &mut EventOps<'_>) -> Option<usize> {
        let index = self.free.last().copied().unwrap_or(self.slots.len());
        let data = u32::try_from(index + 1).ok()?;
        if let Err(error) = ops.add(Events::with_data(&socket, data, wanted())) {
            tracing::warn!(%error, "a vsock connection is refused");
            return None;
        }
        self.handshakes += usize::from(matches!(role, Role::Handshake(_)));
        let slot = Some(Slot {
            socket,
            is_readable: true,
            is_writable: true,
            is_ready: false,
            deadline: None,
            role,
        });
        match self.free.pop() {
            Some(index) => self.slots[index] = slot,
            None => self.slots.push(slot),
        }
        self.count();
        Some(index)
    }

    fn remove(&mut self, index: usize, ops: &mut EventOps<'_>) {
        self.set_deadline(index, None);
        let Some(slot) = self.slots[index].take() else {
            return;
        };
        // It is registered: this cannot fail but for a descriptor that is closed.
        let _ = ops.remove(Events::empty(&slot.socket));
        if slot.is_ready {
            self.ready.retain(|ready| *ready != index);
        }
        match slot.role {
            Role::Handshake(_) => self.handshakes -= 1,
            Role::Connected(connection, _) => drop(self.keys.remove(&connection.key())),
            Role::Draining(_) => self.draining.retain(|draining| *draining != index),
        }
        self.free.push(index);
        self.count();
    }

    /// Ends a connection, but for bytes of the guest that the client has not taken yet.
    fn drain(&mut self, index: usize, ops: &mut EventOps<'_>) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        let Role::Connected(connection, backlog) = &mut slot.role else {
            return;
        };
        if backlog.is_empty() || !connection.host_receives() {
            let was_made = !connection.is_requested();
            self.counters.refused.add(u64::from(!was_made));
            return self.remove(index, ops);
        }
        let key = connection.key();
        let backlog = std::mem::take(backlog);
        slot.role = Role::Draining(backlog);
        if std::mem::take(&mut slot.is_ready) {
            self.ready.retain(|ready| *ready != index);
        }
        self.draining.push_back(index);
        self.keys.remove(&key);
        self.set_deadline(index, None);
    }

    fn open(&self) -> usize {
        self.slots.len() - self.free.len() - self.handshakes
    }

    fn count(&self) {
        self.counters.connections.set(self.open());
    }

    /// Whether [`Self::make_room`] makes room.
    fn may_have_room(&self) -> bool {
        self.open() < self.bounds.connections || !self.draining.is_empty()
    }

    /// Makes room for a connection, if need be at the expense of the bytes that a client has left untaken longest.
    /// Returns the buffer that it may have.
    fn make_room(&mut self, ops: &mut EventOps<'_>) -> Option<u32> {
        if self.open() >= self.bounds.connections {
            let oldest = self.draining.front().copied()?;
            self.remove(oldest, ops);
        }
        Some(match self.open() < FEW_CONNECTIONS {
            true => BUFFER,
            false => SMALL_BUFFER,
        })
    }

    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)?.as_mut()
    }

    /// Puts a connection last in turn, if it has something for the guest.
    fn enqueue(&mut self, index: usize) {
        let holds_requests = self.holds_requests;
        if let Some(slot) = self.slot(index)
            && let Role::Connected(connection, _) = &slot.role
            && !slot.is_ready
            && !(holds_requests && connection.is_requested())
            && connection.wants_to_send(slot.is_readable)
        {
            slot.is_ready = true;
            self.ready.push_back(index);
        }
    }

    fn set_deadline(&mut self, index: usize, deadline: Option<Instant>) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        let before = std::mem::replace(&mut slot.deadline, deadline);
        if let Some(before) = before {
            self.deadlines.remove(&(before, index));
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, index));
        }
    }

    /// The next deadline.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Begins all waits anew: the machine did not run meanwhile.
    pub(super) fn postpone(&mut self, now: Instant) {
        let waiting = std::mem::take(&mut self.deadlines);
        for (_, index) in waiting {
            let Bounds {
                opening, closing, ..
            } = self.bounds;
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let wait = match &slot.role {
                Role::Connected(connection, _) if !connection.is_requested() => closing,
                _ => opening,
            };
            self.set_deadline(index, Some(now + wait));
        }
    }

    /// Ends what has waited too long.
    pub(super) fn expire(&mut self, now: Instant, ops: &mut EventOps<'_>) {
        while let Some((deadline, index)) = self.deadlines.first().copied()
            && deadline <= now
        {
            self.give_up(index, ops);
        }
    }

    /// Ends a wait for a client's line, for the guest's answer, for its reset, or for its taking of a client's last bytes.
    fn give_up(&mut self, index: usize, ops: &mut EventOps<'_>) {
        if let Some(Slot {
            role: Role::Connected(connection, _),
            ..
        }) = self.slot(index)
            && connection.is_known_to_the_guest()
        {
            return self.reset(index, ops);
        }
        self.counters.refused.add(1);
        self.remove(index, ops);
    }
}
