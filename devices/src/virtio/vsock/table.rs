//! The connections with their sockets. Everything here is bounded: connections, clients whose line is being read,
//! bytes that a client has not taken, packets that the guest has not taken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event_manager::{EventOps, EventSet, Events};
use vm_memory::GuestMemoryMmap;

use super::backend::Connector;
use super::backlog::Backlog;
use super::connection::{Connection, Key, Origin, Verdict};
use super::handshake::{Handshake, Progress};
use super::packet::{self, HEADER, HOST_CID, Header, MAX_PAYLOAD, STREAM, operation, shutdown};
use super::statistics::Counters;
use super::transfer;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::segment::Segment;

/// Bytes that a connection holds for a slow client, while few connections are open and when many are.
const BUFFER: u32 = 256 << 10;
const SMALL_BUFFER: u32 = 32 << 10;

/// As many connections are few.
const FEW_CONNECTIONS: usize = 64;

/// The host's ports that are given to clients begin here, as in Firecracker.
const FIRST_PORT: u32 = 1 << 30;

/// The bounds of a device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Maximum number of connections, with those whose last bytes are being delivered.
    pub connections: usize,
    /// Maximum number of clients whose line is being read. Others wait in the listener's backlog.
    pub handshakes: usize,
    /// Packets that wait for the guest and belong to no connection. With more the guest's are not read.
    pub replies: usize,
    /// How long a client may take for its line, and the guest for its answer to a request.
    pub opening: Duration,
    /// How long the guest may take to reset a connection that the host has closed; as long as Linux waits for the host.
    pub closing: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections: 1024,
            handshakes: 64,
            replies: 256,
            opening: Duration::from_secs(10),
            closing: Duration::from_secs(8),
        }
    }
}

/// Events of a socket. Edge-triggered: each slot remembers what the host has told, so that a socket that is not read
/// causes no wakeups.
fn wanted() -> EventSet {
    EventSet::IN | EventSet::OUT | EventSet::READ_HANG_UP | EventSet::EDGE_TRIGGERED
}

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
    deadlines: BTreeSet<(Instant, usize)>,
    /// Packets to the guest that belong to no connection.
    replies: VecDeque<Header>,
    next_port: u32,
    /// Whether there is a driver to connect clients to.
    has_driver: bool,
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
            deadlines: BTreeSet::new(),
            replies: VecDeque::new(),
            next_port: FIRST_PORT,
            has_driver: false,
        }
    }

    /// Closes every connection. Clients whose line is being read are kept, and bytes that the guest has sent before it
    /// closed their connection.
    pub(super) fn set_driver(&mut self, has_driver: bool, ops: &mut EventOps<'_>) {
        self.has_driver = has_driver;
        self.replies.clear();
        for index in 0..self.slots.len() {
            if let Some(slot) = &self.slots[index]
                && matches!(slot.role, Role::Connected(..))
            {
                self.remove(index, ops);
            }
        }
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
            Role::Draining(_) => {}
        }
        self.free.push(index);
        self.count();
    }

    fn open(&self) -> usize {
        self.slots.len() - self.free.len() - self.handshakes
    }

    fn count(&self) {
        self.counters.connections.set(self.open());
    }

    /// Makes room for a connection, if need be at the expense of bytes that a client does not take. Returns the buffer
    /// that it may have.
    fn make_room(&mut self, ops: &mut EventOps<'_>) -> Option<u32> {
        if self.open() >= self.bounds.connections {
            let is_draining = |slot: &Option<Slot>| {
                let role = slot.as_ref().map(|slot| &slot.role);
                matches!(role, Some(Role::Draining(_)))
            };
            let draining = self.slots.iter().position(is_draining)?;
            self.remove(draining, ops);
        }
        Some(match self.open() < FEW_CONNECTIONS {
            true => BUFFER,
            false => SMALL_BUFFER,
        })
    }

    fn slot(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)?.as_mut()
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
                Role::Connected(connection, _) if connection.is_closing() => closing,
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

    /// Ends a wait for a client's line, for the guest's answer, or for its reset.
    fn give_up(&mut self, index: usize, ops: &mut EventOps<'_>) {
        let mut was_open = false;
        if let Some(Slot {
            role: Role::Connected(connection, _),
            ..
        }) = self.slot(index)
        {
            was_open = !connection.is_requested();
            if connection.is_known_to_the_guest() {
                let reset = connection.reset_packet();
                self.replies.push_back(reset);
            }
        }
        self.counters.refused.add(u64::from(!was_open));
        self.remove(index, ops);
    }
}

