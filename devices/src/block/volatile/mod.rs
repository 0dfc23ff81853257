//! A disk's volatile write cache: what is written is visible at once and durable after a flush.
//!
//! [`VolatileCache`] stands in front of any other [`Backend`], the medium. A write, a request for
//! zeroes or a discard is complete as soon as it is in the `log`. A flush writes back what was
//! completed before it, in order, and then has the medium flush; so does a write that is to be
//! durable. Nothing is written back before it has to be. A power cut (`cut`) decides what of the log
//! reaches the medium at all.
//!
//! What takes more memory than there is goes by age: the oldest changes are written back, and count
//! as durable then. A request that the cache has no room for at all is carried out by the medium
//! itself, when the log is empty.
//!
//! What is in the log at a power cut follows from the order in which requests were submitted, and
//! from nothing else: which changes are written back for want of room is decided by those that are to
//! stay, not by how far the medium has got, and what comes behind a request that waits for room,
//! other than reads, waits behind it. Only where the medium fails is it otherwise.

mod cut;
mod log;
mod owners;
#[cfg(test)]
mod tests;
mod write_back;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use super::buffers::GuestBuffers;
use super::{
    Backend, Capabilities, Completion, Durability, Errno, Loss, Operation, PowerCut, Range,
    Request, SECTOR_SIZE, Token,
};
use cut::Torn;
use log::{Change, Log};
use write_back::{Next, WriteBack};

/// What the medium was asked for.
enum Work {
    /// A read, and whether something in the log lies over it.
    Read(Token, Arc<Request>, Overlaid),
    /// To write a change back.
    WriteBack(u64),
    /// A flush, or the end of a request that is to be durable.
    Flush(Token),
    /// A request that is too large for the cache.
    Through(Token),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overlaid {
    Yes,
    No,
}

/// What ends when everything up to a change is durable.
struct Flush {
    token: Token,
    /// Changes older than this.
    before: u64,
}

/// A write cache in front of another backend.
pub struct VolatileCache {
    medium: Box<dyn Backend>,
    /// What there is to wait for where it has to be waited for: the medium's event.
    medium_event: Epoll,
    /// Bytes.
    capacity: u64,
    log: Log,
    write_back: WriteBack,
    /// What is written but still in the log, with the number of the first read that has not begun
    /// by then: an earlier one may have found the medium without it.
    written: VecDeque<(u64, u64)>,
    /// Everything but reads, until it has its place in the log, in the order of its arrival.
    queue: VecDeque<(Token, Arc<Request>)>,
    /// The first of the queue has had what was refused tried again.
    insisted: bool,
    /// A request that is too large for the cache is with the medium.
    through: bool,
    /// By `before`, all of which are written back first.
    flushes: VecDeque<Flush>,
    /// What the medium has to do, by its token there.
    work: BTreeMap<u64, Work>,
    next_work: u64,
    /// Those of the reads that something in the log lies over.
    overlaid: BTreeSet<u64>,
    /// Ended, and not taken yet.
    ended: Vec<Completion>,
}

impl VolatileCache {
    /// A cache in front of a medium, with so many bytes for what is written and not written back.
    ///
    /// # Errors
    ///
    /// When the host refuses a descriptor.
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

    fn ask_medium(&mut self, work: Work, request: Arc<Request>) {
        let number = self.next_work;
        self.next_work += 1;
        if matches!(work, Work::Read(_, _, Overlaid::Yes)) {
            self.overlaid.insert(number);
        }
        self.work.insert(number, work);
        self.medium.submit(Token(number), request);
    }

    fn read(&mut self, token: Token, range: Range, request: Arc<Request>) {
        let covered = self.log.covered(range);
        if covered == range.length {
            self.log.read(range, &request.buffers);
            return self.end(token, Ok(()));
        }
        let overlaid = match covered {
            0 => Overlaid::No,
            _ => Overlaid::Yes,
        };
        self.ask_medium(Work::Read(token, Arc::clone(&request), overlaid), request);
    }

    /// Goes on with the queue as far as there is room, and with what follows from that.
    fn advance(&mut self) {
        self.start_write_back();
        while !self.through
            && let Some((token, request)) = self.queue.pop_front()
        {
            if !self.take(token, &request) {
                self.queue.push_front((token, request));
                break;
            }
            self.insisted = false;
        }
        self.flush_medium();
    }

