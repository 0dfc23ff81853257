//! What could not be done for the moment, and is done again after a while.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use event_manager::{EventOps, EventSet, Events};
use vmm_sys_util::timerfd::TimerFd;

/// How long nothing is tried. Nobody says when the host has descriptors or memory again, or when a terminal's owner has
/// put the program into the foreground.
const PAUSE: Duration = Duration::from_secs(1);

/// A timer that ends a pause.
#[derive(Debug)]
pub(super) struct Retry {
    timer: TimerFd,
    is_pausing: bool,
}

impl Retry {
    /// A timer that is off. Made in advance, since want of descriptors is what it is for.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            timer: TimerFd::new()?,
            is_pausing: false,
        })
    }

    /// Has the loop watch it.
    pub(super) fn watch(&self, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::new(&self.timer, EventSet::IN)) {
            tracing::error!(%error, "console timer");
        }
    }

    /// Begins a pause. Without a timer there is none.
    pub(super) fn pause(&mut self) {
        match self.timer.reset(PAUSE, None) {
            Ok(()) => self.is_pausing = true,
            Err(error) => tracing::error!(%error, "console timer"),
        }
    }

    pub(super) fn is_pausing(&self) -> bool {
        self.is_pausing
    }

    /// Ends the pause, if these events are the timer's. True if they are.
    pub(super) fn has_ended(&mut self, events: &Events) -> bool {
        let is_ours = events.fd() == self.timer.as_raw_fd();
        if is_ours {
            // Ready, and so this does not wait.
            let _ = self.timer.wait();
            self.is_pausing = false;
        }
        is_ours
    }
}