/// The host's side.
impl Table {
    /// Notes what a socket is ready for, and uses it.
    pub(super) fn socket_event(
        &mut self,
        index: usize,
        events: EventSet,
        now: Instant,
        ops: &mut EventOps<'_>,
    ) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        let hung_up = EventSet::HANG_UP | EventSet::ERROR;
        let is_gone = events.intersects(hung_up);
        slot.is_readable |= is_gone || events.intersects(EventSet::IN | EventSet::READ_HANG_UP);
        slot.is_writable |= is_gone || events.contains(EventSet::OUT);
        match &mut slot.role {
            Role::Handshake(_) => self.read_line(index, now, ops),
            Role::Connected(connection, _) if is_gone && connection.is_requested() => {
                self.give_up(index, ops);
            }
            Role::Connected(connection, _) => {
                if is_gone {
                    // Nobody receives; the rest of what was sent is still to be read.
                    connection.shut_down(shutdown::RECEIVE);
                }
                self.flush(index, ops);
            }
            Role::Draining(_) => self.flush(index, ops),
        }
    }

    fn read_line(&mut self, index: usize, now: Instant, ops: &mut EventOps<'_>) {
        let Some(Slot {
            role: Role::Handshake(handshake),
            socket,
            ..
        }) = self.slot(index)
        else {
            return;
        };
        match handshake.read(socket) {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Port(port)) => self.request(index, port, now, ops),
            Ok(Progress::Refused) | Err(_) => {
                self.counters.refused.add(1);
                self.remove(index, ops);
            }
        }
    }

    /// Connects a client whose line is read to a port of the guest.
    fn request(&mut self, index: usize, guest_port: u32, now: Instant, ops: &mut EventOps<'_>) {
        let buffer = match self.has_driver {
            true => self.make_room(ops),
            false => None,
        };
        let Some(buffer) = buffer else {
            self.counters.refused.add(1);
            return self.remove(index, ops);
        };
        // There are more ports than connections.
        let key = loop {
            let host_port = self.next_port;
            self.next_port = FIRST_PORT | (self.next_port.wrapping_add(1) % FIRST_PORT);
            let key = Key {
                host_port,
                guest_port,
            };
            if !self.keys.contains_key(&key) {
                break key;
            }
        };
        let connection = Connection::new(key, self.guest_cid, Origin::Host, buffer);
        let Some(slot) = self.slot(index) else {
            return;
        };
        slot.role = Role::Connected(connection, Backlog::default());
        self.handshakes -= 1;
        self.keys.insert(key, index);
        self.count();
        self.set_deadline(index, Some(now + self.bounds.opening));
        self.enqueue(index);
    }

    /// Writes held bytes to a socket, and applies what follows from that.
    fn flush(&mut self, index: usize, ops: &mut EventOps<'_>) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        match &mut slot.role {
            Role::Handshake(_) => {}
            Role::Draining(backlog) => {
                let is_over = backlog.write_to(&slot.socket).is_err() || backlog.is_empty();
                if is_over {
                    self.remove(index, ops);
                }
            }
            Role::Connected(connection, backlog) => {
                let written = match connection.host_receives() {
                    true if slot.is_writable => backlog.write_to(&slot.socket),
                    true => Ok(0),
                    false => Ok(backlog.clear()),
                };
                match written {
                    Ok(bytes) => connection.forward(bytes),
                    Err(_) => {
                        connection.shut_down(shutdown::RECEIVE);
                        connection.forward(backlog.clear());
                    }
                }
                slot.is_writable = backlog.is_empty();
                if connection.guest_has_sent_all() && backlog.is_empty() {
                    let _ = slot.socket.shutdown(Shutdown::Write);
                }
                self.enqueue(index);
            }
        }
    }

    /// Tells a client that it is connected, by the line that it waits for.
    fn accepted(&mut self, index: usize, ops: &mut EventOps<'_>) {
        self.set_deadline(index, None);
        let Some(Slot {
            role: Role::Connected(connection, _),
            socket,
            ..
        }) = self.slot(index)
        else {
            return;
        };
        let line = format!("OK {}\n", connection.key().host_port);
        // Nothing was written before: a socket that does not take it takes nothing.
        let written = std::io::Write::write(&mut &*socket, line.as_bytes());
        match written {
            Ok(count) if count == line.len() => self.enqueue(index),
            _ => self.reset(index, ops),
        }
    }
}

