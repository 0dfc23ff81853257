//! What a backend is: submit now, complete later.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::{Errno, Loss, PowerCut, buffers::GuestBuffers};

/// Names a request between its submission and its completion. The submitter chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// When a write may be called complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// When the host has taken it; a flush makes it durable.
    Cached,
    /// When it would survive a power cut: for a driver that has no flush.
    Durable,
}

/// A part of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Range {
    /// The first byte behind it.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Whether a part of the disk that is to read as zeroes may lose its space on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zeroing {
    /// It keeps its space: a later write there does not run out of it.
    KeepSpace,
    /// Its space may be given back.
    MayUnmap,
}

/// What to do, and where on the disk. Offsets and lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Fill the buffers from the disk.
    Read {
        /// First byte on the disk.
        offset: u64,
    },
    /// Put the buffers on the disk.
    Write {
        /// First byte on the disk.
        offset: u64,
        /// When it counts as written.
        durability: Durability,
    },
    /// Make every completed write durable.
    Flush,
    /// Nobody needs what is there any more. What is read there later is anything.
    Discard {
        /// Where, in this order.
        ranges: Vec<Range>,
    },
    /// Let these read as zeroes.
    WriteZeroes {
        /// Where, in this order.
        ranges: Vec<Range>,
        /// What may become of their space.
        zeroing: Zeroing,
        /// When they count as written.
        durability: Durability,
    },
}

impl Operation {
    /// Whether the error policy for reads applies. Everything else counts as a write.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

/// One request to a disk.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// The guest memory to move; empty for a flush.
    pub buffers: GuestBuffers,
}

/// The end of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The token that it was submitted with.
    pub token: Token,
    /// Whether the whole of it was done. After an error, part of it may have been.
    pub result: Result<(), Errno>,
}

impl Request {
    /// Bytes of the disk that it is about.
    pub fn length(&self) -> u64 {
        match &self.operation {
            Operation::Read { .. } | Operation::Write { .. } => self.buffers.length(),
            Operation::Flush => 0,
            Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => ranges
                .iter()
                .fold(0, |sum, range| range.length.saturating_add(sum)),
        }
    }

    /// The first byte behind all that it is about; zero for a flush.
    pub fn end(&self) -> u64 {
        match &self.operation {
            Operation::Read { offset } | Operation::Write { offset, .. } => {
                offset.saturating_add(self.buffers.length())
            }
            Operation::Flush => 0,
            Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => {
                ranges.iter().map(|range| range.end()).max().unwrap_or(0)
            }
        }
    }
}

/// What a host can do with one range at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeLimits {
    /// Longest range, in bytes.
    pub max_length: u64,
    /// What its ends should be multiples of, in bytes, to be worth it.
    pub alignment: u32,
}

/// What a backend offers beside reading, writing and flushing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// [`Operation::Discard`], if it does anything.
    pub discard: Option<RangeLimits>,
    /// [`Operation::WriteZeroes`].
    pub write_zeroes: Option<RangeLimits>,
    /// Whether [`Zeroing::MayUnmap`] gives space back.
    pub unmaps: bool,
}

/// Where a disk's bytes are. Owned by one disk thread.
pub trait Backend: Send {
    /// Takes a request. Never waits for the medium. Every submitted token comes back once
    /// through [`Backend::completed`], in any order. Its guest memory is held until then.
    fn submit(&mut self, token: Token, request: Arc<Request>);

    /// Starts what was submitted since the last call, if it has not started by itself: a batch of
    /// requests goes to the host at once.
    fn flush_submissions(&mut self) {}

    /// Takes what has completed since the last call.
    fn completed(&mut self) -> Vec<Completion>;

    /// Takes what has completed as far as that can be seen without asking the host. The event may
    /// become readable for it all the same.
    fn poll(&mut self) -> Vec<Completion> {
        Vec::new()
    }

    /// Readable while completions wait; [`Backend::completed`] makes it unreadable again.
    fn completion_event(&self) -> &EventFd;

    /// The disk's length now, in bytes.
    fn length(&self) -> u64;

    /// What it can do beside reading, writing and flushing. That never changes.
    fn capabilities(&self) -> Capabilities;

    /// Writes what is still in memory: nothing is in flight, and no more requests come. It may wait
    /// for the medium.
    fn close(&mut self) {}

    /// Makes the disk longer, with zeroes, or shorter. Nothing is in flight. It may wait for the
    /// medium.
    ///
    /// # Errors
    ///
    /// What the host says; then the length is what it was.
    fn resize(&mut self, length: u64) -> Result<(), Errno>;

    /// Begins the part of a resize to a length for which requests need not wait. Returns whether
    /// there is one that goes on: when it has ended, [`Backend::is_preparing_resize`] is false and
    /// the completion event becomes readable. The disk keeps its length until [`Backend::resize`].
    fn prepare_resize(&mut self, _length: u64) -> bool {
        false
    }

    /// Whether what [`Backend::prepare_resize`] began goes on.
    fn is_preparing_resize(&self) -> bool {
        false
    }

    /// Loses what only a cache of the disk's own holds, as far as the power cut says so, and makes
    /// the rest durable. Nothing is in flight. It may wait for the medium. A backend without such a
    /// cache has nothing to lose.
    ///
    /// # Errors
    ///
    /// What the host says when what survives cannot be written.
    fn power_cut(&mut self, _cut: &PowerCut) -> Result<Loss, Errno> {
        Ok(Loss::default())
    }
}
