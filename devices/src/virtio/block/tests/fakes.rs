//! The test environment of the device: a backend that completes requests on demand, and an observer
//! that records its notifications.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::{DiskObserver, IoError, PowerCutReport, VirtioBlock};
use super::driver::USED;
use crate::block::fault::record::Record;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Completion, RangeLimits, Token};
use crate::block::policy::error_policy::IoStatus;
use crate::block::policy::write_threshold::Exceeded;
use crate::life_cycle::Run;
use crate::sync::{lock, wait_timeout};

/// Timeout, far above any duration here on a busy host.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A backend whose requests end at the time, with the result and in the order that the test
/// chooses.
pub struct FakeBackend {
    shared: Arc<Shared>,
    submitted: Sender<(Token, HostRequest)>,
}

/// The test's control of a [`FakeBackend`]. Dropping it completes all requests in flight with
/// success, so that a failed test does not wait for them.
pub struct FakeControl {
    shared: Arc<Shared>,
    submitted: Receiver<(Token, HostRequest)>,
}

struct Shared {
    state: Mutex<State>,
    looked: Condvar,
    event: EventFd,
}

#[derive(Default)]
struct State {
    in_flight: Vec<Token>,
    completed: Vec<Completion>,
    /// When set, every request ends with this result at once.
    at_once: Option<Result<(), Errno>>,
    /// Requests of each batch, and of the one that is not flushed.
    batches: Vec<usize>,
    unflushed: usize,
    /// How often the worker has taken completions.
    looks: u64,
    length: u64,
    resize_error: Option<Errno>,
    /// Whether resizes need preparation, and whether one is being prepared.
    prepares: bool,
    is_preparing: bool,
}

/// A backend of this length in bytes.
pub fn fake_backend(length: u64) -> (FakeBackend, FakeControl) {
    let (sender, receiver) = channel();
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            length,
            ..State::default()
        }),
        looked: Condvar::new(),
        event: EventFd::new(EFD_NONBLOCK).unwrap(),
    });
    let backend = FakeBackend {
        shared: shared.clone(),
        submitted: sender,
    };
    let control = FakeControl {
        shared,
        submitted: receiver,
    };
    (backend, control)
}

impl Backend for FakeBackend {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let mut state = lock(&self.shared.state);
        assert!(!state.in_flight.contains(&token), "{token:?} is in flight");
        state.unflushed += 1;
        if let Some(result) = state.at_once {
            state.completed.push(Completion { token, result });
            self.shared.event.write(1).unwrap();
        } else {
            state.in_flight.push(token);
        }
        drop(state);
        let _ = self.submitted.send((token, request));
    }

    fn flush_submissions(&mut self) {
        let mut state = lock(&self.shared.state);
        match std::mem::take(&mut state.unflushed) {
            0 => {}
            batch => state.batches.push(batch),
        }
    }

    fn completed(&mut self) -> Vec<Completion> {
        let _ = self.shared.event.read();
        let mut state = lock(&self.shared.state);
        state.looks += 1;
        self.shared.looked.notify_all();
        std::mem::take(&mut state.completed)
    }

    fn completion_event(&self) -> &EventFd {
        &self.shared.event
    }

    fn length(&self) -> u64 {
        lock(&self.shared.state).length
    }

    fn capabilities(&self) -> Capabilities {
        let limits = RangeLimits {
            max_length: 1 << 20,
            alignment: 4096,
        };
        Capabilities {
            discard: Some(limits),
            write_zeroes: Some(limits),
            unmaps: true,
        }
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        let mut state = lock(&self.shared.state);
        assert!(state.in_flight.is_empty(), "resized under a request");
        if let Some(errno) = state.resize_error {
            return Err(errno);
        }
        state.length = length;
        Ok(())
    }

    fn prepare_resize(&mut self, _length: u64) -> bool {
        let mut state = lock(&self.shared.state);
        assert!(!state.is_preparing, "two at a time");
        state.is_preparing = state.prepares;
        state.prepares
    }

    fn is_preparing_resize(&self) -> bool {
        lock(&self.shared.state).is_preparing
    }
}

impl FakeControl {
    /// Waits for the next request that reaches the backend.
    pub fn next(&self) -> (Token, HostRequest) {
        self.submitted
            .recv_timeout(DEADLINE)
            .expect("no request reached the backend")
    }

    /// Takes the requests that have reached the backend.
    pub fn arrived(&self) -> Vec<(Token, HostRequest)> {
        self.submitted.try_iter().collect()
    }

    /// Takes the number of requests in each batch so far.
    pub fn batches(&self) -> Vec<usize> {
        std::mem::take(&mut lock(&self.shared.state).batches)
    }

