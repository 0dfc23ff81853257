//! A medium in memory that ends what it was asked for in any order, and not always well.

use std::sync::{Arc, Mutex, MutexGuard};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::block::fault::rng::Chance;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{
    Capabilities, Completion, Durability, Operation, Range, RangeLimits, Token,
};
use crate::sync::lock;

/// The backend. Each look at what has completed ends some of what was started, so that whoever
/// waits for it need not be helped.
pub struct MemoryMedium {
    state: Arc<Mutex<State>>,
    event: EventFd,
}

/// A test's hold on it.
#[derive(Clone)]
pub struct Control(Arc<Mutex<State>>);

pub struct State {
    pub bytes: Vec<u8>,
    /// The bytes at the last flush.
    pub durable: Vec<u8>,
    chance: Chance,
    staged: Vec<(Token, HostRequest)>,
    started: Vec<(Token, HostRequest)>,
    /// Carried out, and nobody knows yet.
    done: Vec<(Completion, HostRequest)>,
    /// Of reads, nobody is told.
    pub hold_reads: bool,
    /// Of so many requests, one fails; none for zero.
    pub one_fails_of: u64,
    /// Writes to this fail.
    pub bad: Option<Range>,
    /// Nothing ends.
    pub stuck: bool,
    pub flushes: u64,
    /// Bytes that were written, each time.
    pub written: u64,
    pub closed: bool,
}

impl MemoryMedium {
    pub fn new(length: usize, seed: u64) -> (Self, Control) {
        let state = Arc::new(Mutex::new(State {
            bytes: vec![0; length],
            durable: vec![0; length],
            chance: Chance::new(seed, [0, 0]),
            staged: Vec::new(),
            started: Vec::new(),
            done: Vec::new(),
            hold_reads: false,
            one_fails_of: 0,
            bad: None,
            stuck: false,
            flushes: 0,
            written: 0,
            closed: false,
        }));
        let control = Control(Arc::clone(&state));
        let event = EventFd::new(EFD_NONBLOCK).unwrap();
        (Self { state, event }, control)
    }
}

impl Control {
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }
}

fn written_by(request: &HostRequest) -> Vec<Range> {
    match &request.operation {
        Operation::Read { .. } | Operation::Flush => Vec::new(),
        Operation::Write { offset, .. } => vec![Range {
            offset: *offset,
            length: request.buffers.length(),
        }],
        Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => ranges.clone(),
    }
}

fn is_durable(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Write {
            durability: Durability::Durable,
            ..
        } | Operation::WriteZeroes {
            durability: Durability::Durable,
            ..
        }
    )
}

fn overlap(a: Range, b: Range) -> bool {
    a.offset < b.end() && b.offset < a.end()
}

fn place(range: Range) -> std::ops::Range<usize> {
    usize::try_from(range.offset).unwrap()..usize::try_from(range.end()).unwrap()
}

impl State {
    /// Carries out some of what was started, and tells of some of what was carried out.
    fn turn(&mut self) -> Vec<Completion> {
        while !self.started.is_empty() {
            let at = self.any_of(self.started.len());
            let (token, request) = self.started.swap_remove(at);
            let result = self.execute(&request);
            self.done.push((Completion { token, result }, request));
            if self.chance.coin() {
                break;
            }
        }
        let mut completed = Vec::new();
        while !self.done.is_empty() && self.chance.coin() {
            let at = self.any_of(self.done.len());
            if !(self.hold_reads && self.done[at].1.operation.is_read()) {
                completed.push(self.done.swap_remove(at).0);
            }
        }
        completed
    }

    /// Requests that have not ended.
    pub fn in_flight(&self) -> usize {
        self.started.len() + self.staged.len() + self.done.len()
    }

    fn any_of(&mut self, count: usize) -> usize {
        usize::try_from(self.chance.below(count as u64)).unwrap()
    }

    fn execute(&mut self, request: &HostRequest) -> Result<(), Errno> {
        let written = written_by(request);
        let is_bad = |bad: Range| written.iter().any(|range| overlap(*range, bad));
        let unlucky = self.one_fails_of > 0 && self.chance.below(self.one_fails_of) == 0;
        if unlucky || self.bad.is_some_and(is_bad) {
            return Err(Errno::EIO);
        }
        self.written += written.iter().map(|range| range.length).sum::<u64>();
        self.execute_well(request, &written)?;
        if is_durable(&request.operation) {
            for range in written {
                let part = &self.bytes[place(range)];
                self.durable[place(range)].copy_from_slice(part);
            }
        }
        Ok(())
    }

    fn execute_well(&mut self, request: &HostRequest, written: &[Range]) -> Result<(), Errno> {
        match &request.operation {
            Operation::Read { offset } => {
                let length = request.buffers.length();
                let offset = *offset;
                let range = Range { offset, length };
                let bytes = self.bytes.get(place(range)).ok_or(Errno::EIO)?;
                request.buffers.copy_from(bytes);
            }
            Operation::Write { .. } => {
                let to = self.bytes.get_mut(place(written[0])).ok_or(Errno::EIO)?;
                request.buffers.copy_into(to);
            }
            Operation::Flush => {
                self.flushes += 1;
                self.durable = self.bytes.clone();
            }
            Operation::Discard { .. } | Operation::WriteZeroes { .. } => {
                for range in written {
                    self.bytes[place(*range)].fill(0);
                }
            }
        }
        Ok(())
    }
}

impl Backend for MemoryMedium {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let mut state = lock(&self.state);
        for range in written_by(&request) {
            let done = state.done.iter().map(|(_, request)| request);
            let others = state.staged.iter().chain(&state.started);
            for theirs in others.map(|(_, request)| request).chain(done) {
                let clash = written_by(theirs).into_iter().any(|r| overlap(range, r));
                assert!(!clash, "in no order: {request:?} and {theirs:?}");
            }
        }
        state.staged.push((token, request));
    }

    fn flush_submissions(&mut self) {
        let mut state = lock(&self.state);
        let mut staged = std::mem::take(&mut state.staged);
        state.started.append(&mut staged);
        self.event.write(1).unwrap();
    }

    fn completed(&mut self) -> Vec<Completion> {
        let _ = self.event.read();
        let mut state = lock(&self.state);
        if state.stuck {
            return Vec::new();
        }
        let completed = state.turn();
        if !state.started.is_empty() || !state.done.is_empty() {
            self.event.write(1).unwrap();
        }
        completed
    }

    fn completion_event(&self) -> &EventFd {
        &self.event
    }

    fn length(&self) -> u64 {
        lock(&self.state).bytes.len() as u64
    }

    fn capabilities(&self) -> Capabilities {
        let limits = Some(RangeLimits {
            max_length: 1 << 20,
            alignment: 512,
        });
        Capabilities {
            discard: limits,
            write_zeroes: limits,
            unmaps: true,
        }
    }

    fn close(&mut self) {
        let mut state = lock(&self.state);
        assert_eq!(state.in_flight(), 0);
        state.closed = true;
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        let mut state = lock(&self.state);
        assert_eq!(state.in_flight(), 0);
        state.bytes.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }
}
