//! A disk's thread: its queues, its requests in flight, its held requests.

mod check;
mod faults;
pub(super) mod in_flight;
pub(super) mod parked;
pub mod polling;
pub(super) mod power;
mod requests;
mod resizing;
pub(super) mod state;
mod submission;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Instant;

use event_manager::{EventOps, Events, MutEventSubscriber};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::eventfd::EventFd;

use super::limiter::Limiter;
use super::space::Space;
use super::{DiskConfiguration, DiskObserver, Done, ResizeDone};
use crate::block::fault::engine::{Engine, EngineView};
use crate::block::model::backend::Backend;
use crate::block::model::power_cut::PowerCut;
use crate::block::model::request::Token;
use crate::block::policy::error_policy::IoStatusCell;
use crate::block::policy::statistics::Statistics;
use crate::block::policy::write_threshold::WriteThreshold;
use crate::block::throttle::group::Member;
use crate::life_cycle::{RestoreError, Run, SaveError};
use crate::virtio::chain::Chain;
use crate::virtio::complaints::Complaints;
use crate::virtio::device::{Activation, Asleep};
use crate::virtio::device_thread::DeviceWorker;
use crate::virtio::queue_state::QueueStates;
use crate::virtio::queues::Queues;
use faults::Faults;
use in_flight::InFlight;
use parked::{Hanging, Release};
use polling::Polling;
use requests::Pending;
use state::DiskState;

/// The thread's messages.
pub(super) enum Message {
    Activate(Activation),
    Reset(Done),
    Sleep(Asleep),
    Resume(Run),
    Resize(u64, ResizeDone),
    Limit(Option<Member>, Done),
    Faults(Box<dyn FnOnce(&mut Engine) + Send>),
    Release(Hanging, Release, Box<dyn FnOnce(u64) + Send>),
    PowerCut(PowerCut, Done),
    Save(Sender<Result<Box<DiskState>, SaveError>>),
    Restore(
        Box<DiskState>,
        QueueStates,
        Sender<Result<(), RestoreError>>,
    ),
    Close(Done),
}

/// The parts of a worker.
pub(super) struct Parts {
    pub configuration: Arc<DiskConfiguration>,
    pub space: Arc<Space>,
    pub io_status: Arc<IoStatusCell>,
    pub statistics: Arc<Statistics>,
    pub write_threshold: Arc<WriteThreshold>,
    pub view: Arc<EngineView>,
    pub at_rest: Arc<AtomicBool>,
    pub backend: Box<dyn Backend>,
    pub memory: Arc<GuestMemoryMmap>,
    pub observer: Arc<dyn DiskObserver>,
    /// The kick event of each queue.
    pub kicks: Vec<EventFd>,
    pub wake: Arc<EventFd>,
    pub inbox: Receiver<Message>,
}

pub(super) struct Worker {
    parts: Parts,
    active: Option<Queues>,
    /// Whether requests may be taken and submitted.
    running: bool,
    run: Run,
    /// Tokens ascend in order of arrival.
    next_token: u64,
    in_flight: InFlight,
    held: BTreeMap<Token, Pending>,
    /// Throttled requests. None is taken out while submission is stopped.
    limiter: Limiter<Pending>,
    faults: Faults,
    /// Resizes that drain the disk: no request is taken until `in_flight` is empty.
    resizes: Vec<(u64, ResizeDone)>,
    /// Resizes behind these. The backend prepares the first while requests are served.
    preparing: VecDeque<(u64, ResizeDone)>,
    /// Pauses that wait for `in_flight` to be empty.
    drained: Vec<Asleep>,
    /// Resets that wait for the same, and that a resume does not cancel.
    resets: Vec<Done>,
    /// As `resets`, and then the thread ends.
    closing: Vec<Done>,
    closed: bool,
    /// The size has changed since the last reset, without a driver to notify.
    resized_unseen: bool,
    /// The host completed the last batch during its submission.
    host_is_immediate: bool,
    /// Requests were answered whose completion also signals the backend's event.
    answered_at_once: bool,
    /// The thread polls the rings, and kicks are suppressed.
    is_polling: bool,
    polling: Polling,
    complaints: Complaints,
    /// The chain that is being taken: its allocations are reused.
    chain: Chain,
}