    /// Ends requests, all of them in one turn of the worker.
    pub fn end(&self, results: impl IntoIterator<Item = (Token, Result<(), Errno>)>) {
        let mut state = lock(&self.shared.state);
        for (token, result) in results {
            let at = state.in_flight.iter().position(|t| *t == token);
            state.in_flight.remove(at.expect("not in flight"));
            state.completed.push(Completion { token, result });
        }
        self.shared.event.write(1).unwrap();
    }

    /// Ends every later request with this result on submission.
    pub fn end_at_once(&self, result: Result<(), Errno>) {
        lock(&self.shared.state).at_once = Some(result);
    }

    /// Refuses every later resize with this errno.
    pub fn refuse_to_resize(&self, errno: Errno) {
        lock(&self.shared.state).resize_error = Some(errno);
    }

    /// Sets whether later resizes need preparation.
    pub fn prepare_resizes(&self, prepares: bool) {
        lock(&self.shared.state).prepares = prepares;
    }

    /// Ends the preparation of a resize.
    pub fn prepared(&self) {
        let mut state = lock(&self.shared.state);
        assert!(std::mem::take(&mut state.is_preparing));
        self.shared.event.write(1).unwrap();
    }

    /// Returns when the worker has handled all earlier messages and events: it takes completions
    /// once in each turn of its loop, sees earlier events in the second turn at the latest, and has
    /// handled them before the third.
    pub fn barrier(&self) {
        let mut state = lock(&self.shared.state);
        let (end, since) = (state.looks + 3, Instant::now());
        while state.looks < end {
            let before = state.looks;
            self.shared.event.write(1).unwrap();
            while state.looks == before {
                assert!(since.elapsed() < DEADLINE, "the worker does nothing");
                state = wait_timeout(&self.shared.looked, state, DEADLINE);
            }
        }
    }
}

impl Drop for FakeControl {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.at_once = Some(Ok(()));
        let left = std::mem::take(&mut state.in_flight);
        state
            .completed
            .extend(left.into_iter().map(|token| Completion {
                token,
                result: Ok(()),
            }));
        self.shared.event.write(1).unwrap();
    }
}

/// A notification of the observer, with the state at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Error {
        error: IoError,
        io_status: IoStatus,
        /// The used ring's index.
        used: u16,
    },
    Stop {
        run: Run,
        used: u16,
    },
    Exceeded(Exceeded),
    /// A rule fired.
    Fault(Record),
    /// The machine is to stop because of a rule.
    Breakpoint(Run),
    /// The power failed.
    PowerCut(PowerCutReport),
}

/// An observer that records its notifications.
pub struct Recorder {
    pub disk: OnceLock<Weak<VirtioBlock>>,
    memory: Arc<GuestMemoryMmap>,
    heard: Mutex<Sender<Heard>>,
    /// Signalled for each notification, so that a test can wait for it or for an interrupt.
    bell: EventFd,
    gate: Mutex<()>,
}

impl Recorder {
    pub fn new(memory: &Arc<GuestMemoryMmap>, bell: &EventFd) -> (Arc<Self>, Receiver<Heard>) {
        let (sender, receiver) = channel();
        let recorder = Self {
            disk: OnceLock::new(),
            memory: memory.clone(),
            heard: Mutex::new(sender),
            bell: bell.try_clone().unwrap(),
            gate: Mutex::default(),
        };
        (Arc::new(recorder), receiver)
    }

    /// While the gate is closed, an error's report does not return once the error is noted.
    pub fn close_gate(&self) -> MutexGuard<'_, ()> {
        lock(&self.gate)
    }

    fn note(&self, heard: Heard) {
        let _ = lock(&self.heard).send(heard);
        self.bell.write(1).unwrap();
    }

    fn used(&self) -> u16 {
        self.memory.read_obj(GuestAddress(USED + 2)).unwrap()
    }
}

impl DiskObserver for Recorder {
    fn io_error(&self, error: &IoError) {
        let disk = self.disk.get().and_then(Weak::upgrade);
        self.note(Heard::Error {
            error: *error,
            io_status: disk.map_or(IoStatus::Ok, |disk| disk.io_status()),
            used: self.used(),
        });
        drop(lock(&self.gate));
    }

    fn stop_machine(&self, run: Run) {
        let used = self.used();
        self.note(Heard::Stop { run, used });
    }

    fn write_threshold_exceeded(&self, exceeded: Exceeded) {
        self.note(Heard::Exceeded(exceeded));
    }

    fn fault_injected(&self, record: &Record) {
        self.note(Heard::Fault(record.clone()));
    }

    fn reached_stop(&self, run: Run) {
        self.note(Heard::Breakpoint(run));
    }

    fn power_cut(&self, report: &PowerCutReport) {
        self.note(Heard::PowerCut(*report));
    }
}
