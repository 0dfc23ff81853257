//! The thread of a vsock device.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};

use event_manager::{EventOps, Events, MutEventSubscriber};
use rustix::net::{SocketFlags, accept_with};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use super::QUEUE_SIZE;
use super::packet::{self, HEADER, Header, MAX_PAYLOAD};
use super::table::{Next, OutsideMemory, TURN, Table};
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::segment::{self, Segment};
use crate::life_cycle::{Done, RestoreError, SaveError, State};
use crate::timer::Timer;
use crate::virtio::chain::Chain;
use crate::virtio::complaints::Complaints;
use crate::virtio::device::{Activation, Asleep};
use crate::virtio::device_thread::DeviceWorker;
use crate::virtio::interrupt::VirtioInterrupt;
use crate::virtio::queue::{QueueError, SplitQueue};
use crate::virtio::queues::Queues;

/// Indices of the queues (virtio 1.3 §5.10.2), from the driver's point of view.
pub(crate) const RECEIVE: usize = 0;
pub(crate) const TRANSMIT: usize = 1;
pub(crate) const EVENT: usize = 2;

/// Buffers of the guest that one read fills.
const MAX_CHAINS: usize = 32;

/// Clients that are accepted before the queues have their turn.
const CLIENTS_AT_ONCE: u32 = 64;

/// The pause after a failed accept(2). Nothing signals that the host has descriptors again.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// `struct virtio_vsock_event` with `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET` (virtio 1.3 §5.10.6.7).
const TRANSPORT_RESET: [u8; 4] = [0; 4];

/// The thread's messages.
pub(super) enum Message {
    Activate(Activation),
    Reset(Done),
    Sleep(Asleep),
    Wake,
    Save(Sender<Result<State, SaveError>>),
    Restore(VsockState, Sender<Result<(), RestoreError>>),
    Close(Done),
}

/// The parts of a worker.
pub(super) struct Parts {
    pub memory: Arc<GuestMemoryMmap>,
    pub listener: UnixListener,
    pub kicks: [EventFd; 3],
    pub wake: Arc<EventFd>,
    pub inbox: Receiver<Message>,
}

/// The device as plain data. Connections are not part of it: their sockets are not in another program, so that a driver
/// learns of their end by the event of a transport reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VsockState {
    /// Whether there is a driver that has to learn of the end of its connections.
    had_driver: bool,
    /// The port of the next client: those before are of connections that the driver may still have.
    next_port: u32,
}

/// Why the driver's queues cannot be used any further.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("a device-writable buffer in the transmit queue")]
    Writable,
    #[error("a device-readable buffer in the {0} queue")]
    Readable(&'static str),
    #[error("a buffer of the {0} queue that is too short")]
    Short(&'static str),
    #[error("a packet of {0} bytes in a buffer for {1}")]
    Length(u32, u64),
    #[error("a buffer outside guest memory")]
    Memory,
}

impl From<OutsideMemory> for Broken {
    fn from(_: OutsideMemory) -> Self {
        Self::Memory
    }
}

/// Why the guest's packets are not read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// There are none.
    Drained,
    /// The guest has to take replies first.
    Replies,
    /// Others have their turn.
    Turn,
}

pub(super) struct Worker {
    parts: Parts,
    table: Table,
    active: Option<Queues>,
    is_awake: bool,
    has_ended: bool,
    /// The device is closed: until when clients may take the last bytes of the guest.
    farewell: Option<(Instant, Done)>,
    /// A restored driver is to be told that its connections have ended.
    owes_reset_event: bool,
    /// Whether a client may wait in the listener's backlog.
    may_accept: bool,
    /// When to try accept(2) again after a failure.
    accept_again: Option<Instant>,
    timer: Timer,
    /// Chains that were taken from the receive queue and are not used yet; none between two events.
    spare: VecDeque<Chain>,
    /// Chains whose allocations are reused.
    reused: Vec<Chain>,
    complaints: Complaints,
}

