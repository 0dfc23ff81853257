//! What the monitor's threads do before anything else, which is the program's to say.

use std::fmt;
use std::sync::Arc;

/// What a thread of the monitor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThreadKind {
    /// Listeners and sessions.
    Server,
    /// Moving standard input to a session, or what the session says to standard output.
    Stdio,
}

/// What a thread of each kind does first. Nothing, unless said otherwise.
#[derive(Clone, Default)]
pub(crate) struct ThreadStart(Option<Arc<dyn Fn(ThreadKind) + Send + Sync>>);

impl ThreadStart {
    pub(crate) fn new(first: impl Fn(ThreadKind) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(first)))
    }

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