/// The guest's side.
impl Table {
    /// Whether another packet of the guest may be taken, which may cause a reply.
    pub(super) fn has_room_for_a_reply(&self) -> bool {
        self.replies.len() < self.bounds.replies
    }

    /// Takes a packet of the guest, whose payload is behind the header in these segments.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] if that is not guest memory.
    pub(super) fn receive(
        &mut self,
        header: &Header,
        segments: &[Segment],
        ops: &mut EventOps<'_>,
    ) -> Result<(), OutsideMemory> {
        // An address that is not the guest's has nobody to reply to.
        if header.source_cid.get() != self.guest_cid {
            return Ok(());
        }
        let operation = header.operation.get();
        let key = Key {
            host_port: header.destination_port.get(),
            guest_port: header.source_port.get(),
        };
        let is_stream = header.destination_cid.get() == HOST_CID && header.kind.get() == STREAM;
        let known = self.keys.get(&key).copied().filter(|_| is_stream);
        match known {
            Some(index) => return self.receive_on(index, header, segments, ops),
            None if is_stream && operation == operation::REQUEST => {
                self.connect(key, header, ops);
            }
            // A reset is never answered.
            None if operation == operation::RESET => {}
            None => self.replies.push_back(header.refusal()),
        }
        Ok(())
    }

    /// Connects the guest to a listener of the host.
    fn connect(&mut self, key: Key, header: &Header, ops: &mut EventOps<'_>) {
        let connected = self.make_room(ops).and_then(|buffer| {
            let socket = self.connector.connect(key.host_port).ok()?;
            let mut connection = Connection::new(key, self.guest_cid, Origin::Guest, buffer);
            connection.greet(header);
            self.insert(socket, Role::Connected(connection, Backlog::default()), ops)
        });
        match connected {
            Some(index) => {
                self.keys.insert(key, index);
                self.enqueue(index);
            }
            None => {
                self.counters.refused.add(1);
                self.replies.push_back(header.refusal());
            }
        }
    }

    fn receive_on(
        &mut self,
        index: usize,
        header: &Header,
        segments: &[Segment],
        ops: &mut EventOps<'_>,
    ) -> Result<(), OutsideMemory> {
        let Some(Slot {
            role: Role::Connected(connection, backlog),
            socket,
            ..
        }) = self.slot(index)
        else {
            return Ok(());
        };
        match connection.receive(header) {
            Verdict::Continue => {
                if connection.guest_has_sent_all() && backlog.is_empty() {
                    let _ = socket.shutdown(Shutdown::Write);
                }
                if connection.guest_is_deaf() {
                    let _ = socket.shutdown(Shutdown::Read);
                }
                self.enqueue(index);
            }
            Verdict::Accepted => self.accepted(index, ops),
            Verdict::Data(bytes) => return self.deliver(index, bytes, segments),
            Verdict::Finished => self.finish(index, ops),
            Verdict::Reset => {
                if connection.is_requested() {
                    self.counters.refused.add(1);
                } else if !connection.is_closing() {
                    self.counters.resets.add(1);
                }
                self.remove(index, ops);
            }
            Verdict::Violation => self.reset(index, ops),
        }
        Ok(())
    }

    /// Resets a connection on both sides.
    fn reset(&mut self, index: usize, ops: &mut EventOps<'_>) {
        if let Some(Slot {
            role: Role::Connected(connection, _),
            ..
        }) = self.slot(index)
        {
            let reset = connection.reset_packet();
            self.replies.push_back(reset);
            self.counters.resets.add(1);
            self.remove(index, ops);
        }
    }

    /// Passes data on to the host's socket: straight from guest memory as far as it takes them, the rest by the
    /// backlog.
    fn deliver(
        &mut self,
        index: usize,
        bytes: u32,
        segments: &[Segment],
    ) -> Result<(), OutsideMemory> {
        self.counters.bytes_from_guest.add(bytes.into());
        let memory = Arc::clone(&self.memory);
        let Some(Slot {
            role: Role::Connected(connection, backlog),
            socket,
            is_writable,
            ..
        }) = self.slot(index)
        else {
            return Ok(());
        };
        let payload = |from: u64| {
            let left = u64::from(bytes).saturating_sub(from);
            packet::cut(segments, HEADER as u64 + from, left)
        };
        let mut taken = 0;
        if connection.host_receives() && *is_writable && backlog.is_empty() {
            let buffers = IoBuffers::new(&memory, payload(0)).map_err(|_| OutsideMemory)?;
            let mut rest = buffers;
            while rest.length() > 0 {
                match transfer::send(socket, &rest) {
                    Ok(count) => {
                        taken += count as u64;
                        rest = rest.after(count);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        *is_writable = false;
                        break;
                    }
                    Err(_) => {
                        connection.shut_down(shutdown::RECEIVE);
                        break;
                    }
                }
            }
        }
        if connection.host_receives() {
            backlog
                .append(&memory, payload(taken))
                .map_err(|_| OutsideMemory)?;
            connection.forward(usize::try_from(taken).unwrap_or(usize::MAX));
        } else {
            connection.forward(bytes as usize);
        }
        self.enqueue(index);
        Ok(())
    }

