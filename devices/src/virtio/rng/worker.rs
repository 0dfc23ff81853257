//! The thread of an entropy device.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use event_manager::{EventOps, Events, MutEventSubscriber};
use serde::{Deserialize, Serialize};
use vm_memory::GuestMemoryMmap;

use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use super::quota::{Quota, QuotaState};
use super::source::EntropySource;
use super::{QUEUE_SIZE, RngConfiguration};
use crate::block::model::segment;
use crate::life_cycle::{Done, RestoreError, SaveError, State};
use crate::timer::Timer;
use crate::virtio::chain::Chain;
use crate::virtio::complaints::Complaints;
use crate::virtio::device::{Activation, Asleep};
use crate::virtio::device_thread::DeviceWorker;
use crate::virtio::interrupt::VirtioInterrupt;
use crate::virtio::queue::{QueueError, SplitQueue};
use crate::virtio::queues::Queues;

/// Maximum bytes of one request, which bounds its time. A device may return less than a buffer holds (virtio 1.2
/// §5.4.6.1).
pub(super) const MAX_REQUEST: usize = 64 << 10;

/// Its only queue (virtio 1.2 §5.4.2).
const REQUESTS: usize = 0;

/// The thread's messages.
pub(super) enum Message {
    Activate(Activation),
    Reset(Done),
    Sleep(Asleep),
    Wake,
    Save(Sender<Result<State, SaveError>>),
    Restore(RngState, Sender<Result<(), RestoreError>>),
    Close(Done),
}

/// The parts of a worker.
pub(super) struct Parts {
    pub configuration: RngConfiguration,
    pub source: Box<dyn EntropySource>,
    pub memory: Arc<GuestMemoryMmap>,
    pub kick: EventFd,
    pub wake: Arc<EventFd>,
    pub inbox: Receiver<Message>,
}

/// The device as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RngState {
    quota: QuotaState,
}

/// Why the driver's queue cannot be used any further.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("a device-readable buffer")]
    Readable,
    #[error("a request without room for a byte")]
    NoRoom,
    #[error("a buffer outside guest memory")]
    Memory,
    #[error("the host has no entropy: {0}")]
    Source(#[source] io::Error),
}

