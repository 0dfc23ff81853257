//! A cache as plain data.

use super::VolatileCache;
use super::log::{Change, Content};
use crate::block::model::cache_state::{Bytes, CacheState, ChangeState, ContentState};
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Range, SECTOR_SIZE};
use crate::life_cycle::RestoreError;

/// How much more than its capacity a cache can hold. A power cut whose remains the medium refuses leaves writes in
/// pieces of at least a sector: each costs 1,280 bytes, and no change costs less for a sector of data than 512.
const MOST_OVER_CAPACITY: u64 = 3;

impl VolatileCache {
    /// The log, once the medium has nothing in flight: what it still holds was either never requested to be written
    /// back, or was refused.
    pub(super) fn saved(&mut self) -> CacheState {
        self.settle();
        let change = |(ordinal, change): (u64, &Change)| ChangeState {
            ranges: change.ranges.clone(),
            content: match &change.content {
                Content::Data(data) => ContentState::Data(Bytes(bytes_of(data))),
                Content::Zeroes(zeroing) => ContentState::Zeroes(*zeroing),
                Content::Discarded => ContentState::Discarded,
            },
            refused: self.write_back.refusal(ordinal),
        };
        CacheState {
            changes: self.log.iter().map(change).collect(),
            last_error: self.write_back.saved_error(),
        }
    }

    /// Replaces the log.
    pub(super) fn restore(&mut self, state: &CacheState) -> Result<(), RestoreError> {
        self.check(state)?;
        self.settle();
        self.log.take();
        self.write_back.forget(&self.log);
        for ChangeState {
            ranges,
            content,
            refused,
        } in &state.changes
        {
            let content = match content {
                ContentState::Data(bytes) => Content::Data(buffers_of(bytes)),
                ContentState::Zeroes(zeroing) => Content::Zeroes(*zeroing),
                ContentState::Discarded => Content::Discarded,
            };
            let ranges = ranges.clone();
            let change = Change { ranges, content };
            let ordinal = self.log.append(change.clone());
            if let Some(errno) = refused {
                self.write_back.restore_refused(ordinal, &change, *errno);
            }
        }
        self.write_back.restore_error(state.last_error);
        Ok(())
    }

    /// Refuses changes that no request can have made, or that are more than it can hold.
    fn check(&self, state: &CacheState) -> Result<(), RestoreError> {
        let out_of_range = |member, value| Err(RestoreError::OutOfRange { member, value });
        let capabilities = self.medium.capabilities();
        let mut cost = 0u64;
        let mut was_refused = true;
        for ChangeState {
            ranges,
            content,
            refused,
        } in &state.changes
        {
            for range in ranges {
                self.check_range(*range)?;
            }
            let (data, is_possible) = match content {
                ContentState::Data(Bytes(bytes)) => {
                    let [range] = ranges[..] else {
                        return out_of_range("ranges", ranges.len() as u64);
                    };
                    if range.length != bytes.len() as u64 {
                        return out_of_range("length", range.length);
                    }
                    (range.length, true)
                }
                ContentState::Zeroes(_) => (0, capabilities.write_zeroes.is_some()),
                ContentState::Discarded => (0, capabilities.discard.is_some()),
            };
            if !is_possible {
                return Err(RestoreError::Mismatch {
                    what: "an operation that changes ranges",
                    saved: "on".to_owned(),
                    own: "off".to_owned(),
                });
            }
            if ranges.is_empty() {
                return out_of_range("ranges", 0);
            }
            // Changes are requested to be written back, and refused, from the oldest on.
            if let (Some(errno), false) = (refused, was_refused) {
                return out_of_range("refused", errno.0.unsigned_abs().into());
            }
            was_refused = refused.is_some();
            cost = cost.saturating_add(Change::cost_of(data, ranges.len()));
        }
        if cost > self.capacity.saturating_mul(MOST_OVER_CAPACITY) {
            return out_of_range("changes", cost);
        }
        Ok(())
    }

    fn check_range(&self, range: Range) -> Result<(), RestoreError> {
        let Range { offset, length } = range;
        let out_of_range = |member, value| Err(RestoreError::OutOfRange { member, value });
        if !offset.is_multiple_of(SECTOR_SIZE) || range.end() > self.medium.length() {
            return out_of_range("offset", offset);
        }
        if length == 0 || !length.is_multiple_of(SECTOR_SIZE) {
            return out_of_range("length", length);
        }
        Ok(())
    }
}

fn bytes_of(data: &IoBuffers) -> Vec<u8> {
    // It was copied to host memory.
    let mut bytes = vec![0; usize::try_from(data.length()).unwrap_or_default()];
    data.copy_into(&mut bytes);
    bytes
}

fn buffers_of(bytes: &Bytes) -> IoBuffers {
    let buffers = IoBuffers::own(bytes.0.len());
    buffers.copy_from(&bytes.0);
    buffers
}