    /// Takes a request from the queue, unless it has to wait there.
    fn take(&mut self, token: Token, request: &Arc<Request>) -> bool {
        let durability = match request.operation {
            Operation::Flush => {
                self.flush(token);
                return true;
            }
            Operation::Write { durability, .. } | Operation::WriteZeroes { durability, .. } => {
                durability
            }
            Operation::Read { .. } | Operation::Discard { .. } => Durability::Cached,
        };
        if request.length() == 0 {
            self.end(token, Ok(()));
            return true;
        }
        let cost = log::cost_of(request);
        if !self.has_room(cost) {
            if self.make_room(cost) {
                return false;
            }
            if !self.has_room(cost) {
                self.end(token, Err(self.write_back.last_error()));
                return true;
            }
        }
        if cost > self.capacity {
            self.through = true;
            self.ask_medium(Work::Through(token), Arc::clone(request));
            return true;
        }
        if let Some(change) = log::change_of(request) {
            self.log.append(change);
        }
        match durability {
            Durability::Cached => self.end(token, Ok(())),
            Durability::Durable => self.flush(token),
        }
        true
    }

    fn has_room(&self, cost: u64) -> bool {
        self.log.is_empty() || self.log.cost().saturating_add(cost) <= self.capacity
    }

    /// Has the oldest changes written back until there will be room. Returns whether that is worth
    /// waiting for: not when all that there is has been tried.
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

    /// Lets a request end when all that is in the log is durable.
    fn flush(&mut self, token: Token) {
        self.write_back.ask_for_all(&self.log);
        self.flushes.push_back(Flush {
            token,
            before: self.log.next(),
        });
        self.start_write_back();
    }

    fn start_write_back(&mut self) {
        while let Some(next) = self.write_back.next(&self.log) {
            match next {
                Next::Failed(ordinal, errno) => self.not_written(ordinal, errno),
                Next::Start(ordinal) => {
                    if let Some(change) = self.log.get(ordinal) {
                        let request = Arc::new(change.request());
                        self.ask_medium(Work::WriteBack(ordinal), request);
                    }
                }
            }
        }
    }

    /// A change is not on the medium, and remains in the log: nothing that waits for it is durable.
    fn not_written(&mut self, ordinal: u64, errno: Errno) {
        if let Some(change) = self.log.get(ordinal) {
            self.write_back.failed(ordinal, change, errno);
        }
        let first = self
            .flushes
            .partition_point(|flush| flush.before <= ordinal);
        for Flush { token, .. } in self.flushes.split_off(first) {
            self.end(token, Err(errno));
        }
    }

    /// Has the medium flush for whom everything is written back.
    fn flush_medium(&mut self) {
        let oldest = self.write_back.oldest().unwrap_or(u64::MAX);
        let is_ready = |flush: &Flush| flush.before <= oldest;
        while self.flushes.front().is_some_and(is_ready)
            && let Some(flush) = self.flushes.pop_front()
        {
            let request = Request {
                operation: Operation::Flush,
                buffers: GuestBuffers::own(0),
            };
            self.ask_medium(Work::Flush(flush.token), Arc::new(request));
        }
    }

    /// Removes from the log what no read can miss any more.
    fn release(&mut self) {
        let oldest = self.overlaid.first().copied().unwrap_or(u64::MAX);
        while let Some(&(ordinal, reads)) = self.written.front()
            && reads <= oldest
        {
            self.written.pop_front();
            let cost = self.log.remove(ordinal);
            self.write_back.has_left(cost);
        }
    }

    /// Takes what the medium has done.
    fn medium_has_done(&mut self, completions: Vec<Completion>) {
        if completions.is_empty() {
            return;
        }
        for Completion { token, result } in completions {
            match self.work.remove(&token.0) {
                Some(Work::Read(read, request, overlaid)) => {
                    self.overlaid.remove(&token.0);
                    if let (Ok(()), Overlaid::Yes) = (result, overlaid) {
                        self.log.read(place_of(&request), &request.buffers);
                    }
                    self.end(read, result);
                }
                Some(Work::WriteBack(ordinal)) => {
                    self.write_back.ended(ordinal);
                    match result {
                        Ok(()) => self.written.push_back((ordinal, self.next_work)),
                        Err(errno) => self.not_written(ordinal, errno),
                    }
                }
                Some(Work::Flush(flush)) => self.end(flush, result),
                Some(Work::Through(request)) => {
                    self.through = false;
                    self.end(request, result);
                }
                None => tracing::error!(?token, "the medium of a cache completed twice"),
            }
        }
        self.release();
        self.advance();
        self.medium.flush_submissions();
    }

