//! Checks of a saved disk, which is untrusted.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Worker;
use super::state::{DiskState, Reason, WaitingRequest};
use crate::block::fault::draw::MAX_DELAY;
use crate::block::fault::judgement::Fate;
use crate::block::fault::record::Record;
use crate::block::fault::rule::MAX_RULES;
use crate::block::fault::state::FaultStateError;
use crate::block::model::access::Access;
use crate::block::model::request::{MOST_REQUESTS, Operation, Range, Request, SECTOR_SIZE};
use crate::life_cycle::RestoreError;
use crate::virtio::block::ranges::MAX_RANGES;
use crate::virtio::block::request::{Answer, MAX_LENGTH};
use crate::virtio::queue_state::QueueStates;

fn out_of_range<T>(member: &'static str, value: u64) -> Result<T, RestoreError> {
    Err(RestoreError::OutOfRange { member, value })
}

impl Worker {
    /// Refuses what no disk of this configuration can have, with queues in these states.
    pub(super) fn check(
        &self,
        state: &DiskState,
        queues: &QueueStates,
    ) -> Result<(), RestoreError> {
        if state.requests > MOST_REQUESTS {
            return out_of_range("requests", state.requests);
        }
        self.parts.space.check(state.space)?;
        let changes = state.cache.as_ref().map_or(0, |cache| cache.changes.len());
        if changes > 0 {
            self.check_writable()?;
        }
        let (mut ordinals, mut heads) = (BTreeSet::new(), BTreeSet::new());
        for waiting in &state.waiting {
            let WaitingRequest {
                ordinal,
                request,
                answer,
                reason,
                ..
            } = waiting;
            if *ordinal >= state.requests {
                return out_of_range("ordinal", *ordinal);
            }
            if !ordinals.insert(*ordinal) {
                return duplicate("ordinal", *ordinal);
            }
            let size = self.check_answer(answer, queues)?;
            // A chain is at most as long as its queue.
            let segments = request.segments.len() as u64;
            if segments > size.into() {
                return out_of_range("segments", segments);
            }
            if !heads.insert((answer.queue, answer.head)) {
                return duplicate("head", answer.head.into());
            }
            let filled = match request.operation.is_read() {
                true => request.data_length(),
                false => 0,
            };
            if filled != u64::from(answer.data_length) {
                return out_of_range("data_length", answer.data_length.into());
            }
            self.check_operation(&request.operation)?;
            self.check_data(request)?;
            self.check_reason(*ordinal, request, reason)?;
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<(), RestoreError> {
        match self.parts.configuration.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(RestoreError::Mismatch {
                what: "writes",
                saved: "on".to_owned(),
                own: "off".to_owned(),
            }),
        }
    }

    /// Checks that the answer has a place in a queue that the driver uses, and in guest memory. Returns the queue's size.
    fn check_answer(&self, answer: &Answer, queues: &QueueStates) -> Result<u32, RestoreError> {
        let Some(Some(queue)) = queues.get(answer.queue) else {
            return out_of_range("queue", answer.queue as u64);
        };
        let size = queue.configuration.size;
        if u32::from(answer.head) >= size {
            return out_of_range("head", answer.head.into());
        }
        if !answer.is_in(&self.parts.memory) {
            return out_of_range("status", answer.status.0);
        }
        Ok(size)
    }

    /// Checks that a driver of this disk can request the operation.
    fn check_operation(&self, operation: &Operation) -> Result<(), RestoreError> {
        if !matches!(operation, Operation::Read { .. } | Operation::Flush) {
            self.check_writable()?;
        }
        let capabilities = self.parts.space.capabilities();
        let (ranges, is_offered, what) = match operation {
            Operation::Read { offset } | Operation::Write { offset, .. } => {
                return match offset.is_multiple_of(SECTOR_SIZE) {
                    true => Ok(()),
                    false => out_of_range("offset", *offset),
                };
            }
            Operation::Flush => return Ok(()),
            Operation::Discard { ranges } => (ranges, capabilities.discard.is_some(), "discard"),
            Operation::WriteZeroes { ranges, .. } => {
                let is_offered = capabilities.write_zeroes.is_some();
                (ranges, is_offered, "write-zeroes")
            }
        };
        if !is_offered {
            return Err(RestoreError::Mismatch {
                what,
                saved: "on".to_owned(),
                own: "off".to_owned(),
            });
        }
        let count = ranges.len() as u64;
        if !(1..=u64::from(MAX_RANGES)).contains(&count) {
            return out_of_range("ranges", count);
        }
        for Range { offset, length } in ranges {
            if !offset.is_multiple_of(SECTOR_SIZE) {
                return out_of_range("offset", *offset);
            }
            if !length.is_multiple_of(SECTOR_SIZE) {
                return out_of_range("length", *length);
            }
        }
        Ok(())
    }

    /// Checks the request's place on a disk, and its guest memory.
    fn check_data(&self, request: &Request) -> Result<(), RestoreError> {
        if i64::try_from(request.end()).is_err() {
            return out_of_range("offset", request.end());
        }
        let moves = matches!(
            request.operation,
            Operation::Read { .. } | Operation::Write { .. }
        );
        let bytes = request.data_length();
        let most = if moves { MAX_LENGTH } else { 0 };
        if bytes > most || !bytes.is_multiple_of(SECTOR_SIZE) {
            return out_of_range("length", bytes);
        }
        let mut segments = request.segments.iter();
        match segments.find(|segment| segment.length == 0 || !segment.is_in(&self.parts.memory)) {
            Some(segment) => out_of_range("address", segment.address.0),
            None => Ok(()),
        }
    }

    fn check_reason(
        &self,
        ordinal: u64,
        request: &Request,
        reason: &Reason,
    ) -> Result<(), RestoreError> {
        match reason {
            Reason::Held | Reason::CutOff => Ok(()),
            Reason::Hanging(record) => self.check_record(ordinal, record),
            Reason::Delayed { fate, nanoseconds } => {
                // Each rule may add its own delay.
                let most = MAX_DELAY.saturating_mul(u32::try_from(MAX_RULES).unwrap_or(u32::MAX));
                if Duration::from_nanos(*nanoseconds) > most {
                    return out_of_range("nanoseconds", *nanoseconds);
                }
                if !fate.applies_to(&request.operation) {
                    return out_of_range("fate", ordinal);
                }
                match fate {
                    Fate::Hang(record) => self.check_record(ordinal, record),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Checks that a record is of the request with this ordinal.
    fn check_record(&self, ordinal: u64, record: &Record) -> Result<(), RestoreError> {
        let invalid = |source: FaultStateError| RestoreError::Invalid {
            member: "record",
            source: source.into(),
        };
        self.faults.engine.check_record(record).map_err(invalid)?;
        // Records count from 1.
        match record.ordinal == ordinal.saturating_add(1) {
            true => Ok(()),
            false => out_of_range("record", record.ordinal),
        }
    }
}

fn duplicate(member: &'static str, value: u64) -> Result<(), RestoreError> {
    Err(RestoreError::Duplicate { member, value })
}
