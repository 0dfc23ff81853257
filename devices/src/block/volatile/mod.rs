//! A disk's volatile write cache: writes are visible at once, and durable after a flush.
//!
//! [`VolatileCache`] is in front of any other [`Backend`], the medium. A write, a write-zeroes or a discard is complete
//! when it is in the `log`. A flush writes back, in order, what was completed before it, and then flushes the medium;
//! so does a durable write. Nothing is written back without need. A power cut (`cut`) decides what of the log reaches
//! the medium at all.
//!
//! Without room, the oldest changes are written back and count as durable. A request that exceeds the cache is
//! performed by the medium itself, when the log is empty.
//!
//! The log at a power cut follows from the order in which requests were submitted, and from nothing else: the changes
//! that are to stay determine which are written back for room, not the medium's progress, and everything but reads
//! waits behind a request that waits for room. Only a failure of the medium changes this.

mod at_rest;
mod backend;
mod cut;
mod log;
mod medium;
mod owners;
mod state;
#[cfg(test)]
mod tests;
mod write_back;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::AsRawFd;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};

use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Completion, Durability, Operation, Range, Token};
use log::Log;
use medium::{Overlay, Work};
use write_back::WriteBack;

/// What completes when everything up to a change is durable.
struct Flush {
    token: Token,
    /// Changes older than this.
    before: u64,
}

/// A write cache in front of another backend.
pub struct VolatileCache {
    medium: Box<dyn Backend>,
    /// For waiting: the medium's event.
    medium_event: Epoll,
    /// In bytes.
    capacity: u64,
    log: Log,
    write_back: WriteBack,
    /// Changes that are on the medium but still in the log, with the number of the first read that began later: an
    /// earlier one may have missed them on the medium.
    written: VecDeque<(u64, u64)>,
    /// Everything but reads, until it is in the log, in the order of arrival.
    queue: VecDeque<(Token, HostRequest)>,
    /// For the first of the queue, refused changes have been retried.
    insisted: bool,
    /// A request that is too large for the cache is with the medium.
    through: bool,
    /// By `before`, up to which everything is written back first.
    flushes: VecDeque<Flush>,
    /// Requests to the medium, by their tokens there.
    work: BTreeMap<u64, Work>,
    next_work: u64,
    /// Reads that overlap the log.
    overlaid: BTreeSet<u64>,
    /// Completed, and not yet taken.
    ended: Vec<Completion>,
}

impl VolatileCache {
    /// A cache in front of a medium, with this many bytes for changes that are not written back.
    ///
    /// # Errors
    ///
    /// If the host refuses a descriptor.
    pub fn new(medium: Box<dyn Backend>, capacity: u64) -> io::Result<Self> {
        let medium_event = Epoll::new()?;
        medium_event.ctl(
            ControlOperation::Add,
            medium.completion_event().as_raw_fd(),
            EpollEvent::new(EventSet::IN, 0),
        )?;
        Ok(Self {
            medium,
            medium_event,
            capacity,
            log: Log::default(),
            write_back: WriteBack::default(),
            written: VecDeque::new(),
            queue: VecDeque::new(),
            insisted: false,
            through: false,
            flushes: VecDeque::new(),
            work: BTreeMap::new(),
            next_work: 0,
            overlaid: BTreeSet::new(),
            ended: Vec::new(),
        })
    }

    fn end(&mut self, token: Token, result: Result<(), Errno>) {
        self.ended.push(Completion { token, result });
    }

    fn read(&mut self, token: Token, request: HostRequest) {
        let range = place_of(&request);
        let covered = self.log.covered(range);
        if covered == range.length {
            self.log.read(range, &request.buffers);
            return self.end(token, Ok(()));
        }
        let overlay = (covered > 0).then(|| Overlay {
            range,
            buffers: request.buffers.clone(),
        });
        self.ask_medium(Work::Read(token, overlay), request);
    }

    /// Advances the queue as far as there is room, and what depends on it.
    fn advance(&mut self) {
        self.start_write_back();
        while !self.through
            && let Some((token, request)) = self.queue.pop_front()
        {
            if let Some(request) = self.take(token, request) {
                self.queue.push_front((token, request));
                break;
            }
            self.insisted = false;
        }
        self.flush_medium();
    }

    /// Takes a request from the queue, or returns it if it has to wait.
    fn take(&mut self, token: Token, request: HostRequest) -> Option<HostRequest> {
        let durability = match request.operation {
            Operation::Flush => {
                self.flush(token);
                return None;
            }
            Operation::Write { durability, .. } | Operation::WriteZeroes { durability, .. } => {
                durability
            }
            Operation::Read { .. } | Operation::Discard { .. } => Durability::Cached,
        };
        if request.length() == 0 {
            self.end(token, Ok(()));
            return None;
        }
        let cost = log::cost_of(&request);
        if !self.has_room(cost) {
            if self.make_room(cost) {
                return Some(request);
            }
            if !self.has_room(cost) {
                self.end(token, Err(self.write_back.last_error()));
                return None;
            }
        }
        if cost > self.capacity {
            self.through = true;
            self.ask_medium(Work::Through(token), request);
            return None;
        }
        if let Some(change) = log::change_of(&request) {
            self.log.append(change);
        }
        match durability {
            Durability::Cached => self.end(token, Ok(())),
            Durability::Durable => self.flush(token),
        }
        None
    }

    fn has_room(&self, cost: u64) -> bool {
        self.log.is_empty() || self.log.cost().saturating_add(cost) <= self.capacity
    }

    /// Writes back the oldest changes until there will be room. Returns whether waiting can help: not if everything has
    /// been tried.
    fn make_room(&mut self, cost: u64) -> bool {
        if !self.insisted {
            self.insisted = true;
            self.write_back.ask_again(&self.log);
        }
        loop {
            while self.write_back.staying(&self.log).saturating_add(cost) > self.capacity
                && self.write_back.ask_for_oldest(&self.log)
            {}
            self.start_write_back();
            if self.write_back.oldest().is_some() || !self.written.is_empty() {
                return true;
            }
            let staying = self.write_back.staying(&self.log);
            if staying.saturating_add(cost) <= self.capacity
                || !self.write_back.ask_for_oldest(&self.log)
            {
                return false;
            }
        }
    }

    /// Completes a request when everything in the log is durable.
    fn flush(&mut self, token: Token) {
        self.write_back.ask_for_all(&self.log);
        self.flushes.push_back(Flush {
            token,
            before: self.log.next(),
        });
        self.start_write_back();
    }

    /// Signals the event: something completed without the medium.
    fn ring_bell(&self) {
        if !self.ended.is_empty() {
            let _ = self.medium.completion_event().write(1);
        }
    }
}

/// The range of a read or a write.
fn place_of(request: &HostRequest) -> Range {
    let offset = match request.operation {
        Operation::Read { offset } | Operation::Write { offset, .. } => offset,
        _ => 0,
    };
    Range {
        offset,
        length: request.buffers.length(),
    }
}
