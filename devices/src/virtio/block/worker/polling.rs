//! Looking at the rings instead of sleeping, for as long as that has been worth it.
//!
//! A driver that has just been answered often asks again within microseconds, and so does a quick
//! host answer. To sleep, be told and wake up takes longer than that, and costs more, for the guest
//! too. With many requests in flight something is always about to end, and sleeping until then is
//! the cheaper way to find several ends at once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::Worker;

/// Longest time that a look may take, as in QEMU (`poll-max-ns` of its threads for I/O).
const LONGEST: Duration = Duration::from_micros(32);

/// Shortest.
const SHORTEST: Duration = Duration::from_micros(4);

/// Whoever has slept cannot tell how soon there was something: the time to wake up is in all that
/// can be measured. So it is tried again once in so many times.
const TRY_AGAIN: u32 = 32;

/// After so long, the thread sees what else there is to do.
const TURN: Duration = Duration::from_millis(1);

/// Requests in flight up to which their ends are looked for.
const FEW: usize = 2;

/// How long a disk's thread looks at its rings at most before it sleeps; not at all on a host with one CPU, where
/// whoever is waited for would need the CPU that waits.
pub fn longest_look() -> Duration {
    // Asked once: it takes files of the host to find out.
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

/// For how long it is worth looking for one thing.
#[derive(Debug, Default)]
pub(super) struct Patience {
    window: Duration,
    /// Times that it was not looked at all.
    slept: u32,
}

impl Patience {
    /// How long to look now.
    fn window(&mut self) -> Duration {
        if !self.window.is_zero() {
            return self.window;
        }
        self.slept += 1;
        if self.slept < TRY_AGAIN {
            return Duration::ZERO;
        }
        self.slept = 0;
        LONGEST
    }

    /// It came after so long.
    fn rewarded(&mut self, after: Duration) {
        self.window = (4 * after).clamp(SHORTEST, LONGEST);
    }

    /// It did not come.
    fn disappointed(&mut self) {
        self.window /= 2;
        if self.window < SHORTEST {
            self.window = Duration::ZERO;
        }
    }
}

/// What a thread with nothing to do waits for.
#[derive(Debug)]
pub(super) struct Polling {
    /// Never, where whoever is waited for would need the CPU that waits.
    is_alone: bool,
    driver: Patience,
    host: Patience,
}

impl Polling {
    pub(super) fn new() -> Self {
        Self {
            is_alone: longest_look().is_zero(),
            driver: Patience::default(),
            host: Patience::default(),
        }
    }
}

impl Worker {
    /// Serves driver and host until both have been quiet for a while.
    pub(super) fn poll(&mut self) {
        if !self.may_poll() {
            return;
        }
        let mut window = self.patience().window();
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
                self.patience_for(waited_for_driver).rewarded(quiet);
                last = now;
                if !self.may_poll() || now.saturating_duration_since(began) >= TURN {
                    break;
                }
                window = self.patience().window();
                if window.is_zero() {
                    break;
                }
            } else if quiet >= window {
                self.patience_for(waited_for_driver).disappointed();
                break;
            }
            std::hint::spin_loop();
        }
        self.is_polling = false;
        self.set_kicks(true);
        if self.answered_at_once {
            // Their event was raised, too, and is of no more use.
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

    /// For what there is to wait for now.
    fn patience(&mut self) -> &mut Patience {
        self.patience_for(self.in_flight.is_empty())
    }

    fn patience_for(&mut self, driver: bool) -> &mut Patience {
        if driver {
            &mut self.polling.driver
        } else {
            &mut self.polling.host
        }
    }

    /// Does what there is to do, if there is anything.
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
    fn patience_lasts_while_it_is_rewarded_and_goes_when_it_is_not() {
        let us = Duration::from_micros;
        let mut patience = Patience::default();
        let tries: Vec<_> = (0..2 * TRY_AGAIN).map(|_| patience.window()).collect();
        let tried = tries.iter().filter(|window| !window.is_zero()).count();
        assert_eq!((tried, tries[31], tries[63]), (2, LONGEST, LONGEST));
        for (after, expected) in [(0, 4), (3, 12), (8, 32), (1000, 32)] {
            patience.rewarded(us(after));
            assert_eq!(patience.window(), us(expected));
        }
        for expected in [16, 8, 4, 0, 0] {
            patience.disappointed();
            assert_eq!(patience.window(), us(expected));
        }
    }
}
