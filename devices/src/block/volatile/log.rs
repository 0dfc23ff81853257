//! What has been written and is not on the medium, in the order in which it was completed.

use std::collections::BTreeMap;

use super::owners::Owners;
use crate::block::model::backend::HostRequest;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};

/// What a change costs beside its data, in bytes: its places in the log, in the index and among what
/// is written back, generously.
const CHANGE_COST: u64 = 512;

/// What each of its ranges costs beside that.
const RANGE_COST: u64 = 256;

/// A write, a request for zeroes, or a discard.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Where; one for a write. Ends are places that files can have.
    pub ranges: Vec<Range>,
    pub content: Content,
}

/// What there is then.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// These bytes, in memory of our own.
    Data(IoBuffers),
    Zeroes(Zeroing),
    /// Anything. Until the medium hears of it, what was there before.
    Discarded,
}

impl Change {
    pub(super) fn write(offset: u64, data: IoBuffers) -> Self {
        let length = data.length();
        Self {
            ranges: vec![Range { offset, length }],
            content: Content::Data(data),
        }
    }

    /// The memory that a change takes, in bytes, that has so many of data and so many ranges.
    pub(super) fn cost_of(data: u64, ranges: usize) -> u64 {
        (data.next_multiple_of(512))
            .saturating_add(CHANGE_COST)
            .saturating_add(RANGE_COST.saturating_mul(ranges as u64))
    }

    /// The memory that it takes, in bytes.
    pub(super) fn cost(&self) -> u64 {
        let data = match &self.content {
            Content::Data(data) => data.length(),
            _ => 0,
        };
        Self::cost_of(data, self.ranges.len())
    }

    /// What puts it on the medium.
    pub(super) fn request(&self) -> HostRequest {
        let ranges = || self.ranges.clone();
        let operation = match &self.content {
            Content::Data(_) => Operation::Write {
                offset: self.ranges.first().map_or(0, |range| range.offset),
                durability: Durability::Cached,
            },
            Content::Zeroes(zeroing) => Operation::WriteZeroes {
                ranges: ranges(),
                zeroing: *zeroing,
                durability: Durability::Cached,
            },
            Content::Discarded => Operation::Discard { ranges: ranges() },
        };
        let buffers = match &self.content {
            Content::Data(data) => data.clone(),
            _ => IoBuffers::none(),
        };
        HostRequest { operation, buffers }
    }
}

/// The changes, and which of them each byte of the disk was changed by last.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// By their ordinal since the disk began.
    changes: BTreeMap<u64, Change>,
    next: u64,
    cost: u64,
    newest: Owners,
}

impl Log {
    /// Adds the newest change, and returns its ordinal.
    pub(super) fn append(&mut self, change: Change) -> u64 {
        let ordinal = self.next;
        self.next += 1;
        if !matches!(change.content, Content::Discarded) {
            for range in &change.ranges {
                self.newest.give(*range, ordinal);
            }
        }
        self.cost += change.cost();
        self.changes.insert(ordinal, change);
        ordinal
    }

    /// Removes what is on the medium, and returns what it cost.
    pub(super) fn remove(&mut self, ordinal: u64) -> u64 {
        self.newest.take_from(ordinal);
        let cost = self
            .changes
            .remove(&ordinal)
            .map_or(0, |change| change.cost());
        self.cost -= cost;
        cost
    }

    /// Removes all.
    pub(super) fn take(&mut self) -> Vec<Change> {
        self.newest = Owners::default();
        self.cost = 0;
        std::mem::take(&mut self.changes).into_values().collect()
    }

    pub(super) fn get(&self, ordinal: u64) -> Option<&Change> {
        self.changes.get(&ordinal)
    }

    pub(super) fn cost_at(&self, ordinal: u64) -> u64 {
        self.get(ordinal).map_or(0, Change::cost)
    }

    /// The oldest change that is not older than this.
    pub(super) fn first_from(&self, ordinal: u64) -> Option<u64> {
        self.changes
            .range(ordinal..)
            .next()
            .map(|(found, _)| *found)
    }

    /// The ordinal that the next change gets.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// What all of it costs.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of a range that are as a change has them.
    pub(super) fn covered(&self, range: Range) -> u64 {
        let parts = self.newest.within(range);
        parts.map(|(part, _)| part.length).sum()
    }

    /// Puts what there is of a range over what is in these buffers, which are as long.
    pub(super) fn read(&self, range: Range, buffers: &IoBuffers) {
        // No more than the buffers' length, which is memory.
        let size = |length: u64| usize::try_from(length).unwrap_or(usize::MAX);
        let mut at = range.offset;
        let mut rest = buffers.clone();
        for (part, owner) in self.newest.within(range) {
            rest = rest.after(size(part.offset - at));
            at = part.offset;
            let Some(change) = self.get(owner) else {
                continue;
            };
            match (&change.content, change.ranges.first()) {
                (Content::Data(data), Some(whole)) => data
                    .after(size(part.offset - whole.offset))
                    .copy_to(&rest, size(part.length)),
                _ => rest.first(part.length).fill_with_zeroes(),
            }
        }
    }
}

/// What a request changes, or nothing when it only reads or flushes. The guest's data is copied.
pub(super) fn change_of(request: &HostRequest) -> Option<Change> {
    match &request.operation {
        Operation::Read { .. } | Operation::Flush => None,
        Operation::Write { offset, .. } => Some(Change::write(*offset, request.buffers.copy())),
        Operation::WriteZeroes {
            ranges, zeroing, ..
        } => Some(Change {
            ranges: ranges.clone(),
            content: Content::Zeroes(*zeroing),
        }),
        Operation::Discard { ranges } => Some(Change {
            ranges: ranges.clone(),
            content: Content::Discarded,
        }),
    }
}

/// The memory that a request's change takes.
pub(super) fn cost_of(request: &HostRequest) -> u64 {
    match &request.operation {
        Operation::Read { .. } | Operation::Flush => 0,
        Operation::Write { .. } => Change::cost_of(request.buffers.length(), 1),
        Operation::WriteZeroes { ranges, .. } | Operation::Discard { ranges } => {
            Change::cost_of(0, ranges.len())
        }
    }
}
