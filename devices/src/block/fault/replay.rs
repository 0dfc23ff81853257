//! The replay of a fault log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::kinds::RecordedOperation;
use super::record::Record;
use crate::block::model::request::{Request, SECTOR_SIZE};

/// The decisions of a log for one disk's requests.
#[derive(Debug, Default)]
pub struct Replay {
    records: BTreeMap<(u64, u32), Vec<Record>>,
    /// The number of decisions not yet applied.
    undone: Arc<AtomicUsize>,
    /// A request that differs from the log's has been logged.
    has_diverged: bool,
}

impl Replay {
    /// A replay of the records of one disk, in the order of the log.
    pub fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut replay = Self::default();
        for record in records {
            let key = (record.ordinal, record.attempt);
            replay.records.entry(key).or_default().push(record);
            replay.undone.fetch_add(1, Ordering::Relaxed);
        }
        replay
    }

    /// The number of records not yet applied, which can be read while a disk has the replay.
    pub fn undone(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.undone)
    }

    /// The records not yet applied, in the order of the requests.
    pub(super) fn remaining(&self) -> Vec<Record> {
        self.records.values().flatten().cloned().collect()
    }

    /// Whether all records have been applied.
    pub(super) fn is_over(&self) -> bool {
        self.records.is_empty()
    }

    /// The decisions for a request; none if it differs from the log's.
    pub(super) fn take(&mut self, ordinal: u64, attempt: u32, request: &Request) -> Vec<Record> {
        let Some(records) = self.records.remove(&(ordinal, attempt)) else {
            return Vec::new();
        };
        let is_the_same = |record: &Record| {
            record.operation == RecordedOperation::of(&request.operation)
                && record.sector == request.sector()
                && record.sectors == request.length() / SECTOR_SIZE
                && record.decision.applies_to(record.operation)
        };
        let (same, other): (Vec<_>, Vec<_>) = records.into_iter().partition(is_the_same);
        if let Some(other) = other.first()
            && !std::mem::replace(&mut self.has_diverged, true)
        {
            tracing::warn!(
                "disk '{}': request {ordinal} is not the one of the fault log, which is not repeated there: \
                 it was a {:?} of {} sectors at {}, and is a {:?} of {} at {}",
                other.device,
                other.operation,
                other.sectors,
                other.sector,
                RecordedOperation::of(&request.operation),
                request.length() / SECTOR_SIZE,
                request.sector(),
            );
        }
        self.undone.fetch_sub(same.len(), Ordering::Relaxed);
        same
    }
}
