//! A disk as plain data.

use serde::{Deserialize, Serialize};

use super::Worker;
use crate::life_cycle::{RestoreError, SaveError, State};
use crate::virtio::block::queues::Queues;
use crate::virtio::block::space::SpaceState;

/// Most requests that a disk has taken since it was made: no run of any length has more.
const MOST_REQUESTS: u64 = 1 << 62;

/// A disk that has no request of its driver's left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskState {
    space: SpaceState,
    /// Requests that it has taken since it was made: the next one's ordinal, from 0.
    requests: u64,
    /// The size has changed since the last reset, and no driver was there to be told.
    resized_unseen: bool,
}

impl Worker {
    /// The disk's state, if it is asleep and its driver waits for nothing.
    pub(in crate::virtio::block) fn save(&self) -> Result<State, SaveError> {
        let is_awaited = self.active.as_ref().is_some_and(Queues::is_awaited);
        if self.running || !self.in_flight.is_empty() || is_awaited {
            return Err(SaveError::Busy);
        }
        State::of(&DiskState {
            space: self.parts.space.save(),
            requests: self.next_token,
            resized_unseen: self.resized_unseen,
        })
    }

    /// Takes a state that was saved.
    pub(in crate::virtio::block) fn restore(
        &mut self,
        state: DiskState,
    ) -> Result<(), RestoreError> {
        let DiskState {
            space,
            requests,
            resized_unseen,
        } = state;
        if self.running || !self.in_flight.is_empty() {
            return Err(RestoreError::Busy);
        }
        if requests > MOST_REQUESTS {
            return Err(RestoreError::OutOfRange {
                member: "requests",
                value: requests,
            });
        }
        self.parts.space.restore(space)?;
        self.active = None;
        self.forget();
        self.next_token = requests;
        self.resized_unseen = resized_unseen;
        Ok(())
    }
}
