//! A disk's throttled requests.

use std::collections::VecDeque;
use std::time::Instant;

use super::group::Member;
use super::schedule::Admission;
use super::{Both, Direction};

/// The throttled requests of one disk, in order of arrival for each direction.
#[derive(Debug)]
pub struct ThrottleQueue<T> {
    /// Without a group no request waits.
    member: Option<Member>,
    waiting: Both<VecDeque<Waiting<T>>>,
    /// When to ask again for the first of each direction.
    asked: Both<Option<Instant>>,
}

#[derive(Debug)]
struct Waiting<T> {
    bytes: u64,
    request: T,
}

impl<T> Default for ThrottleQueue<T> {
    fn default() -> Self {
        Self {
            member: None,
            waiting: Both {
                read: VecDeque::new(),
                write: VecDeque::new(),
            },
            asked: Both::default(),
        }
    }
}

impl<T> ThrottleQueue<T> {
    /// Moves the disk to another group, or to none. Call [`ThrottleQueue::pop`] afterwards.
    pub fn set_member(&mut self, member: Option<Member>) {
        self.suspend();
        self.member = member;
    }

    /// Queues a request, or returns it if it is admitted at once.
    pub fn push(
        &mut self,
        direction: Direction,
        bytes: u64,
        request: T,
        now: Instant,
    ) -> Option<T> {
        if self.waiting.of(direction).is_empty() && self.admit(direction, bytes, now) {
            return Some(request);
        }
        let waiting = self.waiting.of_mut(direction);
        waiting.push_back(Waiting { bytes, request });
        None
    }

    /// Takes the next request that is admitted.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        Direction::ALL
            .into_iter()
            .find_map(|direction| self.pop_one(direction, now))
    }

    fn pop_one(&mut self, direction: Direction, now: Instant) -> Option<T> {
        let bytes = self.waiting.of(direction).front()?.bytes;
        if !self.admit(direction, bytes, now) {
            return None;
        }
        let first = self.waiting.of_mut(direction).pop_front();
        first.map(|waiting| waiting.request)
    }

    /// When to ask again, if that depends on time.
    pub fn due(&self) -> Option<Instant> {
        let times = Direction::ALL.map(|direction| *self.asked.of(direction));
        times.into_iter().flatten().min()
    }

    /// Leaves the line: other disks of the group do not wait for this one.
    pub fn suspend(&mut self) {
        self.asked = Both::default();
        if let Some(member) = &self.member {
            for direction in Direction::ALL {
                member.withdraw(direction);
            }
        }
    }

    /// The queued requests.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let waiting = self.waiting.read.iter().chain(&self.waiting.write);
        waiting.map(|waiting| &waiting.request)
    }

    /// Removes all queued requests.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.suspend();
        let waiting = std::mem::take(&mut self.waiting);
        let all = waiting.read.into_iter().chain(waiting.write);
        all.map(|waiting| waiting.request)
    }

    /// The number of queued requests.
    pub fn len(&self) -> usize {
        self.waiting.read.len() + self.waiting.write.len()
    }

    /// Whether every request is admitted at once: the disk is in no group, and none is queued.
    pub fn is_idle(&self) -> bool {
        self.member.is_none() && self.is_empty()
    }

    /// Whether no request is queued.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn admit(&mut self, direction: Direction, bytes: u64, now: Instant) -> bool {
        let admission = match &self.member {
            Some(member) => member.admit(direction, bytes, now),
            None => Admission::Now,
        };
        *self.asked.of_mut(direction) = match admission {
            Admission::At(due) => Some(due),
            Admission::Now | Admission::WhenWoken => None,
        };
        admission == Admission::Now
    }
}
