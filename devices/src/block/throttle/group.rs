//! Disks that share their limits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use vmm_sys_util::eventfd::EventFd;

use super::Direction;
use super::limits::Limits;
use super::schedule::{Admission, MemberId, Schedule, ScheduleState};
use crate::life_cycle::RestoreError;
use crate::sync::lock;

/// Named limits, and the disks that share them.
#[derive(Debug)]
pub struct Group {
    name: String,
    shared: Mutex<Shared>,
}

/// A group as plain data. Its disks join it again on restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupState {
    /// Its name.
    pub name: String,
    schedule: ScheduleState,
}

impl GroupState {
    /// Refuses levels that no group can have: the file is untrusted.
    ///
    /// # Errors
    ///
    /// [`RestoreError::OutOfRange`].
    pub fn check(&self) -> Result<(), RestoreError> {
        match self.schedule.is_possible() {
            true => Ok(()),
            false => Err(RestoreError::OutOfRange {
                member: "level",
                value: u64::MAX,
            }),
        }
    }
}

#[derive(Debug)]
struct Shared {
    schedule: Schedule,
    /// The disks, each with the eventfd that wakes its thread.
    members: BTreeMap<MemberId, Arc<EventFd>>,
    next: u64,
}

impl Shared {
    fn wake(&self, member: Option<MemberId>) {
        if let Some(wake) = member.and_then(|member| self.members.get(&member)) {
            let _ = wake.write(1);
        }
    }
}

impl Group {
    /// A group without disks.
    pub fn new(name: String, limits: Limits, now: Instant) -> Self {
        Self {
            name,
            shared: Mutex::new(Shared {
                schedule: Schedule::new(limits, now),
                members: BTreeMap::new(),
                next: 0,
            }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The limits that its disks share.
    pub fn limits(&self) -> Limits {
        self.shared().schedule.limits()
    }

    /// Changes the limits of all its disks. Queued requests are checked again, with the new limits
    /// and empty buckets.
    pub fn set_limits(&self, limits: Limits, now: Instant) {
        let mut shared = self.shared();
        shared.schedule.set_limits(limits, now);
        for member in shared.members.keys() {
            shared.wake(Some(*member));
        }
    }

    /// Its limits, and their current levels.
    pub fn save(&self, now: Instant) -> GroupState {
        GroupState {
            name: self.name.clone(),
            schedule: self.shared().schedule.save(now),
        }
    }

    /// A saved group, without disks, as if no time had passed.
    pub fn restored(state: &GroupState, now: Instant) -> Self {
        let group = Self::new(state.name.clone(), Limits::default(), now);
        group.restore(state, now);
        group
    }

    /// Restores the limits and levels of a saved group, as if no time had passed. Its disks ask
    /// again.
    pub fn restore(&self, state: &GroupState, now: Instant) {
        let mut shared = self.shared();
        shared.schedule.restore(&state.schedule, now);
        for member in shared.members.keys() {
            shared.wake(Some(*member));
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// A disk's place in a group, until it is dropped.
#[derive(Debug)]
pub struct Member {
    group: Arc<Group>,
    id: MemberId,
}

impl Member {
    /// Joins a group. `wake` is written to when the disk should ask again.
    pub fn join(group: Arc<Group>, wake: Arc<EventFd>) -> Self {
        let mut shared = group.shared();
        let id = MemberId(shared.next);
        shared.next += 1;
        shared.members.insert(id, wake);
        drop(shared);
        Self { group, id }
    }

    /// Asks to admit the disk's next request of a direction, with its length in bytes. An admitted
    /// request is counted; otherwise the disk waits in line.
    pub fn admit(&self, direction: Direction, bytes: u64, now: Instant) -> Admission {
        let mut shared = self.group.shared();
        let (admission, next) = shared.schedule.admit(self.id, direction, bytes, now);
        shared.wake(next);
        admission
    }

    /// Gives up the disk's place in line.
    pub fn withdraw(&self, direction: Direction) {
        let mut shared = self.group.shared();
        let next = shared.schedule.withdraw(self.id, direction);
        shared.wake(next);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        for direction in Direction::ALL {
            self.withdraw(direction);
        }
        self.group.shared().members.remove(&self.id);
    }
}
