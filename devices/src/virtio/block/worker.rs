//! A disk's thread: its queue, its requests in flight, its held requests.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use event_manager::{EventManager, EventOps, Events, MutEventSubscriber, SubscriberOps};
use virtio_bindings::bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;
use vm_memory::{Bytes, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use super::request::{self, Answer, Parsed, RequestError, Status};
use super::{DiskConfiguration, DiskObserver, Done, ErrorKind, IoError, QUEUE_SIZE, SECTOR_SIZE};
use crate::block::policy::{IoStatusCell, Run};
use crate::block::statistics::{Kind, Statistics};
use crate::block::{Action, Backend, Completion, Durability, Errno, Operation, Request, Token};
use crate::virtio::Interrupt;
use crate::virtio::chain::Chain;
use crate::virtio::queue::{Configuration, QueueError, SplitQueue};

/// What the thread can be asked for.
pub(super) enum Message {
    Activate(Activation),
    Reset(Done),
    Pause(Done),
    Resume(Run),
    Close(Done),
}

/// A driver is ready.
pub(super) struct Activation {
    pub features: u64,
    pub queue: Configuration,
    pub interrupt: Arc<Interrupt>,
}

/// What a worker is made of.
pub(super) struct Parts {
    pub configuration: Arc<DiskConfiguration>,
    pub io_status: Arc<IoStatusCell>,
    pub statistics: Arc<Statistics>,
    pub backend: Box<dyn Backend>,
    pub memory: Arc<GuestMemoryMmap>,
    pub observer: Arc<dyn DiskObserver>,
    pub kick: EventFd,
    pub wake: EventFd,
    pub inbox: Receiver<Message>,
}

/// Why the driver's queue cannot be served any further.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("more than {0} requests at once, with a chain made available twice")]
    TooMany(usize),
    #[error("a status address that was guest memory is not")]
    Answer,
}

/// A request that the guest waits for.
struct Pending {
    request: Arc<Request>,
    /// The last time.
    submitted: Instant,
    answer: Answer,
}

/// The driver's side while the device works for it.
struct Active {
    queue: SplitQueue,
    durability: Durability,
    interrupt: Arc<Interrupt>,
}

