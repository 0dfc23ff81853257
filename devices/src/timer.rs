//! A timer for the next deadline.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// Readable when it has expired. It is re-armed, never read.
pub(crate) struct Timer {
    descriptor: OwnedFd,
    /// The time that it is set to.
    set: Option<Instant>,
}

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

impl Timer {
    /// A timer that is not set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            descriptor: timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC)?,
            set: None,
        })
    }

    /// Arms it for that time, or disarms it. An expired timer is re-armed: otherwise it would stay
    /// readable.
    pub(crate) fn set(&mut self, due: Option<Instant>) -> io::Result<()> {
        if due.is_none() && self.set.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if due == self.set && due.is_none_or(|due| due > now) {
            return Ok(());
        }
        // Zero would disarm the timer.
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
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &once)?;
        self.set = due;
        Ok(())
    }
}
