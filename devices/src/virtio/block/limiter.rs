//! Throttling of a disk's requests before submission: the queued requests, and the timer for the
//! next.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use crate::block::model::request::{Request, Token};
use crate::block::throttle::Direction;
use crate::block::throttle::group::Member;
use crate::block::throttle::queue::ThrottleQueue;
use crate::timer::Timer;

/// What a request counts for in a disk's limits: a direction and a number of bytes, or nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand(Option<(Direction, u64)>);

impl Demand {
    pub(super) fn of(request: &Request) -> Self {
        let direction = Direction::of(&request.operation);
        Self(direction.map(|direction| (direction, request.length())))
    }
}

/// Requests that wait for a disk's limits.
pub(super) struct Limiter<T> {
    queue: ThrottleQueue<(Token, T)>,
    timer: Timer,
}

impl<T> Limiter<T> {
    /// A limiter without limits.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: ThrottleQueue::default(),
            timer: Timer::new()?,
        })
    }

    /// Whether it has no limits and no request waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Readable when the next request is due. It is re-armed, never read.
    pub(super) fn timer(&self) -> &impl AsRawFd {
        &self.timer
    }

    pub(super) fn is_timer(&self, fd: RawFd) -> bool {
        self.timer.as_raw_fd() == fd
    }

    /// Replaces or removes the limits. Call [`Self::pop`] afterwards.
    pub(super) fn set_member(&mut self, member: Option<Member>) {
        self.queue.set_member(member);
    }

    /// Queues a request with this demand, or returns it if it may be submitted at once.
    pub(super) fn push(
        &mut self,
        token: Token,
        demand: Demand,
        with: T,
        now: Instant,
    ) -> Option<T> {
        let Demand(Some((direction, bytes))) = demand else {
            return Some(with);
        };
        self.queue
            .push(direction, bytes, (token, with), now)
            .map(|(_, with)| with)
    }

    /// The next request that may be submitted now.
    pub(super) fn pop(&mut self) -> Option<(Token, T)> {
        self.queue.pop(Instant::now())
    }

    /// Leaves the group's line while the disk submits nothing.
    pub(super) fn suspend(&mut self) {
        self.queue.suspend();
    }

    /// The queued requests.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Token, T)> {
        self.queue.iter()
    }

    /// Removes all queued requests.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Token, T)> + use<T> {
        self.queue.drain()
    }

    /// Sets the timer for the next request that is due at a known time.
    pub(super) fn set_timer(&mut self) -> io::Result<()> {
        self.timer.set(self.queue.due())
    }
}
