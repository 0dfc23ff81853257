//! A leaky bucket.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::{Limit, VALUE_MAX};

/// Levels are in billionths of a byte or request: a rate of one a second leaks one such unit a
/// nanosecond. Integers make leaking exact, however often it is computed.
pub(super) const UNIT: u128 = 1_000_000_000;

/// How much of a limit is used up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    limit: Limit,
    /// Above the average.
    level: u128,
    /// Above the rate of a burst.
    burst_level: u128,
}

/// How full a bucket is, in [`UNIT`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fill {
    /// Above the average.
    level: Wide,
    /// Above the rate of a burst.
    burst_level: Wide,
}

/// A 128-bit number as its upper and lower half: formats like JSON have 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Wide(u64, u64);

impl From<u128> for Wide {
    fn from(number: u128) -> Self {
        let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or_default();
        Self(half(number >> 64), half(number))
    }
}

impl From<Wide> for u128 {
    fn from(Wide(upper, lower): Wide) -> Self {
        Self::from(upper) << 64 | Self::from(lower)
    }
}

impl Fill {
    /// Whether a bucket with this limit can be so full: neither a burst nor a request is more than [`VALUE_MAX`]. The
    /// burst's level counts only for a burst of several seconds, and otherwise just grows.
    pub(super) fn is_possible(self, limit: Limit) -> bool {
        let most = 2 * u128::from(VALUE_MAX) * UNIT;
        u128::from(self.level) <= most
            && (limit.length == 1 || u128::from(self.burst_level) <= most)
    }
}

impl Bucket {
    /// A bucket with a saved level.
    pub(super) fn restored(limit: Limit, fill: Fill) -> Self {
        Self {
            limit,
            level: fill.level.into(),
            burst_level: fill.burst_level.into(),
        }
    }

    /// How full it is.
    pub(super) fn save(&self) -> Fill {
        Fill {
            level: self.level.into(),
            burst_level: self.burst_level.into(),
        }
    }

    pub(super) fn new(limit: Limit) -> Self {
        Self {
            limit,
            level: 0,
            burst_level: 0,
        }
    }

    /// Leaks for the elapsed time.
    pub(super) fn leak(&mut self, elapsed: Duration) {
        let leaked = |rate: u64| u128::from(rate).saturating_mul(elapsed.as_nanos());
        self.level = self.level.saturating_sub(leaked(self.limit.average));
        self.burst_level = self.burst_level.saturating_sub(leaked(self.limit.maximum));
    }

    /// Adds an amount, in [`UNIT`]s.
    pub(super) fn fill(&mut self, amount: u128) {
        if self.limit.average > 0 {
            self.level = self.level.saturating_add(amount);
            self.burst_level = self.burst_level.saturating_add(amount);
        }
    }

    /// The time until its level is within its size. A bucket without a burst holds a tenth of a
    /// second, so that not every second request waits; a burst of several seconds has the same
    /// margin above its own rate.
    pub(super) fn wait(&self) -> Duration {
        let Limit {
            average,
            maximum,
            length,
        } = self.limit;
        if average == 0 {
            return Duration::ZERO;
        }
        let tenth = |rate: u64| u128::from(rate) * (UNIT / 10);
        let size = if maximum == 0 {
            tenth(average)
        } else {
            u128::from(maximum) * u128::from(length) * UNIT
        };
        let for_average = time(self.level.saturating_sub(size), average);
        if length > 1 {
            // QEMU checks it only while the average has room: a bucket just over its size would let
            // a burst exceed its rate.
            let for_burst = time(self.burst_level.saturating_sub(tenth(maximum)), maximum);
            for_average.max(for_burst)
        } else {
            for_average
        }
    }
}

/// The time to leak an amount at a rate that is not zero.
fn time(amount: u128, rate: u64) -> Duration {
    let nanoseconds = amount.div_ceil(u128::from(rate.max(1)));
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(average: u64, maximum: u64, length: u64) -> Bucket {
        Bucket::new(Limit {
            average,
            maximum,
            length,
        })
    }

    #[test]
    fn without_a_burst_there_is_room_for_a_tenth_of_a_second() {
        let mut bucket = bucket(1000, 0, 1);
        bucket.fill(100 * UNIT);
        assert_eq!(bucket.wait(), Duration::ZERO);
        bucket.fill(UNIT);
        assert_eq!(bucket.wait(), Duration::from_millis(1));
        bucket.leak(Duration::from_micros(400));
        assert_eq!(bucket.wait(), Duration::from_micros(600));
    }

    #[test]
    fn a_burst_goes_at_its_own_rate_until_it_is_used_up() {
        let mut bucket = bucket(100, 1000, 5);
        bucket.fill(100 * UNIT);
        assert_eq!(bucket.wait(), Duration::ZERO);
        bucket.fill(100 * UNIT);
        // The rate of the burst.
        assert_eq!(bucket.wait(), Duration::from_millis(100));
        bucket.leak(Duration::from_secs(1));
        bucket.fill(5000 * UNIT);
        // 200 have been done and 100 leaked: of the burst's 5000, 100 are too many, which takes a
        // second; but 5000 at once are 4900 more than go at once, at 1000 a second.
        assert_eq!(bucket.wait(), Duration::from_millis(4900));
        bucket.leak(Duration::from_millis(4900));
        assert_eq!(bucket.wait(), Duration::ZERO);
    }

    #[test]
    fn a_slow_bucket_forgets_nothing_however_often_one_looks() {
        let mut bucket = bucket(1, 0, 1);
        bucket.fill(1_000_000_000 * UNIT);
        let before = bucket.wait();
        for _ in 0..1000 {
            bucket.leak(Duration::from_nanos(1));
        }
        assert_eq!(before - bucket.wait(), Duration::from_nanos(1000));
    }

    #[test]
    fn an_unlimited_bucket_never_waits_and_large_numbers_saturate() {
        let mut none = bucket(0, 0, 1);
        none.fill(u128::MAX);
        assert_eq!(none.wait(), Duration::ZERO);
        let mut slow = bucket(1, 0, 1);
        slow.fill(u128::MAX);
        slow.fill(u128::MAX);
        assert_eq!(slow.wait(), Duration::from_nanos(u64::MAX));
        let mut fast = bucket(super::super::limits::VALUE_MAX, 0, 1);
        fast.fill(u128::MAX);
        fast.leak(Duration::MAX);
        assert_eq!(fast.wait(), Duration::ZERO);
    }
}
