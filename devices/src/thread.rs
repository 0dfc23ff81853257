//! The first call of each of the devices' threads.
//!
//! The program confines each thread by it.

use std::fmt;
use std::sync::Arc;

/// A thread's purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadKind {
    /// A disk's requests: its queues, and its ring or threads for I/O.
    Disk,
    /// Blocking I/O on a disk's images. Started by the disk's thread.
    DiskIo,
    /// An entropy device's queue.
    Rng,
    /// The connections of a vsock device.
    Vsock,
    /// Writes console output.
    Console,
}

/// The first call of a thread of each kind; by default none.
#[derive(Clone, Default)]
pub struct ThreadStart(Option<Arc<dyn Fn(ThreadKind) + Send + Sync>>);

impl ThreadStart {
    /// Calls `first` in each new thread.
    pub fn new(first: impl Fn(ThreadKind) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(first)))
    }

    /// Makes the first call of a thread of this kind.
    pub(crate) fn begin(&self, kind: ThreadKind) {
        if let Some(first) = &self.0 {
            first(kind);
        }
    }
}

impl fmt::Debug for ThreadStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tuple = f.debug_tuple("ThreadStart");
        tuple.field(&self.0.is_some()).finish()
    }
}