pub(super) struct Worker {
    parts: Parts,
    active: Option<Active>,
    /// Whether requests may be taken and submitted.
    running: bool,
    run: Run,
    /// Tokens grow, so that order by token is order of arrival.
    next_token: u64,
    in_flight: BTreeMap<Token, Pending>,
    held: BTreeMap<Token, Pending>,
    /// Waiting for `in_flight` to be empty.
    drained: Vec<Done>,
    /// As `drained`, but nothing else releases them.
    resets: Vec<Done>,
    /// As `resets`, and then the thread ends.
    closing: Vec<Done>,
    closed: bool,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            active: None,
            running: false,
            run: Run::default(),
            next_token: 0,
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            drained: Vec::new(),
            resets: Vec::new(),
            closing: Vec::new(),
            closed: false,
        }
    }

    /// The thread's life.
    pub(super) fn run(self) {
        let id = self.parts.configuration.id.clone();
        let result = EventManager::new().and_then(|mut manager| {
            let worker = manager.add_subscriber(self);
            while !manager.subscriber_mut(worker)?.closed {
                manager.run()?;
            }
            Ok(())
        });
        if let Err(error) = result {
            tracing::error!(%error, "disk '{id}': its thread failed");
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Activate(activation) => self.activate(activation),
            Message::Reset(done) => {
                self.active = None;
                self.held.clear();
                self.resets.push(done);
            }
            Message::Pause(drained) => {
                self.running = false;
                self.drained.push(drained);
            }
            Message::Resume(run) => self.resume(run),
            Message::Close(done) => {
                self.running = false;
                self.closing.push(done);
            }
        }
        self.settle();
    }

    fn activate(&mut self, activation: Activation) {
        let Activation {
            features,
            queue,
            interrupt,
        } = activation;
        match SplitQueue::new(queue, QUEUE_SIZE, features, self.parts.memory.clone()) {
            Ok(queue) => {
                self.active = Some(Active {
                    queue,
                    durability: if features & (1 << VIRTIO_BLK_F_FLUSH) != 0 {
                        Durability::Cached
                    } else {
                        Durability::Durable
                    },
                    interrupt,
                });
                self.serve();
            }
            Err(error) => {
                tracing::warn!(%error, "disk '{}'", self.parts.configuration.id);
                interrupt.needs_reset();
            }
        }
    }

    fn resume(&mut self, run: Run) {
        // A `cont` may race with the end of the machine. New requests would put the end off for as
        // long as the guest has any.
        if self.closed || !self.closing.is_empty() {
            return;
        }
        self.run = run;
        self.running = true;
        self.drained.drain(..).for_each(|drained| drained());
        for (token, mut pending) in std::mem::take(&mut self.held) {
            pending.submitted = Instant::now();
            let request = Arc::clone(&pending.request);
            self.parts.backend.submit(token, request);
            self.in_flight.insert(token, pending);
        }
        self.parts.backend.flush_submissions();
        self.serve();
    }

    /// Calls back whoever waits for an empty flight, if it is empty.
    fn settle(&mut self) {
        if self.in_flight.is_empty() {
            self.drained.drain(..).for_each(|drained| drained());
            self.resets.drain(..).for_each(|done| done());
            self.closed |= !self.closing.is_empty();
            self.closing.drain(..).for_each(|done| done());
        }
    }

    /// Takes what the driver has made available, at most one queue full at a time so that a driver
    /// which never stops cannot make the thread deaf.
    fn serve(&mut self) {
        if !self.running {
            return;
        }
        let Some(mut active) = self.active.take() else {
            return;
        };
        let result = self.take_requests(&mut active);
        // Also when the queue is broken: what was taken from it before is to be done.
        self.parts.backend.flush_submissions();
        self.finish(active, result);
    }

    fn take_requests(&mut self, active: &mut Active) -> Result<(), Broken> {
        let mut left = active.queue.size();
        active.queue.disable_kicks()?;
        loop {
            while let Some(chain) = active.queue.pop()? {
                self.take_request(active, chain)?;
                left = left.saturating_sub(1);
                if left == 0 {
                    // Come back after whatever else the thread has to do.
                    let _ = self.parts.kick.write(1);
                    return Ok(());
                }
            }
            if !active.queue.enable_kicks()? {
                return Ok(());
            }
        }
    }

    fn take_request(&mut self, active: &mut Active, chain: Chain) -> Result<(), Broken> {
        let configuration = &self.parts.configuration;
        let disk = request::Disk {
            sectors: configuration.sectors,
            access: configuration.access,
            durability: active.durability,
            serial: &configuration.serial,
        };
        match request::parse(&self.parts.memory, chain, disk)? {
            Parsed::Done(status, answer) => self.answer(active, answer, status),
            Parsed::Invalid(kind, answer) => {
                self.parts.statistics.invalid(kind);
                self.answer(active, answer, Status::IoError)
            }
            Parsed::Submit(request, answer) => {
                let limit = usize::from(active.queue.size());
                if self.in_flight.len() + self.held.len() >= limit {
                    return Err(Broken::TooMany(limit));
                }
                let token = Token(self.next_token);
                self.next_token += 1;
                let request = Arc::new(request);
                self.parts.backend.submit(token, Arc::clone(&request));
                let pending = Pending {
                    request,
                    submitted: Instant::now(),
                    answer,
                };
                self.in_flight.insert(token, pending);
                Ok(())
            }
        }
    }

    /// Writes a status and puts the chain into the used ring.
    fn answer(&self, active: &mut Active, answer: Answer, status: Status) -> Result<(), Broken> {
        self.parts
            .memory
            .write_obj(status.byte(), answer.status)
            .map_err(|_| Broken::Answer)?;
        active
            .queue
            .complete(answer.head, answer.data_length.saturating_add(1))?;
        Ok(())
    }

    /// Ends a turn with the queue: one interrupt for all that it completed, or none; or the end of
    /// the queue.
    fn finish(&mut self, mut active: Active, result: Result<(), Broken>) {
        let wanted = result.and_then(|()| Ok(active.queue.wants_interrupt()?));
        match wanted {
            Ok(wanted) => {
                if wanted {
                    active.interrupt.used_buffer();
                }
                self.active = Some(active);
            }
            Err(error) => {
                tracing::warn!(%error, "disk '{}' needs a reset", self.parts.configuration.id);
                self.held.clear();
                active.interrupt.needs_reset();
            }
        }
    }

    fn complete(&mut self, completions: Vec<Completion>) {
        let mut active = self.active.take();
        let mut result = Ok(());
        for Completion { token, result: end } in completions {
            let Some(pending) = self.in_flight.remove(&token) else {
                tracing::error!(
                    ?token,
                    "disk '{}': completed twice",
                    self.parts.configuration.id
                );
                continue;
            };
            let status = self.judge(&pending.request.operation, end);
            self.count(&pending, end, status);
            match (status, &mut active) {
                (Some(status), Some(active)) if result.is_ok() => {
                    result = self.answer(active, pending.answer, status);
                }
                // After a reset there is nobody to answer.
                (Some(_), _) => {}
                (None, active) => {
                    if active.is_some() {
                        self.held.insert(token, pending);
                    }
                    self.running = false;
                    self.parts.observer.stop_machine(self.run);
                }
            }
        }
        if let Some(active) = active {
            self.finish(active, result);
        }
        self.settle();
    }

    /// What the guest is to be told of a request's end, or nothing when the request is to be held.
    /// An error is the observer's to hear of, and marks the disk, even when the driver that sent
    /// the request is gone: what it wrote is still missing from the disk.
    fn judge(&self, operation: &Operation, end: Result<(), Errno>) -> Option<Status> {
        let Err(errno) = end else {
            return Some(Status::Ok);
        };
        let is_read = operation.is_read();
        let action = self.parts.configuration.policy.action(is_read, errno);
        self.log(operation, errno, action);
        if action == Action::Stop {
            self.parts.io_status.set(self.run, errno);
        }
        self.parts.observer.io_error(&IoError {
            kind: if is_read {
                ErrorKind::Read
            } else {
                ErrorKind::Write
            },
            action,
            errno,
        });
        match action {
            Action::Report => Some(Status::IoError),
            Action::Ignore => Some(Status::Ok),
            Action::Stop => None,
        }
    }

    /// Counts a request that has ended, as what its guest is to be told. One that is held has not.
    fn count(&self, pending: &Pending, end: Result<(), Errno>, status: Option<Status>) {
        let statistics = &self.parts.statistics;
        let request = &*pending.request;
        let kind = Kind::of(&request.operation);
        match status {
            Some(Status::Ok) => statistics.done(kind, request.length(), pending.submitted),
            Some(_) => statistics.failed(kind, pending.submitted),
            None => {}
        }
        if kind == Kind::Write && end.is_ok() {
            statistics.written_to(request.end());
        }
    }

    fn log(&self, operation: &Operation, errno: Errno, action: Action) {
        let id = &self.parts.configuration.id;
        let (name, offset) = match operation {
            Operation::Read { offset } => ("read", Some(*offset)),
            Operation::Write { offset, .. } => ("write", Some(*offset)),
            Operation::Flush => ("flush", None),
            Operation::Discard { ranges } => ("discard", ranges.first().map(|range| range.offset)),
            Operation::WriteZeroes { ranges, .. } => {
                ("write of zeroes", ranges.first().map(|range| range.offset))
            }
        };
        match offset.map(|offset| offset / SECTOR_SIZE) {
            Some(sector) => {
                tracing::info!(
                    "disk '{id}': {name} at sector {sector} failed: {errno}; {action:?}"
                );
            }
            None => tracing::info!("disk '{id}': {name} failed: {errno}; {action:?}"),
        }
    }
}

impl MutEventSubscriber for Worker {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        let events = [
            &self.parts.kick,
            &self.parts.wake,
            self.parts.backend.completion_event(),
        ];
        for event in events {
            if let Err(error) = ops.add(Events::new(event, EventSet::IN)) {
                tracing::error!(%error, "disk '{}'", self.parts.configuration.id);
                self.closed = true;
            }
        }
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        let fd = events.fd();
        if fd == self.parts.kick.as_raw_fd() {
            // A kick while paused is not lost: resuming looks at the queue.
            let _ = self.parts.kick.read();
            self.serve();
        } else if fd == self.parts.wake.as_raw_fd() {
            let _ = self.parts.wake.read();
            while let Ok(message) = self.parts.inbox.try_recv() {
                self.receive(message);
            }
        } else {
            let completions = self.parts.backend.completed();
            self.complete(completions);
        }
    }
}