    /// Waits until the medium has nothing more to do, and nothing waits for it.
    fn settle(&mut self) {
        self.medium.flush_submissions();
        while !self.work.is_empty() {
            // A wait that was interrupted is one that was short.
            let _ = self.medium_event.wait(-1, &mut [EpollEvent::default()]);
            let completions = self.medium.completed();
            self.medium_has_done(completions);
        }
    }

    /// Carries out a request of our own, and waits for its end and for that of everything else.
    fn perform(&mut self, operation: Operation, buffers: GuestBuffers) -> Result<(), Errno> {
        self.settle();
        let before = std::mem::take(&mut self.ended);
        let request = Request { operation, buffers };
        self.submit(Token(0), Arc::new(request));
        self.settle();
        let ended = std::mem::replace(&mut self.ended, before);
        self.ring_bell();
        ended.first().map_or(Err(Errno::EIO), |ended| ended.result)
    }

    fn flush_now(&mut self) -> Result<(), Errno> {
        self.perform(Operation::Flush, GuestBuffers::own(0))
    }

    /// Puts the beginning of a sector on the disk without the rest of it.
    fn tear(&mut self, torn: &Torn) -> Result<(), Errno> {
        let offset = torn.offset / SECTOR_SIZE * SECTOR_SIZE;
        let sector = GuestBuffers::own(512);
        self.perform(Operation::Read { offset }, sector.clone())?;
        let begin = usize::try_from(torn.offset - offset).unwrap_or_default();
        torn.bytes.copy_to(&sector.after(begin), 512);
        self.log.append(Change::write(offset, sector));
        Ok(())
    }

    /// Whoever waits for the event must look: something ended without the medium.
    fn ring_bell(&self) {
        if !self.ended.is_empty() {
            let _ = self.medium.completion_event().write(1);
        }
    }
}

/// Where a read or a write is.
fn place_of(request: &Request) -> Range {
    let offset = match request.operation {
        Operation::Read { offset } | Operation::Write { offset, .. } => offset,
        _ => 0,
    };
    Range {
        offset,
        length: request.buffers.length(),
    }
}

impl Backend for VolatileCache {
    fn submit(&mut self, token: Token, request: Arc<Request>) {
        if i64::try_from(request.end()).is_err() {
            return self.end(token, Err(Errno::EFBIG));
        }
        if let Operation::Read { .. } = request.operation {
            return self.read(token, place_of(&request), request);
        }
        self.queue.push_back((token, request));
        if self.queue.len() == 1 {
            self.advance();
        }
    }

    fn flush_submissions(&mut self) {
        self.medium.flush_submissions();
        self.ring_bell();
    }

    fn completed(&mut self) -> Vec<Completion> {
        // Which also clears the event: what ends after this makes it readable again.
        let completions = self.medium.completed();
        self.medium_has_done(completions);
        std::mem::take(&mut self.ended)
    }

    fn poll(&mut self) -> Vec<Completion> {
        let completions = self.medium.poll();
        self.medium_has_done(completions);
        std::mem::take(&mut self.ended)
    }

    fn completion_event(&self) -> &EventFd {
        self.medium.completion_event()
    }

    fn length(&self) -> u64 {
        self.medium.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.medium.capabilities()
    }

    fn close(&mut self) {
        if let Err(errno) = self.flush_now() {
            tracing::error!("what is left in a disk's write cache cannot be written: {errno}");
        }
        self.medium.close();
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        let flushed = self.flush_now();
        // What is on the medium need not be durable for this.
        if !self.log.is_empty() {
            return Err(flushed.err().unwrap_or(Errno::EIO));
        }
        self.medium.resize(length)
    }

    fn power_cut(&mut self, cut: &PowerCut) -> Result<Loss, Errno> {
        self.settle();
        let remains = cut::remains(&self.log.take(), cut);
        self.write_back.forget(&self.log);
        for change in remains.changes {
            self.log.append(change);
        }
        self.flush_now()?;
        if let Some(torn) = remains.torn {
            self.tear(&torn)?;
            self.flush_now()?;
        }
        // A medium with a cache of its own has lost nothing that it was asked to keep.
        self.medium.power_cut(cut)?;
        Ok(remains.loss)
    }
}
