//! What stands between a request's arrival and its submission, on a disk with limits: the requests
//! that wait, and the timer for the next of them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::block::throttle::{Direction, Member, Queue};
use crate::block::{Request, Token};

/// Requests, with what else there is to know of them, that wait for a disk's limits.
pub(super) struct Limiter<T> {
    queue: Queue<(Token, T)>,
    timer: OwnedFd,
    /// What the timer is set to.
    set: Option<Instant>,
}

impl<T> Limiter<T> {
    /// Without limits.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            queue: Queue::default(),
            timer: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
            set: None,
        })
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

    /// Takes a request, and gives it back if it may be submitted at once.
    pub(super) fn push(
        &mut self,
        token: Token,
        request: &Request,
        with: T,
        now: Instant,
    ) -> Option<T> {
        let Some(direction) = Direction::of(&request.operation) else {
            return Some(with);
        };
        self.queue
            .push(direction, request.length(), (token, with), now)
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

    /// Takes out all that waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Token, T)> + use<T> {
        self.queue.drain()
    }

    /// Sets the timer for the next request that is a matter of time. A timer that has gone off is
    /// set anew, or taken back: otherwise it would go on being readable.
    pub(super) fn set_timer(&mut self) -> io::Result<()> {
        let due = self.queue.due();
        if due.is_none() && self.set.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if due == self.set && due.is_none_or(|due| due > now) {
            return Ok(());
        }
        // Nothing at all would be no timer.
        let least = Duration::from_nanos(1);
        let wait = due.map(|due| due.saturating_duration_since(now).max(least));
        let value = wait.unwrap_or_default();
        let never = Timespec::default();
        let once = Itimerspec {
            it_interval: never,
            it_value: Timespec::try_from(value).unwrap_or(Timespec {
                tv_sec: i64::MAX,
                tv_nsec: 0,
            }),
        };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        self.set = due;
        Ok(())
    }
}