pub(super) struct Worker {
    parts: Parts,
    active: Option<Queues>,
    is_awake: bool,
    has_ended: bool,
    quota: Quota,
    /// Expires when the next period begins.
    timer: Timer,
    /// The chain that is being answered: its allocations are reused.
    chain: Chain,
    /// Buffer between the source and the guest.
    buffer: Vec<u8>,
    complaints: Complaints,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        Ok(Self {
            quota: Quota::new(parts.configuration.limit),
            parts,
            active: None,
            is_awake: false,
            has_ended: false,
            timer: Timer::new()?,
            chain: Chain::default(),
            buffer: vec![0; MAX_REQUEST],
            complaints: Complaints::default(),
        })
    }

    fn receive(&mut self, message: Message) {
        // Nothing is in flight between two messages: a request is taken only when it can be
        // answered.
        match message {
            Message::Activate(activation) => self.activate(activation),
            Message::Reset(done) => {
                // The quota is kept: a driver could exceed it by resetting the device.
                self.active = None;
                done();
            }
            Message::Sleep(done) => {
                self.is_awake = false;
                let active = self.active.as_ref();
                done(Some(active.map(Queues::states).unwrap_or_default()));
            }
            Message::Wake => self.is_awake = true,
            Message::Save(answer) => {
                let _ = answer.send(self.save());
            }
            Message::Restore(state, answer) => {
                let _ = answer.send(self.restore(state));
            }
            Message::Close(done) => {
                self.is_awake = false;
                self.has_ended = true;
                done();
            }
        }
    }

    fn save(&self) -> Result<State, SaveError> {
        if self.is_awake {
            return Err(SaveError::Busy);
        }
        State::of(&RngState {
            quota: self.quota.save(Instant::now()),
        })
    }

    fn restore(&mut self, state: RngState) -> Result<(), RestoreError> {
        if self.is_awake {
            return Err(RestoreError::Busy);
        }
        self.quota.restore(state.quota, Instant::now())?;
        // The queue of the driver before; the saved one, if it was ready, is activated next.
        self.active = None;
        Ok(())
    }

    fn activate(&mut self, activation: Activation) {
        self.active = None;
        let interrupt = Arc::clone(&activation.interrupt);
        match Queues::new(activation, QUEUE_SIZE, &self.parts.memory) {
            Ok(queues) => self.active = Some(queues),
            Err(error) => self.break_off(&*interrupt, &error.into()),
        }
    }

    fn break_off(&mut self, interrupt: &dyn VirtioInterrupt, error: &Broken) {
        let id = &self.parts.configuration.id;
        self.complaints.add(&format_args!("rng '{id}'"), error);
        interrupt.needs_reset();
    }

    /// Answers available chains, within the quota.
    fn serve(&mut self) {
        if !self.is_awake {
            return;
        }
        let Some(mut active) = self.active.take() else {
            return;
        };
        match self.answer(&mut active) {
            Ok(()) => self.active = Some(active),
            Err(error) => self.break_off(&*active.interrupt, &error),
        }
    }

    fn answer(&mut self, active: &mut Queues) -> Result<(), Broken> {
        let Some(ring) = active.ring(REQUESTS) else {
            return Ok(());
        };
        let result = self.answer_available(ring);
        // Also when the queue is broken: chains answered before are announced.
        active.announce()?;
        result
    }

    fn answer_available(&mut self, ring: &mut SplitQueue) -> Result<(), Broken> {
        let mut left = ring.size();
        loop {
            ring.disable_kicks()?;
            while self.quota.left(Instant::now()) > 0 && ring.pop(&mut self.chain)? {
                let written = self.fill()?;
                ring.complete(self.chain.head, written)?;
                left = left.saturating_sub(1);
                if left == 0 {
                    // Continue after the thread's other events: a driver can submit without end.
                    let _ = self.parts.kick.write(1);
                    return Ok(());
                }
            }
            // The timer wakes the thread when the quota is renewed, which one of no bytes never is.
            if self.quota.left(Instant::now()) == 0 || !ring.enable_kicks()? {
                return Ok(());
            }
        }
    }

    /// Fills a request's buffers from the front, and returns how many bytes it wrote.
    fn fill(&mut self) -> Result<u32, Broken> {
        let chain = &self.chain;
        // virtio 1.2 §5.4.6.1: no device-readable buffers, and at least one byte each.
        if !chain.readable.is_empty() {
            return Err(Broken::Readable);
        }
        let room = segment::length(&chain.writable);
        if room == 0 {
            return Err(Broken::NoRoom);
        }
        let now = Instant::now();
        let length = usize::try_from(room.min(self.quota.left(now)))
            .unwrap_or(MAX_REQUEST)
            .min(MAX_REQUEST);
        let entropy = &mut self.buffer[..length];
        self.parts.source.fill(entropy).map_err(Broken::Source)?;
        segment::write(&self.parts.memory, &chain.writable, entropy).map_err(|_| Broken::Memory)?;
        entropy.fill(0);
        self.quota.spend(length as u64, now);
        Ok(u32::try_from(length).unwrap_or(u32::MAX))
    }
}

impl DeviceWorker for Worker {
    fn device(&self) -> String {
        format!("rng '{}'", self.parts.configuration.id)
    }

    fn events(&self) -> Vec<Events> {
        let Parts { kick, wake, .. } = &self.parts;
        vec![
            // Kicks are edge-triggered: the eventfd need not be read.
            Events::new(kick, EventSet::IN | EventSet::EDGE_TRIGGERED),
            Events::new(&**wake, EventSet::IN),
            Events::new(&self.timer, EventSet::IN),
        ]
    }

    fn has_ended(&self) -> bool {
        self.has_ended
    }
}

impl MutEventSubscriber for Worker {
    fn init(&mut self, _ops: &mut EventOps<'_>) {}

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        if events.fd() == self.parts.wake.as_raw_fd() {
            let _ = self.parts.wake.read();
            while !self.has_ended
                && let Ok(message) = self.parts.inbox.try_recv()
            {
                self.receive(message);
            }
        }
        self.serve();
        // No timer for a driver that is not served or has no queue.
        let has_queue = |active: &mut Queues| active.ring(REQUESTS).is_some();
        let is_served = self.is_awake && self.active.as_mut().is_some_and(has_queue);
        let due = self.quota.renewal().filter(|_| is_served);
        if let Err(error) = self.timer.set(due) {
            tracing::error!(%error, "rng '{}'", self.parts.configuration.id);
        }
    }
}
