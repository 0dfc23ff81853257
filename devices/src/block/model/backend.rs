//! The backend trait: asynchronous submission and completion.

use vmm_sys_util::eventfd::EventFd;

use super::cache_state::CacheState;
use super::errno::Errno;
use super::io_buffers::IoBuffers;
use super::power_cut::{Loss, PowerCut};
use super::request::{Capabilities, Completion, Operation, Token};
use crate::life_cycle::RestoreError;

/// A request with its data at host addresses, for a backend: made from a
/// [`Request`](super::request::Request) at submission, or from host memory.
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

    /// Bytes of the disk that it covers.
    pub fn length(&self) -> u64 {
        self.operation.length(self.buffers.length())
    }

    /// The offset behind its last byte; zero for a flush.
    pub fn end(&self) -> u64 {
        self.operation.end(self.buffers.length())
    }
}

/// Performs a disk's requests. Owned by one disk thread.
pub trait Backend: Send {
    /// Submits a request without waiting for the medium. [`Backend::completed`] returns each
    /// submitted token once, in any order. Its guest memory is held until then.
    fn submit(&mut self, token: Token, request: HostRequest);

    /// Passes the requests submitted since the last call to the host, in one batch, if that has not
    /// happened yet.
    fn flush_submissions(&mut self) {}

    /// Takes the completions since the last call.
    fn completed(&mut self) -> Vec<Completion>;

    /// Takes the completions that are visible without a system call. The event may become readable
    /// for them nevertheless.
    fn poll(&mut self) -> Vec<Completion> {
        Vec::new()
    }

    /// Readable while completions wait; [`Backend::completed`] makes it unreadable again.
    fn completion_event(&self) -> &EventFd;

    /// The disk's current length, in bytes.
    fn length(&self) -> u64;

    /// Its operations beside reading, writing and flushing. They never change.
    fn capabilities(&self) -> Capabilities;

    /// Writes what is still in memory. Nothing is in flight, and no request follows. May wait for
    /// the medium.
    fn close(&mut self) {}

    /// Grows the disk, with zeroes, or shrinks it. Nothing is in flight. May wait for the medium.
    ///
    /// # Errors
    ///
    /// The host's errno; the length is unchanged then.
    fn resize(&mut self, length: u64) -> Result<(), Errno>;

    /// Begins the part of a resize that runs beside requests. Returns whether there is one: when it
    /// has ended, [`Backend::is_preparing_resize`] is false and the completion event becomes
    /// readable. The disk keeps its length until [`Backend::resize`].
    fn prepare_resize(&mut self, _length: u64) -> bool {
        false
    }

    /// Whether the preparation that [`Backend::prepare_resize`] began is running.
    fn is_preparing_resize(&self) -> bool {
        false
    }

    /// What its volatile cache holds that is not on the medium; `None` without such a cache. Nothing
    /// is in flight. May wait for the medium.
    fn save_cache(&mut self) -> Option<CacheState> {
        None
    }

    /// Replaces the content of its volatile cache with what was saved, in front of a copy of the
    /// medium. Nothing is in flight. May wait for the medium.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] for changes that such a cache cannot hold; it is unchanged then.
    fn restore_cache(&mut self, state: Option<&CacheState>) -> Result<(), RestoreError> {
        match state {
            None => Ok(()),
            Some(_) => Err(RestoreError::Mismatch {
                what: "volatile cache",
                saved: "on".to_owned(),
                own: "off".to_owned(),
            }),
        }
    }

    /// Loses what the power cut selects from the volatile cache, and makes the rest durable.
    /// Nothing is in flight. May wait for the medium. A backend without such a cache loses nothing.
    ///
    /// # Errors
    ///
    /// The host's errno when what survives cannot be written.
    fn power_cut(&mut self, _cut: &PowerCut) -> Result<Loss, Errno> {
        Ok(Loss::default())
    }
}
