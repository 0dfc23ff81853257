//! A backend that performs requests at once, on a file in memory, and reports completions on demand.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, MemfdFlags, fallocate, ftruncate, memfd_create};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::block::model::access::Access;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{
    Capabilities, Completion, Operation, Range, RangeLimits, SECTOR_SIZE, Token,
};
use crate::sync::{lock, wait_timeout};

/// Timeout, far above any duration here on a busy host.
const DEADLINE: Duration = Duration::from_secs(30);

/// The limits of a range.
const LIMITS: RangeLimits = RangeLimits {
    max_length: 32 * SECTOR_SIZE,
    alignment: 4096,
};

/// The handling of later requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// They succeed.
    Work,
    /// They succeed, and complete on [`Control::release`].
    Withhold,
    /// They fail; with ENOSPC, resizes fail too.
    Fail(Errno),
}

/// The backend.
pub struct Medium {
    file: File,
    access: Access,
    shared: Arc<Shared>,
}

/// The control of a [`Medium`]. Dropping it releases what is withheld.
pub struct Control(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    looked: Condvar,
    event: EventFd,
}

struct State {
    behaviour: Behaviour,
    length: u64,
    in_flight: BTreeSet<Token>,
    withheld: Vec<Completion>,
    ended: Vec<Completion>,
    /// Number of submitted requests.
    requests: u64,
    /// How often the device has taken completions.
    looks: u64,
    /// The device has dropped the backend: its thread has ended.
    is_gone: bool,
}

impl Medium {
    /// A medium of this many zero bytes.
    pub fn new(length: u64, access: Access) -> (Self, Control) {
        let file = memfd_create("medium", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&file, length).unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                behaviour: Behaviour::Work,
                length,
                in_flight: BTreeSet::new(),
                withheld: Vec::new(),
                ended: Vec::new(),
                requests: 0,
                looks: 0,
                is_gone: false,
            }),
            looked: Condvar::new(),
            event: EventFd::new(EFD_NONBLOCK).unwrap(),
        });
        let medium = Self {
            file: file.into(),
            access,
            shared: shared.clone(),
        };
        (medium, Control(shared))
    }

    /// Checks what the device guarantees for each request.
    fn check(&self, request: &HostRequest, length: u64) {
        let HostRequest { operation, buffers } = request;
        assert!(
            self.access == Access::ReadWrite
                || matches!(operation, Operation::Read { .. } | Operation::Flush),
            "{operation:?} of a disk that is read only"
        );
        assert!(request.end() <= length, "{request:?} of {length} bytes");
        match operation {
            Operation::Read { offset } | Operation::Write { offset, .. } => {
                assert!(buffers.length().is_multiple_of(SECTOR_SIZE), "{request:?}");
                assert!(offset.is_multiple_of(SECTOR_SIZE), "{request:?}");
            }
            Operation::Flush => {}
            Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => {
                assert!((1..=32).contains(&ranges.len()), "{request:?}");
                let longest = ranges.iter().map(|range| range.length).max();
                assert!(longest <= Some(LIMITS.max_length), "{request:?}");
            }
        }
    }

    fn carry_out(&self, request: &HostRequest) {
        let HostRequest { operation, buffers } = request;
        match operation {
            Operation::Read { offset } | Operation::Write { offset, .. } => {
                let (mut at, mut rest) = (i64::try_from(*offset).unwrap(), buffers.clone());
                while rest.length() > 0 {
                    let moved = if operation.is_read() {
                        rest.read_from(&self.file, at)
                    } else {
                        rest.write_to(&self.file, at, 0)
                    };
                    // Above all EFAULT: an iovec outside guest memory.
                    let moved = moved.unwrap_or_else(|errno| panic!("{request:?}: {errno}"));
                    assert_ne!(moved, 0, "{request:?} ends early");
                    at += i64::try_from(moved).unwrap();
                    rest = rest.after(moved);
                }
            }
            Operation::Flush => {}
            Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => {
                ranges.iter().for_each(|range| self.punch(*range));
            }
        }
    }

    fn punch(&self, range: Range) {
        if range.length > 0 {
            let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            fallocate(&self.file, mode, range.offset, range.length).unwrap();
        }
    }
}

