//! What a backend is: submit now, complete later.

use vmm_sys_util::eventfd::EventFd;

use super::errno::Errno;
use super::io_buffers::IoBuffers;
use super::power_cut::{Loss, PowerCut};
use super::request::{Capabilities, Completion, Operation, Token};

/// A request with its data at host addresses, on its way to a backend: made of a
/// [`Request`](super::request::Request) when that is submitted, or of memory of our own.
#[derive(Debug, Clone)]
pub struct HostRequest {
    /// What to do.
    pub operation: Operation,
    /// The memory to move; empty for a flush, a discard and zeroes.
    pub buffers: IoBuffers,
}

impl HostRequest {
    /// A request that moves no data.
    pub fn without_data(operation: Operation) -> Self {
        Self {
            operation,
            buffers: IoBuffers::none(),
        }
    }

    /// Bytes of the disk that it is about.
    pub fn length(&self) -> u64 {
        self.operation.length(self.buffers.length())
    }

    /// The first byte behind all that it is about; zero for a flush.
    pub fn end(&self) -> u64 {
        self.operation.end(self.buffers.length())
    }
}

/// Where a disk's bytes are. Owned by one disk thread.
pub trait Backend: Send {
    /// Takes a request. Never waits for the medium. Every submitted token comes back once
    /// through [`Backend::completed`], in any order. Its guest memory is held until then.
    fn submit(&mut self, token: Token, request: HostRequest);

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
