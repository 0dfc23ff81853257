//! What names a session, a connection and a command in flight. Every room may import this; it imports none.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// The largest handle: JavaScript's `Number.MAX_SAFE_INTEGER`, which a client that keeps numbers in doubles can represent.
pub(crate) const LAST_HANDLE: i64 = (1 << 53) - 1;

/// The next handle. It belongs to the process, so that no monitor in it ever allocates one twice.
static NEXT_HANDLE: AtomicI64 = AtomicI64::new(1);

/// A session, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(u64);

impl SessionId {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(id: u64) -> Self {
        Self(id)
    }
}

/// A connection to a signal, as its client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(i64);

impl Handle {
    /// Allocates a handle; none is left after [`LAST_HANDLE`].
    pub(crate) fn allocate() -> Option<Self> {
        NEXT_HANDLE
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                (next <= LAST_HANDLE).then_some(next + 1)
            })
            .ok()
            .map(Self)
    }

    /// A handle as a client sent it. Only the registry knows whether it is in use.
    pub(crate) fn from_tag(tag: i64) -> Self {
        Self(tag)
    }

    /// The handle on the wire.
    pub(crate) fn tag(self) -> i64 {
        self.0
    }

    #[cfg(test)]
    pub(crate) fn for_tests(tag: i64) -> Self {
        Self(tag)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A command in flight: what its reply is matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) session: SessionId,
    /// Counts the session's commands.
    pub(crate) sequence: u64,
}
