//! From the driver to the backend: what is submitted, and what must not be yet.

use std::sync::Arc;

use super::{Pending, Worker};
use crate::block::{Completion, Errno, SECTOR_SIZE, Token};

impl Worker {
    /// Submits what had to wait and need not any more.
    pub(super) fn release(&mut self) {
        if !self.running || !self.resizes.is_empty() {
            return;
        }
        let ready: Vec<_> = std::iter::from_fn(|| self.limiter.pop()).collect();
        if !ready.is_empty() {
            self.submit_all(ready);
        }
    }

    /// Submits what was taken from the driver some time ago.
    pub(super) fn submit_all(&mut self, requests: Vec<(Token, Pending)>) {
        let length = self.parts.space.sectors() * SECTOR_SIZE;
        let mut outside = Vec::new();
        for (token, pending) in requests {
            // The disk may have become shorter meanwhile.
            if pending.request.end() > length {
                let result = Err(Errno::EIO);
                outside.push(Completion { token, result });
                self.in_flight.insert(token, pending);
            } else {
                self.submit(token, pending);
            }
        }
        self.parts.backend.flush_submissions();
        self.complete(outside);
    }

    pub(super) fn submit(&mut self, token: Token, pending: Pending) {
        if let Some(exceeded) = self.parts.write_threshold.check(&pending.request) {
            self.parts.observer.write_threshold_exceeded(exceeded);
        }
        let request = Arc::clone(&pending.request);
        self.parts.backend.submit(token, request);
        self.in_flight.insert(token, pending);
    }

    /// Nothing is taken or submitted any more, until the machine is continued.
    pub(super) fn halt(&mut self) {
        self.running = false;
        self.limiter.suspend();
    }

    /// Drops what was never answered and will not be.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.limiter.drain().for_each(drop);
    }
}
