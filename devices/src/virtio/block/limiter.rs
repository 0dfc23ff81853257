//! What stands between a request's arrival and its submission, on a disk with limits: the requests
//! that wait, and the timer for the next of them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Instant;

use crate::block::model::request::{Request, Token};
use crate::block::throttle::Direction;
use crate::block::throttle::group::Member;
use crate::block::throttle::queue::ThrottleQueue;
use crate::timer::Timer;

/// What a request asks of a disk's limits: a direction and a number of bytes, or nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Demand(Option<(Direction, u64)>);

impl Demand {
    pub(super) fn of(request: &Request) -> Self {
        let direction = Direction::of(&request.operation);
        Self(direction.map(|direction| (direction, request.length())))
    }
}

/// Requests, with what else there is to know of them, that wait for a disk's limits.
pub(super) struct Limiter<T> {
    queue: ThrottleQueue<(Token, T)>,
    timer: Timer,
}

impl<T> Limiter<T> {
    /// Without limits.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: ThrottleQueue::default(),
            timer: Timer::new()?,
        })
    }

    /// Whether it has no limits, and nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Readable when it is time to ask for the next request. It is set, not read.
    pub(super) fn timer(&self) -> &impl AsRawFd {
        &self.timer
    }

    pub(super) fn is_timer(&self, fd: RawFd) -> bool {
        self.timer.as_raw_fd() == fd
    }

    /// Other limits, or none. Ask for requests after it.
    pub(super) fn set_member(&mut self, member: Option<Member>) {
        self.queue.set_member(member);
    }

    /// Takes a request of that demand, and gives it back if it may be submitted at once.
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

    /// Lets other disks go first, because nobody asks for requests for a while.
    pub(super) fn suspend(&mut self) {
        self.queue.suspend();
    }

    /// All that waits.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(Token, T)> {
        self.queue.iter()
    }

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Token, T)> + use<T> {
        self.queue.drain()
    }

    /// Sets the timer for the next request that is a matter of time.
    pub(super) fn set_timer(&mut self) -> io::Result<()> {
        self.timer.set(self.queue.due())
    }
}
