//! Which changes are to be written back, which of them may be now, and which could not be.

use std::collections::{BTreeMap, BTreeSet};

use super::log::{Change, Log};
use super::owners::Owners;
use crate::block::model::errno::Errno;

/// Changes that are with the medium at the same time.
const DEPTH: usize = 64;

/// What becomes of the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It goes to the medium.
    Start(u64),
    /// It cannot: an older one in the same place could not be written.
    Failed(u64, Errno),
}

/// Writing back. Changes begin in their order, and one that overlaps another that is with the
/// medium waits for it, as do all behind it.
#[derive(Debug, Default)]
pub(super) struct WriteBack {
    /// Everything older has been asked for at some time.
    asked_for: u64,
    /// Not begun yet.
    waiting: BTreeSet<u64>,
    in_flight: BTreeSet<u64>,
    /// Where those are that are in flight.
    busy: Owners,
    /// What the medium refused, until it is asked again.
    failed: BTreeMap<u64, Errno>,
    /// Where those are.
    spoilt: Owners,
    /// Why it was refused the last time.
    last_error: Option<Errno>,
    /// What those cost that will leave the log if nothing fails.
    leaving: u64,
}

impl WriteBack {
    /// Asks for all changes that there are, also for those that were refused.
    pub(super) fn ask_for_all(&mut self, log: &Log) {
        self.ask_again(log);
        while self.ask_for_oldest(log) {}
    }

    /// Asks once more for what was refused.
    pub(super) fn ask_again(&mut self, log: &Log) {
        self.spoilt = Owners::default();
        for (ordinal, _) in std::mem::take(&mut self.failed) {
            self.leaving += log.cost_at(ordinal);
            self.waiting.insert(ordinal);
        }
    }

    /// Asks for the oldest change that was not asked for; nothing if there is none.
    pub(super) fn ask_for_oldest(&mut self, log: &Log) -> bool {
        let Some(oldest) = log.first_from(self.asked_for) else {
            return false;
        };
        self.asked_for = oldest + 1;
        self.leaving += log.cost_at(oldest);
        self.waiting.insert(oldest);
        true
    }

    /// What the changes cost that stay in the log.
    pub(super) fn staying(&self, log: &Log) -> u64 {
        log.cost() - self.leaving
    }

    /// Takes the next change that is to be written back, if it may be now.
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

    /// The medium is done with a change.
    pub(super) fn ended(&mut self, ordinal: u64) {
        self.in_flight.remove(&ordinal);
        self.busy.take_from(ordinal);
    }

    /// A change could not be written: it stays where it is.
    pub(super) fn failed(&mut self, ordinal: u64, change: &Change, errno: Errno) {
        self.leaving -= change.cost();
        for range in &change.ranges {
            self.spoilt.give(*range, ordinal);
        }
        self.failed.insert(ordinal, errno);
        self.last_error = Some(errno);
    }

    /// A change that was written is gone from the log.
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

    /// The oldest change that is still to be tried or being tried.
    pub(super) fn oldest(&self) -> Option<u64> {
        let oldest = self
            .waiting
            .first()
            .into_iter()
            .chain(self.in_flight.first());
        oldest.min().copied()
    }

    /// Why the medium refused a change, the last time that it did.
    pub(super) fn last_error(&self) -> Errno {
        self.last_error.unwrap_or(Errno::EIO)
    }
}
