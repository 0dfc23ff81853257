//! Waiting for the first client (`wait=on`).

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Called once all of them have come.
type Then = Box<dyn FnOnce() + Send>;

/// The number of listeners without a first client.
#[derive(Default)]
pub(crate) struct Waiting {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    left: usize,
    then: Option<Then>,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener that waits.
    pub(crate) fn expect(&self) {
        self.lock().left += 1;
    }

    /// A listener has its first client.
    pub(crate) fn arrived(&self) {
        let mut state = self.lock();
        state.left = state.left.saturating_sub(1);
        if state.left > 0 {
            return;
        }
        let then = state.then.take();
        drop(state);
        if let Some(then) = then {
            then();
        }
    }

    /// Calls this when no listener waits any more.
    pub(crate) fn then(&self, then: Then) {
        let mut state = self.lock();
        if state.left > 0 {
            state.then = Some(then);
            return;
        }
        drop(state);
        then();
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.lock().left;
        formatter
            .debug_struct("Waiting")
            .field("left", &left)
            .finish_non_exhaustive()
    }
}