impl Backend for Medium {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let mut state = lock(&self.shared.state);
        assert!(state.in_flight.insert(token), "{token:?} is in flight");
        state.requests += 1;
        let mut completion = Completion {
            token,
            result: Ok(()),
        };
        self.check(&request, state.length);
        if let Behaviour::Fail(errno) = state.behaviour {
            completion.result = Err(errno);
        } else {
            self.carry_out(&request);
        }
        if state.behaviour == Behaviour::Withhold {
            state.withheld.push(completion);
        } else {
            state.ended.push(completion);
            self.shared.event.write(1).unwrap();
        }
    }

    fn completed(&mut self) -> Vec<Completion> {
        let _ = self.shared.event.read();
        let mut state = lock(&self.shared.state);
        state.looks += 1;
        self.shared.looked.notify_all();
        let ended = std::mem::take(&mut state.ended);
        for completion in &ended {
            assert!(state.in_flight.remove(&completion.token));
        }
        ended
    }

    fn completion_event(&self) -> &EventFd {
        &self.shared.event
    }

    fn length(&self) -> u64 {
        lock(&self.shared.state).length
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            discard: Some(LIMITS),
            write_zeroes: Some(LIMITS),
            unmaps: true,
        }
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        let mut state = lock(&self.shared.state);
        assert!(state.in_flight.is_empty(), "resized under a request");
        if state.behaviour == Behaviour::Fail(Errno::ENOSPC) {
            return Err(Errno::ENOSPC);
        }
        ftruncate(&self.file, length).unwrap();
        state.length = length;
        Ok(())
    }
}

impl Control {
    /// Sets the handling of later requests.
    pub fn behave(&self, behaviour: Behaviour) {
        lock(&self.0.state).behaviour = behaviour;
    }

    /// Completes the withheld requests, the last first.
    pub fn release(&self) {
        let mut state = lock(&self.0.state);
        let withheld = std::mem::take(&mut state.withheld);
        state.ended.extend(withheld.into_iter().rev());
        self.0.event.write(1).unwrap();
    }

    /// Completes withheld requests, and withholds none from now on.
    pub fn let_go(&self) {
        let mut state = lock(&self.0.state);
        if state.behaviour == Behaviour::Withhold {
            state.behaviour = Behaviour::Work;
        }
        drop(state);
        self.release();
    }

    /// Number of requests submitted so far.
    pub fn requests(&self) -> u64 {
        lock(&self.0.state).requests
    }

    /// Whether a request is withheld.
    pub fn is_busy(&self) -> bool {
        !lock(&self.0.state).in_flight.is_empty()
    }

    /// The disk's length in bytes.
    pub fn length(&self) -> u64 {
        lock(&self.0.state).length
    }

    /// Returns when the device has handled all earlier messages and events, including a full queue: it takes
    /// completions once in each turn of its loop, sees earlier events in the second turn at the latest, their
    /// completions in the third, and has handled all before the fourth.
    pub fn barrier(&self) {
        let (mut state, since) = (lock(&self.0.state), Instant::now());
        for _ in 0..4 {
            let before = state.looks;
            self.0.event.write(1).unwrap();
            while state.looks == before {
                assert!(!state.is_gone, "the device's thread has ended");
                assert!(since.elapsed() < DEADLINE, "the device does nothing");
                state = wait_timeout(&self.0.looked, state, DEADLINE);
            }
        }
    }
}

impl Drop for Medium {
    fn drop(&mut self) {
        lock(&self.shared.state).is_gone = true;
        self.shared.looked.notify_all();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.let_go();
    }
}
