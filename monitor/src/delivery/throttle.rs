//! The rate limit of default events: one in each interval for each key, the last one within it at its end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Where each key is in its interval.
#[derive(Debug)]
pub(crate) struct Throttle<T> {
    interval: Duration,
    windows: HashMap<String, Window<T>>,
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

    /// Lets a value through, or keeps it in place of the one that was kept.
    pub(crate) fn admit(&mut self, key: &str, value: T, now: Instant) -> Option<T> {
        if let Some(window) = self.windows.get_mut(key).filter(|window| now < window.ends) {
            window.waiting = Some(value);
            return None;
        }
        let window = Window {
            ends: later(now, self.interval),
            waiting: None,
        };
        self.windows.insert(key.to_owned(), window);
        Some(value)
    }

    /// Gives out what waited for the end of its interval, and begins the next one for each.
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<T> {
        let interval = self.interval;
        let mut due: Vec<(Instant, T)> = Vec::new();
        self.windows.retain(|_, window| {
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
        due.sort_by_key(|(ends, _)| *ends);
        due.into_iter().map(|(_, value)| value).collect()
    }

    /// Gives out everything that waits, at once.
    pub(crate) fn drain(&mut self) -> Vec<T> {
        let mut waiting: Vec<(Instant, T)> = self
            .windows
            .drain()
            .filter_map(|(_, window)| Some((window.ends, window.waiting?)))
            .collect();
        waiting.sort_by_key(|(ends, _)| *ends);
        waiting.into_iter().map(|(_, value)| value).collect()
    }

    /// When something that waits is due next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.windows
            .values()
            .filter(|w| w.waiting.is_some())
            .map(|w| w.ends)
            .min()
    }
}

/// The end of an interval; one that the clock does not reach ends as late as can be told.
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

    #[test]
    fn the_first_passes_and_the_last_within_the_second_comes_at_its_end() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SECOND);
        assert_eq!(throttle.admit("a", 1, start), Some(1));
        assert_eq!(throttle.next_due(), None);
        assert_eq!(throttle.admit("a", 2, start), None);
        assert_eq!(throttle.admit("a", 3, start + SECOND / 2), None);
        assert_eq!(throttle.next_due(), Some(start + SECOND));
        assert!(throttle.expire(start + SECOND / 2).is_empty());
        assert_eq!(throttle.expire(start + SECOND), [3]);
        // What came late is the first of the next second.
        assert_eq!(throttle.admit("a", 4, start + SECOND), None);
        assert_eq!(throttle.expire(start + 2 * SECOND), [4]);
        assert!(throttle.expire(start + 3 * SECOND).is_empty());
        assert_eq!(throttle.admit("a", 5, start + 3 * SECOND), Some(5));
    }

    #[test]
    fn each_key_has_a_limit_of_its_own() {
        let start = Instant::now();
        let mut throttle = Throttle::new(SECOND);
        assert_eq!(throttle.admit("a", 1, start), Some(1));
        assert_eq!(throttle.admit("b", 2, start), Some(2));
        assert_eq!(throttle.admit("b", 3, start), None);
        assert_eq!(throttle.expire(start + SECOND), [3]);
    }
}