impl Worker {
    pub(super) fn new(parts: Parts, table: Table) -> std::io::Result<Self> {
        Ok(Self {
            parts,
            table,
            active: None,
            is_awake: false,
            has_ended: false,
            farewell: None,
            owes_reset_event: false,
            may_accept: true,
            accept_again: None,
            timer: Timer::new()?,
            spare: VecDeque::new(),
            reused: Vec::new(),
            complaints: Complaints::default(),
        })
    }

    fn receive(&mut self, message: Message, ops: &mut EventOps<'_>) {
        // Between two messages no chain is taken: a packet that cannot be sent leaves none behind.
        match message {
            Message::Activate(activation) => self.activate(activation, ops),
            Message::Reset(done) => {
                self.take_last_packets(ops);
                self.deactivate(ops);
                self.owes_reset_event = false;
                done();
            }
            Message::Sleep(done) => {
                self.is_awake = false;
                let active = self.active.as_ref();
                done(Some(active.map(Queues::states).unwrap_or_default()));
            }
            Message::Wake => {
                self.is_awake = true;
                self.table.postpone(Instant::now());
            }
            Message::Save(answer) => {
                let _ = answer.send(self.save());
            }
            Message::Restore(state, answer) => {
                let _ = answer.send(self.restore(state, ops));
            }
            Message::Close(done) => {
                self.is_awake = false;
                // Nobody is accepted any more: the timer would fire for ever.
                self.accept_again = None;
                self.take_last_packets(ops);
                self.deactivate(ops);
                if let Some((_, earlier)) = self.farewell.take() {
                    earlier();
                }
                self.farewell = Some((Instant::now() + self.table.farewell(), done));
            }
        }
    }

    fn save(&self) -> Result<State, SaveError> {
        if self.is_awake {
            return Err(SaveError::Busy);
        }
        State::of(&VsockState {
            had_driver: self.active.is_some() || self.owes_reset_event,
            next_port: self.table.next_port(),
        })
    }

    fn restore(&mut self, state: VsockState, ops: &mut EventOps<'_>) -> Result<(), RestoreError> {
        if self.is_awake {
            return Err(RestoreError::Busy);
        }
        self.deactivate(ops);
        self.owes_reset_event = state.had_driver;
        self.table.set_next_port(state.next_port);
        Ok(())
    }