    /// Ends a connection that the guest has closed, but for bytes that the client has not taken yet.
    fn finish(&mut self, index: usize, ops: &mut EventOps<'_>) {
        self.set_deadline(index, None);
        let Some(slot) = self.slot(index) else {
            return;
        };
        let role = std::mem::replace(&mut slot.role, Role::Draining(Backlog::default()));
        let Role::Connected(mut connection, backlog) = role else {
            return;
        };
        let is_over = backlog.is_empty() || !connection.host_receives();
        slot.role = Role::Draining(backlog);
        let was_ready = std::mem::take(&mut slot.is_ready);
        // The answer that the guest waits for before it forgets the connection.
        let reset = connection.reset_packet();
        self.replies.push_back(reset);
        self.keys.remove(&connection.key());
        if was_ready {
            self.ready.retain(|ready| *ready != index);
        }
        if is_over {
            self.remove(index, ops);
        }
    }

    /// Puts a connection last in turn, if it has something for the guest.
    fn enqueue(&mut self, index: usize) {
        if let Some(slot) = self.slot(index)
            && let Role::Connected(connection, _) = &slot.role
            && !slot.is_ready
            && connection.wants_to_send(slot.is_readable)
        {
            slot.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Whether there may be something for the guest.
    pub(super) fn wants_to_send(&self) -> bool {
        !self.replies.is_empty() || !self.ready.is_empty()
    }

    /// The next packet for the guest. Connections have one each in turn.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if let Some(reply) = self.replies.pop_front() {
            return Next::Packet(reply);
        }
        while let Some(index) = self.ready.pop_front() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            slot.is_ready = false;
            let is_readable = slot.is_readable;
            let Role::Connected(connection, _) = &mut slot.role else {
                continue;
            };
            if let Some(header) = connection.next_packet() {
                let begins_closing = connection.is_closing() && slot.deadline.is_none();
                if begins_closing {
                    self.set_deadline(index, Some(now + self.bounds.closing));
                }
                self.enqueue(index);
                return Next::Packet(header);
            }
            let limit = if is_readable {
                connection.sendable()
            } else {
                0
            };
            if limit > 0 {
                return Next::Data { slot: index, limit };
            }
            // It may have to ask for credit.
            self.enqueue(index);
        }
        Next::Nothing
    }

    /// Reads from a connection's socket into guest memory, no more than its limit. Zero if nothing came.
    pub(super) fn read(
        &mut self,
        index: usize,
        buffers: &IoBuffers,
        ops: &mut EventOps<'_>,
    ) -> usize {
        let Some(slot) = self.slot(index) else {
            return 0;
        };
        let Role::Connected(connection, _) = &mut slot.role else {
            return 0;
        };
        match transfer::receive(&slot.socket, buffers) {
            Ok(0) => connection.shut_down(shutdown::SEND),
            Ok(bytes) => return bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.is_readable = false,
            // The client has closed its socket with bytes unread.
            Err(_) => {
                self.reset(index, ops);
                return 0;
            }
        }
        self.enqueue(index);
        0
    }

    /// The header of a packet with bytes that were read. None if the connection is gone.
    pub(super) fn data_packet(&mut self, index: usize, bytes: u32) -> Option<Header> {
        self.counters.bytes_to_guest.add(bytes.into());
        match &mut self.slot(index)?.role {
            Role::Connected(connection, _) => Some(connection.data_packet(bytes)),
            _ => None,
        }
    }

    /// Ends a connection's turn.
    pub(super) fn end_turn(&mut self, index: usize) {
        self.enqueue(index);
    }
}

/// Maximum bytes of one connection's turn: a large payload, in as many packets as the guest's buffers need.
pub(super) const TURN: u32 = MAX_PAYLOAD;
