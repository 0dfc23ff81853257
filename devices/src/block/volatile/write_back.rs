//! The state of write-back: which changes are to be written, which may be now, and which failed.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Change, Log};
use super::owners::Owners;
use crate::block::model::errno::Errno;

/// Most changes in flight to the medium.
const DEPTH: usize = 64;

/// The treatment of the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Write it.
    Start(u64),
    /// It cannot be written: an older one in the same range failed.
    Failed(u64, Errno),
}

/// Write-back. Changes begin in order; one that overlaps another in flight waits for it, as do all behind it.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    /// Everything older has been requested.
    asked_for: u64,
    /// Requested, and not yet begun.
    waiting: BTreeSet<u64>,
    in_flight: BTreeSet<u64>,
    /// The ranges in flight.
    busy: Owners,
    /// Changes that the medium refused, until they are retried.
    failed: BTreeMap<u64, Errno>,
    /// Their ranges.
    spoilt: Owners,
    /// The last error.
    last_error: Option<Errno>,
    /// The cost of the changes that leave the log if nothing fails.
    leaving: u64,
}

impl WriteBack {
    /// Requests all changes, including refused ones.
    pub(super) fn ask_for_all(&mut self, log: &Log) {
        self.ask_again(log);
        while self.ask_for_oldest(log) {}
    }

    /// Retries refused changes.
    pub(super) fn ask_again(&mut self, log: &Log) {
        self.spoilt = Owners::default();
        for (ordinal, _) in std::mem::take(&mut self.failed) {
            self.leaving += log.cost_at(ordinal);
            self.waiting.insert(ordinal);
        }
    }

    /// Requests the oldest change that was not requested; `None` if there is none.
    pub(super) fn ask_for_oldest(&mut self, log: &Log) -> bool {
        let Some(oldest) = log.first_from(self.asked_for) else {
            return false;
        };
        self.asked_for = oldest + 1;
        self.leaving += log.cost_at(oldest);
        self.waiting.insert(oldest);
        true
    }

    /// The cost of the changes that stay in the log.
    pub(super) fn staying(&self, log: &Log) -> u64 {
        log.cost() - self.leaving
    }

    /// Takes the next change to be written back, if it may be now.
    pub(super) fn next(&mut self, log: &Log) -> Option<Next> {
        let ordinal = *self.waiting.first()?;
        let empty = Vec::new();
        let ranges = log.get(ordinal).map_or(&empty, |change| &change.ranges);
        let in_the_way = |owners: &Owners| {
            let found = ranges.iter().find_map(|range| owners.within(*range).next());
            found.map(|(_, owner)| owner)
        };
        if self.in_flight.len() >= DEPTH || in_the_way(&self.busy).is_some() {
            return None;
        }
        self.waiting.remove(&ordinal);
        let older = in_the_way(&self.spoilt);
        if let Some(errno) = older.and_then(|older| self.failed.get(&older).copied()) {
            return Some(Next::Failed(ordinal, errno));
        }
        for range in ranges {
            self.busy.give(*range, ordinal);
        }
        self.in_flight.insert(ordinal);
        Some(Next::Start(ordinal))
    }

    /// A change is on the medium.
    pub(super) fn ended(&mut self, ordinal: u64) {
        self.in_flight.remove(&ordinal);
        self.busy.take_from(ordinal);
    }

    /// A change could not be written, and stays in the log.
    pub(super) fn failed(&mut self, ordinal: u64, change: &Change, errno: Errno) {
        self.leaving -= change.cost();
        for range in &change.ranges {
            self.spoilt.give(*range, ordinal);
        }
        self.failed.insert(ordinal, errno);
        self.last_error = Some(errno);
    }

    /// Why the medium refused a change, if it did.
    pub(super) fn refusal(&self, ordinal: u64) -> Option<Errno> {
        self.failed.get(&ordinal).copied()
    }

    /// The medium's last error for a change, if there was one.
    pub(super) fn saved_error(&self) -> Option<Errno> {
        self.last_error
    }

    /// Restores a change that was refused, the newest in the log so far.
    pub(super) fn restore_refused(&mut self, ordinal: u64, change: &Change, errno: Errno) {
        self.asked_for = ordinal + 1;
        for range in &change.ranges {
            self.spoilt.give(*range, ordinal);
        }
        self.failed.insert(ordinal, errno);
    }

    /// Restores the medium's last error for a change.
    pub(super) fn restore_error(&mut self, errno: Option<Errno>) {
        self.last_error = errno;
    }

    /// A written change has left the log.
    pub(super) fn has_left(&mut self, cost: u64) {
        self.leaving -= cost;
    }

    /// The log has been emptied, and nothing is in flight.
    pub(super) fn forget(&mut self, log: &Log) {
        *self = Self {
            asked_for: log.next(),
            ..Self::default()
        };
    }

    /// The oldest change that is requested or in flight.
    pub(super) fn oldest(&self) -> Option<u64> {
        let oldest = self
            .waiting
            .first()
            .into_iter()
            .chain(self.in_flight.first());
        oldest.min().copied()
    }

    /// The medium's last error for a change.
    pub(super) fn last_error(&self) -> Errno {
        self.last_error.unwrap_or(Errno::EIO)
    }
}
