//! The schedule of a throttle group.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bucket::{Bucket, Fill, UNIT};
use super::limits::{Limits, Measure};
use super::{Both, Direction};

/// Identifies a disk in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MemberId(pub(super) u64);

/// Whether a request is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// At once. It has been counted.
    Now,
    /// Not before then: ask again at that time.
    At(Instant),
    /// After other disks' requests: ask again when woken.
    WhenWoken,
}

/// The buckets of a group, and the disks that wait for admission.
#[derive(Debug)]
pub(super) struct Schedule {
    limits: Limits,
    buckets: [Bucket; 6],
    leaked: Instant,
    gates: Both<Gate>,
}

/// A schedule as plain data, without the waiting disks: a paused disk has withdrawn, and asks again
/// when it resumes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleState {
    limits: Limits,
    /// In the order of [`Measure::ALL`].
    buckets: [Fill; 6],
}

/// The line of one direction.
#[derive(Debug, Default)]
struct Gate {
    /// The disks with a waiting request. The first is admitted next.
    line: VecDeque<MemberId>,
    /// When it is admitted. As in QEMU, requests of the other direction do not postpone it.
    due: Option<Instant>,
}

impl ScheduleState {
    /// Whether its levels are possible.
    pub(super) fn is_possible(&self) -> bool {
        let limits = Measure::ALL.map(|measure| self.limits.of(measure));
        let mut buckets = limits.into_iter().zip(self.buckets);
        buckets.all(|(limit, fill)| fill.is_possible(limit))
    }
}

impl Schedule {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            buckets: Measure::ALL.map(|measure| Bucket::new(limits.of(measure))),
            leaked: now,
            gates: Both::default(),
        }
    }

    /// The limits, and their current levels.
    pub(super) fn save(&mut self, now: Instant) -> ScheduleState {
        self.leak(now);
        ScheduleState {
            limits: self.limits,
            buckets: self.buckets.map(|bucket| bucket.save()),
        }
    }

    /// Restores a saved schedule, as if no time had passed.
    pub(super) fn restore(&mut self, state: &ScheduleState, now: Instant) {
        self.set_limits(state.limits, now);
        for ((measure, bucket), fill) in Measure::ALL
            .into_iter()
            .zip(&mut self.buckets)
            .zip(state.buckets)
        {
            *bucket = Bucket::restored(state.limits.of(measure), fill);
        }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// Replaces the limits and empties the buckets. Waiting disks keep waiting, and ask again.
    pub(super) fn set_limits(&mut self, limits: Limits, now: Instant) {
        let gates = std::mem::take(&mut self.gates);
        *self = Self::new(limits, now);
        for direction in Direction::ALL {
            self.gates.of_mut(direction).line = gates.of(direction).line.clone();
        }
    }

    /// Asks to admit a disk's next request. Also returns the disk to wake, whose turn it is.
    pub(super) fn admit(
        &mut self,
        member: MemberId,
        direction: Direction,
        bytes: u64,
        now: Instant,
    ) -> (Admission, Option<MemberId>) {
        self.leak(now);
        let wait = self.wait(direction);
        let gate = self.gates.of_mut(direction);
        if !gate.line.contains(&member) {
            gate.line.push_back(member);
        }
        if gate.line.front() != Some(&member) {
            return (Admission::WhenWoken, None);
        }
        let due = *gate.due.get_or_insert(now + wait);
        if now < due {
            return (Admission::At(due), None);
        }
        let next = self.withdraw(member, direction);
        self.count(direction, bytes);
        (Admission::Now, next)
    }

    /// Removes a disk from the line. Returns the disk to wake, whose turn it is.
    pub(super) fn withdraw(&mut self, member: MemberId, direction: Direction) -> Option<MemberId> {
        let gate = self.gates.of_mut(direction);
        let was_first = gate.line.front() == Some(&member);
        gate.line.retain(|waiting| *waiting != member);
        if !was_first {
            return None;
        }
        gate.due = None;
        gate.line.front().copied()
    }

    fn leak(&mut self, now: Instant) {
        // Another thread may have read its clock later and taken the lock earlier.
        let elapsed = now.saturating_duration_since(self.leaked);
        if !elapsed.is_zero() {
            self.leaked = now;
            self.buckets
                .iter_mut()
                .for_each(|bucket| bucket.leak(elapsed));
        }
    }

    fn wait(&self, direction: Direction) -> Duration {
        Measure::ALL
            .into_iter()
            .zip(&self.buckets)
            .filter(|(measure, _)| measure.counts(direction))
            .map(|(_, bucket)| bucket.wait())
            .max()
            .unwrap_or_default()
    }

    fn count(&mut self, direction: Direction, bytes: u64) {
        let bytes = u128::from(bytes);
        let size = u128::from(self.limits.iops_size());
        let requests = if size > 0 && bytes > size {
            bytes * UNIT / size
        } else {
            UNIT
        };
        for (measure, bucket) in Measure::ALL.into_iter().zip(&mut self.buckets) {
            if measure.counts(direction) {
                let bytes = bytes * UNIT;
                bucket.fill(if measure.is_bytes() { bytes } else { requests });
            }
        }
    }
}
