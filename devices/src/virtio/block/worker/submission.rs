//! Deferral and resubmission of requests.

use super::Worker;
use super::requests::Pending;
use crate::block::model::errno::Errno;
use crate::block::model::request::{Request, SECTOR_SIZE, Token};

impl Worker {
    /// Whether requests may be submitted now.
    pub(super) fn may_submit(&self) -> bool {
        self.running && self.resizes.is_empty()
    }

    /// Whether a request lies within the disk, which may have shrunk since its arrival.
    pub(super) fn is_on_the_disk(&self, request: &Request) -> bool {
        request.end() <= self.parts.space.sectors() * SECTOR_SIZE
    }

    /// Submits waiting requests that are admitted now.
    pub(super) fn release(&mut self) {
        if !self.may_submit() {
            return;
        }
        let ready: Vec<_> = std::iter::from_fn(|| self.limiter.pop()).collect();
        if !ready.is_empty() {
            self.submit_all(ready);
        }
    }

    /// Submits requests that were taken earlier.
    pub(super) fn submit_all(&mut self, requests: Vec<(Token, Pending)>) {
        for (token, pending) in requests {
            if !self.running {
                // An earlier one has stopped the machine.
                self.hold(token, pending);
            } else if self.is_on_the_disk(&pending.request) {
                self.submit(token, pending);
            } else {
                self.end(token, pending, Err(Errno::EIO));
            }
        }
        self.parts.backend.flush_submissions();
        self.complete_ended();
    }

    /// Holds a request until the machine is continued.
    pub(super) fn hold(&mut self, token: Token, pending: Pending) {
        if self.faults.power.is_failing() {
            self.faults.power.cut_off(token, pending);
        } else {
            self.held.insert(token, pending);
        }
    }

    /// Stops taking and submitting requests until the machine is continued.
    pub(super) fn halt(&mut self) {
        self.running = false;
        self.limiter.suspend();
    }

    /// Drops unanswered requests, which will never be answered.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.faults.forget();
        self.limiter.drain().for_each(drop);
    }
}
