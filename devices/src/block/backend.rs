//! What a backend is: submit now, complete later.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::{Errno, buffers::GuestBuffers};

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

/// What to do, and where on the disk. Offsets and lengths are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

impl Operation {
    /// Whether the error policy for reads applies. Flushes count as writes.
    pub fn is_read(self) -> bool {
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

    /// Readable while completions wait; [`Backend::completed`] makes it unreadable again.
    fn completion_event(&self) -> &EventFd;
}
