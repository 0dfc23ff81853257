//! The rate limit of default events: one in each interval for each subject; the last one within it is sent at its end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use faultvisor_schema::SignalName;

/// The interval of each subject of each signal.
#[derive(Debug)]
pub(crate) struct Throttle<T> {
    interval: Duration,
    windows: HashMap<SignalName, HashMap<String, Window<T>>>,
}

#[derive(Debug)]
struct Window<T> {
    ends: Instant,
    waiting: Option<T>,
}

impl<T> Throttle<T> {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            windows: HashMap::new(),
        }
    }

    /// Passes a value, or keeps it in place of the one kept before.
    pub(crate) fn admit(
        &mut self,
        signal: SignalName,
        subject: &str,
        value: T,
        now: Instant,
    ) -> Option<T> {
        let windows = self.windows.entry(signal).or_default();
        if let Some(window) = windows.get_mut(subject).filter(|window| now < window.ends) {
            window.waiting = Some(value);
            return None;
        }
        let window = Window {
            ends: later(now, self.interval),
            waiting: None,
        };
        windows.insert(subject.to_owned(), window);
        Some(value)
    }

    /// Returns the values whose interval has ended, and begins the next interval for each.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<T> {
        let interval = self.interval;
        let mut due: Vec<(Instant, T)> = Vec::new();
        for windows in self.windows.values_mut() {
            windows.retain(|_, window| {
                if now < window.ends {
                    return true;
                }
                match window.waiting.take() {
                    Some(value) => {
                        due.push((window.ends, value));
                        window.ends = later(now, interval);
                        true
                    }
                    None => false,
                }
            });
        }
        due.sort_by_key(|(ends, _)| *ends);
        due.into_iter().map(|(_, value)| value).collect()
    }

    /// Returns all kept values at once.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut waiting: Vec<(Instant, T)> = self
            .windows
            .drain()
            .flat_map(|(_, windows)| windows)
            .filter_map(|(_, window)| Some((window.ends, window.waiting?)))
            .collect();
        waiting.sort_by_key(|(ends, _)| *ends);
        waiting.into_iter().map(|(_, value)| value).collect()
    }

    /// When the next kept value is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.windows
            .values()
            .flat_map(HashMap::values)
            .filter(|window| window.waiting.is_some())
            .map(|window| window.ends)
            .min()
    }
}

/// The end of an interval; beyond the clock's range, the latest time that it can represent.
pub(crate) fn later(now: Instant, interval: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(365 * 24 * 3600);
    now.checked_add(interval)
        .or(now.checked_add(LONG))
        .unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const ERROR: SignalName = SignalName::BlockIoError;

    #[test]
    fn the_first_passes_and_the_last_within_the_second_comes_at_its_end() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SECOND);
        assert_eq!(throttle.admit(ERROR, "a", 1, start), Some(1));
        assert_eq!(throttle.next_due(), None);
        assert_eq!(throttle.admit(ERROR, "a", 2, start), None);
        assert_eq!(throttle.admit(ERROR, "a", 3, start + SECOND / 2), None);
        assert_eq!(throttle.next_due(), Some(start + SECOND));
        assert!(throttle.expire(start + SECOND / 2).is_empty());
        assert_eq!(throttle.expire(start + SECOND), [3]);
        // A late value is the first of the next interval.
        assert_eq!(throttle.admit(ERROR, "a", 4, start + SECOND), None);
        assert_eq!(throttle.expire(start + 2 * SECOND), [4]);
        assert!(throttle.expire(start + 3 * SECOND).is_empty());
        assert_eq!(throttle.admit(ERROR, "a", 5, start + 3 * SECOND), Some(5));
    }

    #[test]
    fn each_subject_has_a_limit_of_its_own() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SECOND);
        assert_eq!(throttle.admit(ERROR, "a", 1, start), Some(1));
        assert_eq!(throttle.admit(ERROR, "b", 2, start), Some(2));
        assert_eq!(throttle.admit(ERROR, "b", 3, start), None);
        assert_eq!(throttle.expire(start + SECOND), [3]);
    }

    #[test]
    fn each_signal_has_a_limit_of_its_own() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SECOND);
        assert_eq!(throttle.admit(ERROR, "a", 1, start), Some(1));
        let other = SignalName::BlockWriteThreshold;
        assert_eq!(throttle.admit(other, "a", 2, start), Some(2));
        assert_eq!(throttle.admit(other, "a", 3, start), None);
        assert_eq!(throttle.drain(), [3]);
    }
}
