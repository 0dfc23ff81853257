//! Waiting for the first client (`wait=on`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many listeners still wait for their first client.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    left: Mutex<usize>,
    changed: Condvar,
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One listener more waits.
    pub(crate) fn expect(&self) {
        *self.lock() += 1;
    }

    /// One of them has its client.
    pub(crate) fn arrived(&self) {
        let mut left = self.lock();
        *left = left.saturating_sub(1);
        self.changed.notify_all();
    }

    /// There will be no more clients.
    pub(crate) fn give_up(&self) {
        *self.lock() = 0;
        self.changed.notify_all();
    }

    /// Waits until none of them waits.
    pub(crate) fn wait(&self) {
        let mut left = self.lock();
        while *left > 0 {
            left = self
                .changed
                .wait(left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
