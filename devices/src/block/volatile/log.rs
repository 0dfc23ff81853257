//! The changes that are not on the medium, in the order of completion.

use std::collections::BTreeMap;

use super::owners::Owners;
use crate::block::model::backend::HostRequest;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Zeroing};

/// The cost of a change beside its data in bytes: its entries in the log, in the index and in the write-back state,
/// rounded up.
const CHANGE_COST: u64 = 512;

/// The cost of each of its ranges beside that.
const RANGE_COST: u64 = 256;

/// A write, a write-zeroes, or a discard.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Its ranges; one for a write. Their ends are valid file offsets.
    pub ranges: Vec<Range>,
    pub content: Content,
}

/// The new content.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// These bytes, copied.
    Data(IoBuffers),
    Zeroes(Zeroing),
    /// Unspecified. Until the medium discards the range, the previous content.
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

    /// The memory in bytes of a change with this much data and this many ranges.
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

    /// The request that writes it to the medium.
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

/// The changes, and the newest change of each byte of the disk.
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

    /// Removes a change that is on the medium, and returns its cost.
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

    /// The changes in order, each with its ordinal.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &Change)> {
        self.changes
            .iter()
            .map(|(ordinal, change)| (*ordinal, change))
    }

    pub(super) fn get(&self, ordinal: u64) -> Option<&Change> {
        self.changes.get(&ordinal)
    }

    pub(super) fn cost_at(&self, ordinal: u64) -> u64 {
        self.get(ordinal).map_or(0, Change::cost)
    }

    /// The oldest change with this ordinal or a later one.
    pub(super) fn first_from(&self, ordinal: u64) -> Option<u64> {
        self.changes
            .range(ordinal..)
            .next()
            .map(|(found, _)| *found)
    }

    /// The ordinal of the next change.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The cost of all changes.
    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Bytes of a range whose newest content is a change's.
    pub(super) fn covered(&self, range: Range) -> u64 {
        let parts = self.newest.within(range);
        parts.map(|(part, _)| part.length).sum()
    }

    /// Overlays what the log has of a range onto these buffers, which have the range's length.
    pub(super) fn read(&self, range: Range, buffers: &IoBuffers) {
        // At most the buffers' length, which fits in memory.
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

/// The change that a request makes; `None` for a read or a flush. Guest data are copied.
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

/// The memory of a request's change.
pub(super) fn cost_of(request: &HostRequest) -> u64 {
    match &request.operation {
        Operation::Read { .. } | Operation::Flush => 0,
        Operation::Write { .. } => Change::cost_of(request.buffers.length(), 1),
        Operation::WriteZeroes { ranges, .. } | Operation::Discard { ranges } => {
            Change::cost_of(0, ranges.len())
        }
    }
}
