//! A pause before an operation is retried that failed transiently.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use event_manager::{EventOps, EventSet, Events};
use vmm_sys_util::timerfd::TimerFd;

/// The length of a pause. Nothing signals that the host has descriptors or memory again, or that the program is in the
/// terminal's foreground again.
const PAUSE: Duration = Duration::from_secs(1);

/// A timer that ends a pause.
#[derive(Debug)]
pub(super) struct Retry {
    timer: TimerFd,
    is_pausing: bool,
}

impl Retry {
    /// A disarmed timer. It is created in advance, as it is needed when the host has no descriptor.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            timer: TimerFd::new()?,
            is_pausing: false,
        })
    }

    /// Registers it with the loop.
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

    /// Ends the pause if these events are the timer's. True if they are.
    pub(super) fn has_ended(&mut self, events: &Events) -> bool {
        let is_ours = events.fd() == self.timer.as_raw_fd();
        if is_ours {
            // It is ready, so that this does not block.
            let _ = self.timer.wait();
            self.is_pausing = false;
        }
        is_ours
    }
}
