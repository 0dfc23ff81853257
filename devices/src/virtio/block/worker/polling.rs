//! Adaptive polling: the thread spins on the rings for a poll window before it sleeps.
//!
//! A driver often submits again within microseconds of a completion, and a fast host completes as
//! fast. Sleeping and waking takes longer, and costs the guest more. With many requests in flight a
//! sleep batches completions instead.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Worker;

/// Longest poll window, as in QEMU (`poll-max-ns` of an iothread).
const LONGEST: Duration = Duration::from_micros(32);

/// Shortest poll window.
const SHORTEST: Duration = Duration::from_micros(4);

/// A closed window is reopened once in this many sleeps: a thread that slept cannot measure when it
/// would have had a hit, as its measurement includes the time to wake up.
const TRY_AGAIN: u32 = 32;

/// Longest time that the thread polls before it handles its other events.
const TURN: Duration = Duration::from_millis(1);

/// Maximum number of requests in flight with which the thread polls.
const FEW: usize = 2;

/// Longest poll window of a disk's thread. Zero on a host with one CPU, which the driver needs to
/// make progress.
pub fn longest_poll_window() -> Duration {
    // Computed once: it reads files of the host.
    static FOUND: OnceLock<Duration> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let cpus = std::thread::available_parallelism();
        if cpus.map_or(1, usize::from) == 1 {
            Duration::ZERO
        } else {
            LONGEST
        }
    })
}

/// The poll window for one kind of event, adapted by hits and misses.
#[derive(Debug, Default)]
pub(super) struct PollWindow {
    length: Duration,
    /// Sleeps without polling since the window was last reopened.
    slept: u32,
}

impl PollWindow {
    /// The current window. Zero: do not poll.
    fn length(&mut self) -> Duration {
        if !self.length.is_zero() {
            return self.length;
        }
        self.slept += 1;
        if self.slept < TRY_AGAIN {
            return Duration::ZERO;
        }
        self.slept = 0;
        LONGEST
    }

    /// Takes a hit, after this time.
    fn hit(&mut self, after: Duration) {
        self.length = (4 * after).clamp(SHORTEST, LONGEST);
    }

    /// Takes a miss.
    fn miss(&mut self) {
        self.length /= 2;
        if self.length < SHORTEST {
            self.length = Duration::ZERO;
        }
    }
}

/// The poll windows of a disk's thread.
#[derive(Debug)]
pub(super) struct Polling {
    /// The host has one CPU: polling would keep it from the driver.
    is_alone: bool,
    driver: PollWindow,
    host: PollWindow,
}

impl Polling {
    pub(super) fn new() -> Self {
        Self {
            is_alone: longest_poll_window().is_zero(),
            driver: PollWindow::default(),
            host: PollWindow::default(),
        }
    }
}

impl Worker {
    /// Serves driver and host until both are quiet for a poll window.
    pub(super) fn poll_queues(&mut self) {
        if !self.may_poll() {
            return;
        }
        let mut window = self.window().length();
        if window.is_zero() {
            return;
        }
        let began = Instant::now();
        let mut last = began;
        self.is_polling = true;
        self.set_kicks(false);
        loop {
            let waited_for_driver = self.in_flight.is_empty();
            let progress = self.look();
            let now = Instant::now();
            let quiet = now.saturating_duration_since(last);
            if progress {
                self.window_for(waited_for_driver).hit(quiet);
                last = now;
                if !self.may_poll() || now.saturating_duration_since(began) >= TURN {
                    break;
                }
                window = self.window().length();
                if window.is_zero() {
                    break;
                }
            } else if quiet >= window {
                self.window_for(waited_for_driver).miss();
                break;
            }
            std::hint::spin_loop();
        }
        self.is_polling = false;
        self.set_kicks(true);
        if self.answered_at_once {
            // Also clears the completion event.
            let completions = self.parts.backend.completed();
            let completions = self.translate(completions);
            self.complete(completions);
            self.answered_at_once = false;
        }
        self.end_turn();
    }

    fn may_poll(&self) -> bool {
        let is_worth_it = !self.polling.is_alone && self.in_flight.len() <= FEW;
        is_worth_it && self.running && self.active.is_some() && self.resizes.is_empty()
    }

    /// The window for the event that comes next: a kick, or a completion.
    fn window(&mut self) -> &mut PollWindow {
        self.window_for(self.in_flight.is_empty())
    }

    fn window_for(&mut self, driver: bool) -> &mut PollWindow {
        if driver {
            &mut self.polling.driver
        } else {
            &mut self.polling.host
        }
    }

    /// Serves completions and available chains. Returns whether there were any.
    fn look(&mut self) -> bool {
        let completions = self.parts.backend.poll();
        let ended = !completions.is_empty();
        if ended {
            self.answered_at_once = true;
            let completions = self.translate(completions);
            self.complete(completions);
        }
        self.serve_available() || ended
    }

    fn serve_available(&mut self) -> bool {
        let mut served = false;
        for queue in 0..self.parts.kicks.len() {
            let ring = self.active.as_mut().and_then(|active| active.ring(queue));
            if ring.is_some_and(|ring| ring.has_available()) {
                self.serve(queue);
                served = true;
            }
        }
        served
    }

    /// Enables or suppresses the driver's kicks.
    fn set_kicks(&mut self, wanted: bool) {
        let Some(mut active) = self.active.take() else {
            return;
        };
        let mut result = Ok(());
        for (queue, kick) in self.parts.kicks.iter().enumerate() {
            let Some(ring) = active.ring(queue) else {
                continue;
            };
            let came_meanwhile = if wanted {
                ring.enable_kicks()
            } else {
                ring.disable_kicks().map(|()| false)
            };
            match came_meanwhile {
                Ok(true) => drop(kick.write(1)),
                Ok(false) => {}
                Err(error) => result = Err(error.into()),
            }
        }
        self.finish(active, result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_window_grows_with_hits_and_halves_with_misses() {
        let us = Duration::from_micros;
        let mut window = PollWindow::default();
        let tries: Vec<_> = (0..2 * TRY_AGAIN).map(|_| window.length()).collect();
        let tried = tries.iter().filter(|window| !window.is_zero()).count();
        assert_eq!((tried, tries[31], tries[63]), (2, LONGEST, LONGEST));
        for (after, expected) in [(0, 4), (3, 12), (8, 32), (1000, 32)] {
            window.hit(us(after));
            assert_eq!(window.length(), us(expected));
        }
        for expected in [16, 8, 4, 0, 0] {
            window.miss();
            assert_eq!(window.length(), us(expected));
        }
    }
}