impl Worker {
    pub(super) fn new(parts: Parts) -> io::Result<Self> {
        Ok(Self {
            faults: Faults::new(&parts.configuration.id, Arc::clone(&parts.view))?,
            parts,
            active: None,
            running: false,
            run: Run::default(),
            next_token: 0,
            in_flight: InFlight::default(),
            held: BTreeMap::new(),
            limiter: Limiter::new()?,
            resizes: Vec::new(),
            preparing: VecDeque::new(),
            drained: Vec::new(),
            resets: Vec::new(),
            closing: Vec::new(),
            closed: false,
            resized_unseen: false,
            host_is_immediate: false,
            answered_at_once: false,
            is_polling: false,
            polling: Polling::new(),
            complaints: Complaints::default(),
            chain: Chain::default(),
        })
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Activate(activation) => self.activate(activation),
            Message::Reset(done) => {
                self.active = None;
                self.forget();
                self.parts.space.reset();
                self.resized_unseen = false;
                self.resets.push(done);
            }
            Message::Sleep(drained) => {
                self.halt();
                self.drained.push(drained);
            }
            Message::Resume(run) => self.resume(run),
            Message::Resize(length, done) => self.begin_resize(length, done),
            Message::Limit(member, done) => {
                self.limiter.set_member(member);
                done();
            }
            Message::Faults(change) => change(&mut self.faults.engine),
            Message::Release(which, how, done) => done(self.release_hanging(&which, how)),
            Message::PowerCut(cut, done) => self.power_cut(cut, done),
            Message::Save(answer) => drop(answer.send(self.save())),
            Message::Restore(state, queues, answer) => {
                drop(answer.send(self.restore(*state, &queues)));
            }
            Message::Close(done) => {
                self.halt();
                self.closing.push(done);
                self.cancel_preparation();
            }
        }
        self.settle();
    }

    fn activate(&mut self, activation: Activation) {
        let Parts {
            configuration,
            memory,
            ..
        } = &self.parts;
        let interrupt = Arc::clone(&activation.interrupt);
        let queues = Queues::new(activation, configuration.queue_size, memory)
            .and_then(|mut queues| self.admit_waiting(&mut queues).map(|()| queues));
        match queues {
            Ok(queues) => {
                // The driver may have read the old size before it set DRIVER_OK.
                if std::mem::take(&mut self.resized_unseen) {
                    queues.interrupt.configuration_changed();
                }
                self.active = Some(queues);
                self.serve_all();
            }
            Err(error) => {
                self.complaints
                    .add(&format_args!("disk '{}'", configuration.id), &error);
                self.forget();
                interrupt.needs_reset();
            }
        }
    }

    fn resume(&mut self, run: Run) {
        // A `cont` may race with the machine's end, which new requests of the guest would delay.
        if self.closed || !self.closing.is_empty() {
            return;
        }
        if self.faults.power.is_failing() {
            return self.faults.power.resume_later(run);
        }
        self.run = run;
        self.running = true;
        self.drained.drain(..).for_each(|drained| drained(None));
        // In order of arrival, held requests before throttled ones.
        let mut again = std::mem::take(&mut self.held);
        let now = Instant::now();
        for pending in again.values_mut() {
            pending.submitted = now;
        }
        again.extend(self.limiter.drain());
        let mut ready = Vec::new();
        for (token, pending) in again {
            let passed = self.limit(token, pending, now);
            ready.extend(passed.map(|pending| (token, pending)));
        }
        self.fail_cut_off();
        self.submit_all(ready);
        if !self.resizes.is_empty() {
            // Throttled requests are not admitted before they are done.
            self.limiter.suspend();
        }
        self.unpark();
        self.serve_all();
    }

    /// Performs what waits for the drain, if no requests are in flight.
    fn settle(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        self.finish_power_cut();
        if !self.in_flight.is_empty() {
            // The machine has resumed already.
            return;
        }
        let resizes = std::mem::take(&mut self.resizes);
        let resized = !resizes.is_empty();
        for (length, done) in resizes {
            done(self.resize(length));
        }
        for drained in self.drained.drain(..) {
            drained(Some(
                self.active.as_ref().map(Queues::states).unwrap_or_default(),
            ));
        }
        self.resets.drain(..).for_each(|done| done());
        if !self.closing.is_empty() {
            self.parts.at_rest.store(true, Ordering::Release);
            // First, since the callback may end the program.
            self.parts.backend.close();
            self.closed = true;
        }
        self.closing.drain(..).for_each(|done| done());
        if resized {
            self.release();
            self.unpark();
            self.serve_all();
        }
    }

    fn serve_all(&mut self) {
        for queue in 0..self.parts.kicks.len() {
            self.serve(queue);
        }
    }

    /// Runs before the thread waits for events.
    fn end_turn(&mut self) {
        if self.faults.power.is_failing() {
            self.settle();
        }
        if let Err(error) = self.limiter.set_timer() {
            tracing::error!(%error, "disk '{}'", self.parts.configuration.id);
        }
        self.set_fault_timer();
    }
}

impl DeviceWorker for Worker {
    fn device(&self) -> String {
        format!("disk '{}'", self.parts.configuration.id)
    }

    fn events(&self) -> Vec<Events> {
        let Parts {
            kicks,
            wake,
            backend,
            ..
        } = &self.parts;
        // Kicks are edge-triggered: reading the eventfd would cost a system call for each.
        let kick = EventSet::IN | EventSet::EDGE_TRIGGERED;
        let kicks = kicks.iter().map(|event| Events::new(event, kick));
        let others = [&**wake, backend.completion_event()];
        let others = others.map(|event| Events::new(event, EventSet::IN));
        let timers = [
            Events::new(self.limiter.timer(), EventSet::IN),
            Events::new(&self.faults.timer, EventSet::IN),
        ];
        kicks.chain(others).chain(timers).collect()
    }

    fn poll(&mut self) {
        self.poll_queues();
    }

    fn has_ended(&self) -> bool {
        self.closed
    }
}

impl MutEventSubscriber for Worker {
    fn init(&mut self, _ops: &mut EventOps<'_>) {}

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        let fd = events.fd();
        if fd == self.parts.backend.completion_event().as_raw_fd() {
            self.answered_at_once = false;
            let completions = self.parts.backend.completed();
            let completions = self.translate(completions);
            self.end_preparation();
            self.complete(completions);
        } else if fd == self.parts.wake.as_raw_fd() {
            let _ = self.parts.wake.read();
            while let Ok(message) = self.parts.inbox.try_recv() {
                self.receive(message);
            }
            // It may be this disk's turn, or its limits have changed.
            self.release();
        } else if self.limiter.is_timer(fd) {
            self.release();
        } else if self.faults.timer.as_raw_fd() == fd {
            self.unpark();
        } else {
            let mut kicks = self.parts.kicks.iter();
            if let Some(queue) = kicks.position(|kick| kick.as_raw_fd() == fd) {
                // A kick while paused is not lost: a resume serves the queue.
                self.serve(queue);
            }
        }
        self.end_turn();
    }
}
