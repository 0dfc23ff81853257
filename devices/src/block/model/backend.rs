//! What a backend is: submit now, complete later.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::errno::Errno;
use super::power_cut::{Loss, PowerCut};
use super::request::{Capabilities, Completion, Request, Token};

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
