//! Moments comparable between processes, and percentiles of durations.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the monotonic clock, which all processes share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// The current moment.
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        // Neither part is negative on a clock that starts at boot.
        Self(Duration::new(
            u64::try_from(now.tv_sec).unwrap_or_default(),
            u32::try_from(now.tv_nsec).unwrap_or_default(),
        ))
    }

    /// The time since an earlier one.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.as_nanos())
    }
}

impl FromStr for Moment {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(|nanos| Self(Duration::from_nanos(nanos)))
    }
}

/// Durations of one operation.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds a duration.
    pub fn add(&mut self, duration: Duration) {
        self.0.push(duration);
    }

    /// The median; none without durations.
    pub fn median(&mut self) -> Option<Duration> {
        self.percentile(50)
    }

    /// The 99th percentile; none without durations.
    pub fn p99(&mut self) -> Option<Duration> {
        self.percentile(99)
    }

    fn percentile(&mut self, percent: usize) -> Option<Duration> {
        self.0.sort_unstable();
        let index = (self.0.len() * percent / 100).min(self.0.len().checked_sub(1)?);
        self.0.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_found_in_any_order() {
        let mut samples = Samples::default();
        assert_eq!(samples.median(), None);
        for number in (1..=100).rev() {
            samples.add(Duration::from_micros(number));
        }
        assert_eq!(samples.median(), Some(Duration::from_micros(51)));
        assert_eq!(samples.p99(), Some(Duration::from_micros(100)));
    }

    #[test]
    fn a_moment_reads_back_as_written() {
        let moment = Moment::now();
        assert!(moment.to_string().parse() == Ok(moment));
        assert!(Moment::now() >= moment);
    }
}