    /// Takes the packets that the driver has sent before its end. Nothing is written to its memory any more.
    fn take_last_packets(&mut self, ops: &mut EventOps<'_>) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        let Some(ring) = active.ring(TRANSMIT) else {
            return;
        };
        self.table.stop_connecting();
        let mut chain = self.reused.pop().unwrap_or_default();
        for _ in 0..ring.size() {
            let has_one = matches!(ring.pop(&mut chain), Ok(true));
            if !has_one || self.receive_packet(&chain, ops).is_err() {
                break;
            }
        }
    }

    fn deactivate(&mut self, ops: &mut EventOps<'_>) {
        self.active = None;
        self.spare.clear();
        self.table.set_driver(false, ops);
    }

    fn activate(&mut self, activation: Activation, ops: &mut EventOps<'_>) {
        self.deactivate(ops);
        let interrupt = Arc::clone(&activation.interrupt);
        match Queues::new(activation, QUEUE_SIZE, &self.parts.memory) {
            Ok(mut queues) => {
                self.table.set_driver(true, ops);
                if self.owes_reset_event && queues.ring(EVENT).is_some() {
                    self.table.hold_requests();
                }
                self.active = Some(queues);
            }
            Err(error) => self.break_off(&*interrupt, &error.into(), ops),
        }
    }

    fn break_off(
        &mut self,
        interrupt: &dyn VirtioInterrupt,
        error: &Broken,
        ops: &mut EventOps<'_>,
    ) {
        self.deactivate(ops);
        self.complaints.add(&"vsock", error);
        interrupt.needs_reset();
    }

    /// Takes clients from the listener's backlog, as far as there is room for them.
    fn accept(&mut self, now: Instant, ops: &mut EventOps<'_>) {
        if self.accept_again.is_some_and(|again| again <= now) {
            self.accept_again = None;
            self.may_accept = true;
        }
        let mut left = CLIENTS_AT_ONCE;
        while self.may_accept && self.table.has_room_for_a_client() {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(&self.parts.listener, flags).map_err(std::io::Error::from) {
                Ok(client) => self.table.admit(client.into(), now, ops),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.may_accept = false,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => {
                    tracing::warn!(%error, "a client of vsock waits");
                    self.may_accept = false;
                    self.accept_again = now.checked_add(ACCEPT_PAUSE);
                }
            }
            left -= 1;
            if left == 0 {
                self.come_back();
                return;
            }
        }
    }

    /// Continues after the thread's other events.
    fn come_back(&self) {
        let _ = self.parts.wake.write(1);
    }

    /// Accepts clients, and serves the queues.
    fn serve(&mut self, ops: &mut EventOps<'_>) {
        let now = Instant::now();
        if self.is_awake {
            // Makes room for clients.
            self.table.expire(now, ops);
        }
        self.accept(now, ops);
        if !self.is_awake {
            return;
        }
        let Some(mut active) = self.active.take() else {
            return;
        };
        let result = self.exchange(&mut active, now, ops);
        // Also when a queue is broken: chains used before are announced.
        let announced = active.announce().map_err(Broken::from);
        match result.and(announced) {
            Ok(()) => self.active = Some(active),
            Err(error) => self.break_off(&*active.interrupt, &error, ops),
        }
    }

    fn exchange(
        &mut self,
        active: &mut Queues,
        now: Instant,
        ops: &mut EventOps<'_>,
    ) -> Result<(), Broken> {
        if let Some(ring) = active.ring(EVENT) {
            self.send_event(ring)?;
        }
        let mut left = active.ring(TRANSMIT).map_or(0, |ring| ring.size());
        let mut passes = 4;
        loop {
            self.send(active.ring(RECEIVE), now, ops)?;
            let pause = match active.ring(TRANSMIT) {
                Some(ring) => self.receive_packets(ring, &mut left, ops)?,
                None => Pause::Drained,
            };
            let is_starved = self.send(active.ring(RECEIVE), now, ops)?;
            let has_room_again = pause == Pause::Replies && self.table.has_room_for_a_reply();
            let has_buffers = match active.ring(RECEIVE) {
                Some(ring) if is_starved => ring.enable_kicks()?,
                Some(_) => self.table.wants_to_send(),
                None => false,
            };
            if pause != Pause::Turn && !has_room_again && !has_buffers {
                return Ok(());
            }
            passes -= 1;
            if passes == 0 || pause == Pause::Turn {
                self.come_back();
                return Ok(());
            }
        }
    }

    /// Takes packets of the guest.
    fn receive_packets(
        &mut self,
        ring: &mut SplitQueue,
        left: &mut u16,
        ops: &mut EventOps<'_>,
    ) -> Result<Pause, Broken> {
        let mut chain = self.reused.pop().unwrap_or_default();
        loop {
            ring.disable_kicks()?;
            loop {
                if *left == 0 {
                    return Ok(Pause::Turn);
                }
                if !self.table.has_room_for_a_reply() {
                    return Ok(Pause::Replies);
                }
                if !ring.pop(&mut chain)? {
                    break;
                }
                *left -= 1;
                self.receive_packet(&chain, ops)?;
                ring.complete(chain.head, 0)?;
            }
            if !ring.enable_kicks()? {
                self.reused.push(chain);
                return Ok(Pause::Drained);
            }
        }
    }

    fn receive_packet(&mut self, chain: &Chain, ops: &mut EventOps<'_>) -> Result<(), Broken> {
        if !chain.writable.is_empty() {
            return Err(Broken::Writable);
        }
        let room = packet::room(&chain.readable).ok_or(Broken::Short("transmit"))?;
        let header =
            Header::read(&self.parts.memory, &chain.readable).map_err(|_| Broken::Memory)?;
        let length = header.length.get();
        if u64::from(length) > room.min(MAX_PAYLOAD.into()) {
            return Err(Broken::Length(length, room));
        }
        Ok(self.table.receive(&header, &chain.readable, ops)?)
    }

    /// Sends what the table has, and returns whether the guest lacks buffers for it.
    fn send(
        &mut self,
        ring: Option<&mut SplitQueue>,
        now: Instant,
        ops: &mut EventOps<'_>,
    ) -> Result<bool, Broken> {
        let Some(ring) = ring else {
            return Ok(false);
        };
        ring.disable_kicks()?;
        let mut left = ring.size();
        let mut is_starved = false;
        while left > 0 && self.table.wants_to_send() {
            if !self.take_spare(ring)? {
                is_starved = true;
                break;
            }
            let used = match self.table.next(now) {
                Next::Nothing => break,
                Next::Packet(header) => {
                    self.use_spare(ring, &header)?;
                    1
                }
                Next::Data { slot, limit } => self.send_data(ring, (slot, limit), now, ops)?,
            };
            left = left.saturating_sub(used);
        }
        let unused = u16::try_from(self.spare.len()).unwrap_or(u16::MAX);
        ring.put_back(unused);
        self.reused.extend(self.spare.drain(..));
        Ok(is_starved)
    }

    /// Makes sure that there is a buffer for a packet.
    fn take_spare(&mut self, ring: &mut SplitQueue) -> Result<bool, Broken> {
        Ok(!self.spare.is_empty() || self.add_spare(ring)?)
    }

    fn add_spare(&mut self, ring: &mut SplitQueue) -> Result<bool, Broken> {
        let mut chain = self.reused.pop().unwrap_or_default();
        if !ring.pop(&mut chain)? {
            self.reused.push(chain);
            return Ok(false);
        }
        if !chain.readable.is_empty() {
            return Err(Broken::Readable("receive"));
        }
        packet::room(&chain.writable).ok_or(Broken::Short("receive"))?;
        self.spare.push_back(chain);
        Ok(true)
    }

    /// Writes a packet's header to the first spare buffer, and hands that to the guest with its payload.
    fn use_spare(&mut self, ring: &mut SplitQueue, header: &Header) -> Result<(), Broken> {
        let Some(chain) = self.spare.pop_front() else {
            return Ok(());
        };
        header
            .write(&self.parts.memory, &chain.writable)
            .map_err(|_| Broken::Memory)?;
        let written = header.length.get().saturating_add(u32_of(HEADER));
        ring.complete(chain.head, written)?;
        self.reused.push(chain);
        Ok(())
    }

    /// Reads a socket straight into the guest's buffers: into several of them, each of which becomes a packet. Returns how
    /// many were used.
    fn send_data(
        &mut self,
        ring: &mut SplitQueue,
        (slot, limit): (usize, u32),
        now: Instant,
        ops: &mut EventOps<'_>,
    ) -> Result<u16, Broken> {
        let limit = limit.min(TURN);
        let mut payload = SmallVec::<[Segment; MAX_CHAINS]>::new();
        // What each buffer gets.
        let mut rooms = SmallVec::<[u32; MAX_CHAINS]>::new();
        let mut left = limit;
        while left > 0 && rooms.len() < MAX_CHAINS {
            if self.spare.len() == rooms.len() && !self.add_spare(ring)? {
                break;
            }
            let Some(chain) = self.spare.get(rooms.len()) else {
                break;
            };
            let before = segment::length(&payload);
            payload.extend(packet::cut(&chain.writable, HEADER as u64, left.into()));
            let room = u32::try_from(segment::length(&payload) - before).unwrap_or(u32::MAX);
            if room == 0 {
                return Err(Broken::Short("receive"));
            }
            rooms.push(room);
            left -= room.min(left);
        }
        let buffers = IoBuffers::new(&self.parts.memory, payload.iter().copied())
            .map_err(|_| Broken::Memory)?;
        let mut read = u32_of(self.table.read(slot, &buffers, ops));
        let mut used = 0;
        for room in rooms {
            if read == 0 {
                break;
            }
            let bytes = room.min(read);
            read -= bytes;
            let Some(header) = self.table.data_packet(slot, bytes, now) else {
                break;
            };
            if let Some(chain) = self.spare.front() {
                let written: SmallVec<[Segment; 2]> =
                    packet::cut(&chain.writable, HEADER as u64, bytes.into()).collect();
                segment::mark_written(&self.parts.memory, &written);
            }
            self.use_spare(ring, &header)?;
            used += 1;
        }
        self.table.end_turn(slot);
        Ok(used)
    }

    /// Tells a restored driver that its connections have ended.
    fn send_event(&mut self, ring: &mut SplitQueue) -> Result<(), Broken> {
        while self.owes_reset_event {
            let mut chain = Chain::default();
            if !ring.pop(&mut chain)? {
                if ring.enable_kicks()? {
                    continue;
                }
                return Ok(());
            }
            if !chain.readable.is_empty() {
                return Err(Broken::Readable("event"));
            }
            let written = segment::write(&self.parts.memory, &chain.writable, &TRANSPORT_RESET)
                .map_err(|_| Broken::Memory)?;
            if written < TRANSPORT_RESET.len() {
                return Err(Broken::Short("event"));
            }
            ring.complete(chain.head, u32_of(TRANSPORT_RESET.len()))?;
            self.owes_reset_event = false;
            self.table.release_requests();
        }
        Ok(())
    }
}

