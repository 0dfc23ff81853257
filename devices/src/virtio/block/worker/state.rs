//! A disk as plain data.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Worker;
use super::requests::Pending;
use crate::block::fault::judgement::Fate;
use crate::block::fault::record::Record;
use crate::block::fault::state::{FaultState, FaultStateError};
use crate::block::model::cache_state::CacheState;
use crate::block::model::request::{Request, Token};
use crate::block::policy::error_policy::IoStatusState;
use crate::block::policy::statistics::StatisticsState;
use crate::block::throttle::group::GroupState;
use crate::life_cycle::{RestoreError, SaveError};
use crate::virtio::block::request::Answer;
use crate::virtio::block::space::SpaceState;
use crate::virtio::queue::QueueError;
use crate::virtio::queue_state::QueueStates;
use crate::virtio::queues::Queues;

/// The format of a disk's state. It increases whenever an older program would read it differently.
pub(in crate::virtio::block) const VERSION: u32 = 1;

/// A disk with nothing in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskState {
    version: u32,
    pub(super) space: SpaceState,
    /// Requests taken since its creation: the next one's ordinal, from 0.
    pub(super) requests: u64,
    /// The size has changed since the last reset, without a driver to notify.
    resized_unseen: bool,
    io_status: IoStatusState,
    statistics: StatisticsState,
    /// Offset in bytes; 0 for none.
    write_threshold: u64,
    /// Its rules with their counts, and what is left of a replay.
    faults: FaultState,
    /// Its throttle group, which others may share.
    pub(in crate::virtio::block) group: Option<GroupState>,
    /// What its volatile cache holds, if it has one.
    pub(super) cache: Option<CacheState>,
    /// The requests that the driver waits for, in order of arrival for each reason.
    pub(super) waiting: Vec<WaitingRequest>,
}

/// An unanswered request that is not in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitingRequest {
    /// Its ordinal on its disk, from 0.
    pub ordinal: u64,
    pub request: Request,
    pub answer: Answer,
    attempt: u32,
    is_judged: bool,
    pub reason: Reason,
}

/// Why it is not in flight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Reason {
    /// It is held until the machine is continued, or waits for the disk's limits.
    Held,
    /// A fault delays it.
    Delayed {
        /// The decision applied at its due time.
        fate: Fate,
        /// The rest of the delay.
        nanoseconds: u64,
    },
    /// A fault makes it hang.
    Hanging(Record),
    /// A power cut interrupted it.
    CutOff,
}

impl WaitingRequest {
    fn new(token: Token, pending: &Pending, reason: Reason) -> Self {
        Self {
            ordinal: token.0,
            request: pending.request.clone(),
            answer: pending.answer,
            attempt: pending.attempt,
            is_judged: pending.is_judged,
            reason,
        }
    }
}

impl Worker {
    /// The disk's state, if it is asleep.
    pub(in crate::virtio::block) fn save(&mut self) -> Result<Box<DiskState>, SaveError> {
        let is_busy = !self.in_flight.is_empty() || self.is_resizing();
        if self.running || is_busy || self.faults.power.is_failing() {
            return Err(SaveError::Busy);
        }
        Ok(Box::new(DiskState {
            version: VERSION,
            space: self.parts.space.save(),
            requests: self.next_token,
            resized_unseen: self.resized_unseen,
            io_status: self.parts.io_status.save(),
            statistics: self.parts.statistics.save(),
            write_threshold: self.parts.write_threshold.get(),
            faults: self.faults.engine.save(),
            group: None,
            cache: self.parts.backend.save_cache(),
            waiting: self.waiting(),
        }))
    }

    fn waiting(&self) -> Vec<WaitingRequest> {
        let now = Instant::now();
        let new = |token: &Token, pending, reason| WaitingRequest::new(*token, pending, reason);
        let limited = self.limiter.iter().map(|(token, pending)| (token, pending));
        let held = self.held.iter().chain(limited);
        let held = held.map(|(token, pending)| new(token, pending, Reason::Held));
        let delayed = self.faults.parked.delayed();
        let delayed = delayed.map(|(token, pending, fate, due)| {
            let left = due.saturating_duration_since(now).as_nanos();
            let reason = Reason::Delayed {
                fate: fate.clone(),
                nanoseconds: u64::try_from(left).unwrap_or(u64::MAX),
            };
            new(&token, pending, reason)
        });
        let hanging = self.faults.parked.hanging();
        let hanging = hanging
            .map(|(token, pending, record)| new(&token, pending, Reason::Hanging(record.clone())));
        let cut_off = self.faults.power.waiting_cut_off();
        let cut_off = cut_off.map(|(token, pending)| new(token, pending, Reason::CutOff));
        held.chain(delayed).chain(hanging).chain(cut_off).collect()
    }

    /// Restores a saved state, which is untrusted; `queues` are the states of the queues that are
    /// activated next.
    pub(in crate::virtio::block) fn restore(
        &mut self,
        state: DiskState,
        queues: &QueueStates,
    ) -> Result<(), RestoreError> {
        if self.running || !self.in_flight.is_empty() || self.is_resizing() {
            return Err(RestoreError::Busy);
        }
        self.check(&state, queues)?;
        let DiskState {
            version: _,
            space,
            requests,
            resized_unseen,
            io_status,
            statistics,
            write_threshold,
            faults,
            group: _,
            cache,
            waiting,
        } = state;
        let invalid = |source: FaultStateError| RestoreError::Invalid {
            member: "faults",
            source: source.into(),
        };
        let faults = self.faults.engine.check(faults).map_err(invalid)?;
        // The last step that can fail.
        self.parts.backend.restore_cache(cache.as_ref())?;
        self.parts.space.restore(space);
        self.active = None;
        self.forget();
        self.next_token = requests;
        self.resized_unseen = resized_unseen;
        self.parts.io_status.restore(io_status);
        self.parts.statistics.restore(&statistics);
        self.parts.write_threshold.set(write_threshold);
        self.faults.engine.restore(faults);
        for waiting in waiting {
            self.restore_waiting(waiting);
        }
        Ok(())
    }

    fn is_resizing(&self) -> bool {
        !self.resizes.is_empty() || !self.preparing.is_empty()
    }

    fn restore_waiting(&mut self, waiting: WaitingRequest) {
        let WaitingRequest {
            ordinal,
            request,
            answer,
            attempt,
            is_judged,
            reason,
        } = waiting;
        let token = Token(ordinal);
        let now = Instant::now();
        let pending = Pending {
            request,
            submitted: now,
            answer,
            attempt,
            is_judged,
        };
        match reason {
            Reason::Held => drop(self.held.insert(token, pending)),
            Reason::Delayed { fate, nanoseconds } => {
                let until = now.checked_add(Duration::from_nanos(nanoseconds));
                let until = until.unwrap_or(now);
                self.faults.parked.delay(until, token, pending, fate);
            }
            Reason::Hanging(record) => self.faults.hang(token, pending, record),
            Reason::CutOff => self.faults.power.cut_off(token, pending),
        }
    }

    /// Admits the unanswered requests of a restored disk to queues that were just activated.
    pub(super) fn admit_waiting(&self, queues: &mut Queues) -> Result<(), QueueError> {
        for waiting in self.waiting() {
            queues.admit(waiting.answer.queue)?;
        }
        Ok(())
    }
}
