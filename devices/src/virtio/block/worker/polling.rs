//! Looking at the rings instead of sleeping, for as long as that has been worth it.
//!
//! A driver that has just been answered often asks again within microseconds. To sleep, be kicked
//! and wake up takes longer than that, and costs more, for the guest too. While requests are in
//! flight there is nothing to look for: the host says when they have ended.

use std::time::{Duration, Instant};

use super::Worker;

/// Longest time that a look may take, as in QEMU (`poll-max-ns` of its threads for I/O).
const LONGEST: Duration = Duration::from_micros(32);

/// The first time after none.
const FIRST: Duration = Duration::from_micros(4);

/// After so long, the thread sees what else there is to do.
const TURN: Duration = Duration::from_millis(1);

/// For how long it is worth looking.
#[derive(Debug)]
pub(super) struct Patience {
    /// Never, where whoever is waited for would need the CPU that waits.
    is_alone: bool,
    window: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        let cpus = std::thread::available_parallelism();
        Self {
            is_alone: cpus.map_or(1, usize::from) == 1,
            window: Duration::ZERO,
        }
    }

    fn window(&self) -> Duration {
        if self.is_alone {
            Duration::ZERO
        } else {
            self.window
        }
    }

    /// The driver was quiet for so long.
    pub(super) fn learn(&mut self, quiet: Duration) {
        if quiet > LONGEST {
            self.window /= 2;
            if self.window < FIRST {
                self.window = Duration::ZERO;
            }
        } else if quiet > self.window {
            self.window = (2 * self.window).clamp(FIRST, LONGEST);
        }
    }
}

impl Worker {
    /// Serves the driver until it has been quiet for a while, or something is in flight. Returns
    /// since when it is quiet, if it is the driver that is waited for.
    pub(super) fn poll(&mut self) -> Option<Instant> {
        if !self.waits_for_driver() {
            return None;
        }
        let window = self.patience.window();
        let began = Instant::now();
        let mut last = began;
        if window.is_zero() {
            return Some(last);
        }
        self.is_polling = true;
        self.set_kicks(false);
        while self.waits_for_driver() {
            let served = self.serve_available();
            let now = Instant::now();
            if served {
                last = now;
            } else if now.saturating_duration_since(last) >= window {
                break;
            }
            if now.saturating_duration_since(began) >= TURN {
                break;
            }
            std::hint::spin_loop();
        }
        self.is_polling = false;
        self.set_kicks(true);
        if self.answered_at_once {
            // Their event was raised, too, and is of no more use.
            let completions = self.parts.backend.completed();
            self.complete(completions);
            self.answered_at_once = false;
        }
        if let Err(error) = self.limiter.set_timer() {
            tracing::error!(%error, "disk '{}'", self.parts.configuration.id);
        }
        self.waits_for_driver().then_some(last)
    }

    /// Whether nothing can happen before the driver does something, or somebody asks for something.
    fn waits_for_driver(&self) -> bool {
        self.running && self.active.is_some() && self.in_flight.is_empty()
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

    /// Asks the driver for kicks, or not to kick.
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
    fn patience_grows_while_it_is_rewarded_and_goes_when_it_is_not() {
        let mut patience = Patience {
            is_alone: false,
            window: Duration::ZERO,
        };
        let us = Duration::from_micros;
        for expected in [4, 8, 16, 32, 32] {
            patience.learn(us(32));
            assert_eq!(patience.window(), us(expected));
        }
        // A driver that is quick is waited for no longer than before.
        patience.learn(us(1));
        assert_eq!(patience.window(), us(32));
        for expected in [16, 8, 4, 0, 0] {
            patience.learn(us(33));
            assert_eq!(patience.window(), us(expected));
        }
        patience.learn(us(1));
        assert_eq!(patience.window(), us(4));
        patience.is_alone = true;
        assert_eq!(patience.window(), Duration::ZERO);
    }
}