/// Lengths here are below 2^32.
fn u32_of(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl DeviceWorker for Worker {
    fn device(&self) -> String {
        "vsock".to_owned()
    }

    fn events(&self) -> Vec<Events> {
        let Parts {
            kicks,
            wake,
            listener,
            ..
        } = &self.parts;
        // Edge-triggered: an eventfd need not be read, and a full table causes no wakeups for waiting clients.
        let edge = EventSet::IN | EventSet::EDGE_TRIGGERED;
        let kicks = kicks.iter().map(|kick| Events::new(kick, edge));
        kicks
            .chain([
                Events::new(&**wake, EventSet::IN),
                Events::new(&self.timer, EventSet::IN),
                Events::new(listener, edge),
            ])
            .collect()
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl MutEventSubscriber for Worker {
    fn init(&mut self, _ops: &mut EventOps<'_>) {}

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        // Sockets of the table have their slot's number plus one.
        if let Some(slot) = events.data().checked_sub(1) {
            let slot = usize::try_from(slot).unwrap_or(usize::MAX);
            let now = Instant::now();
            self.table.socket_event(slot, events.event_set(), now, ops);
        } else if events.fd() == self.parts.wake.as_raw_fd() {
            let _ = self.parts.wake.read();
            // One at a time: what was ready before the next one is handled first.
            if let Ok(message) = self.parts.inbox.try_recv() {
                self.receive(message, ops);
                self.come_back();
            }
        } else if events.fd() == self.parts.listener.as_raw_fd() {
            self.may_accept = true;
        }
        if let Some((end, done)) = self.farewell.take() {
            if self.table.is_drained() || end <= Instant::now() {
                self.has_ended = true;
                return done();
            }
            self.farewell = Some((end, done));
        } else {
            self.serve(ops);
        }
        let farewell = self.farewell.as_ref().map(|(end, _)| *end);
        let deadline = self.table.deadline().filter(|_| self.is_awake);
        let due = [farewell, deadline, self.accept_again];
        let due = due.into_iter().flatten().min();
        if let Err(error) = self.timer.set(due) {
            tracing::error!(%error, "vsock");
        }
    }
}
