//! What the devices' threads do before anything else.
//!
//! The program has its say in that: it takes away from each thread what a thread of its kind has no use for.

use std::fmt;
use std::sync::Arc;

/// What a thread is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadKind {
    /// A disk's requests: its queues, and the ring or the threads that carry the requests out.
    Disk,
    /// Blocking I/O on a disk's images. Started by the disk's thread.
    DiskIo,
    /// Writing the console's output.
    Console,
}

/// What a thread of each kind does first. Nothing, unless said otherwise.
#[derive(Clone, Default)]
pub struct ThreadStart(Option<Arc<dyn Fn(ThreadKind) + Send + Sync>>);

impl ThreadStart {
    /// Calls `first` in each new thread.
    pub fn new(first: impl Fn(ThreadKind) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(first)))
    }

    /// The first thing that a thread of that kind does.
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
