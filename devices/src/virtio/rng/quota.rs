//! The rate limit of a device, as in QEMU (`max-bytes` and `period` of `virtio-rng-device`).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::life_cycle::RestoreError;

/// A maximum of bytes in each period. A period begins with its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Bytes of a period. With zero the device never returns entropy.
    pub max_bytes: u64,
    /// Its length; more than zero.
    pub period: Duration,
}

/// The rest of the current period. The caller passes the time.
#[derive(Debug)]
pub(super) struct Quota {
    limit: Option<RateLimit>,
    left: u64,
    /// When the period ends, if it has begun.
    renewal: Option<Instant>,
}

/// A quota as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct QuotaState {
    /// Bytes that are left of the period.
    left: u64,
    /// Nanoseconds to the end of the period, if it has begun.
    renewal_ns: Option<u64>,
}

impl Quota {
    /// A quota whose first period has not begun.
    pub(super) fn new(limit: Option<RateLimit>) -> Self {
        let mut quota = Self {
            limit,
            left: 0,
            renewal: None,
        };
        quota.reset();
        quota
    }

    /// Resets it.
    pub(super) fn reset(&mut self) {
        self.left = self.limit.map_or(u64::MAX, |limit| limit.max_bytes);
        self.renewal = None;
    }

    /// Bytes that may be returned now.
    pub(super) fn left(&mut self, now: Instant) -> u64 {
        if self.renewal.is_some_and(|renewal| renewal <= now) {
            self.reset();
        }
        self.left
    }

    /// Counts returned bytes, at most those left.
    pub(super) fn spend(&mut self, bytes: u64, now: Instant) {
        let Some(limit) = self.limit else {
            return;
        };
        self.left = self.left.saturating_sub(bytes);
        self.renewal = self.renewal.or(now.checked_add(limit.period));
    }

    /// When the next period begins, if nothing is left.
    pub(super) fn renewal(&self) -> Option<Instant> {
        self.renewal.filter(|_| self.left == 0)
    }

    /// The quota as plain data.
    pub(super) fn save(&self, now: Instant) -> QuotaState {
        let until = |renewal: Instant| renewal.saturating_duration_since(now).as_nanos();
        QuotaState {
            left: self.left,
            renewal_ns: self
                .renewal
                .map(|renewal| u64::try_from(until(renewal)).unwrap_or(u64::MAX)),
        }
    }

    /// Restores a saved state.
    ///
    /// # Errors
    ///
    /// [`RestoreError::OutOfRange`] for more than a period has.
    pub(super) fn restore(&mut self, state: QuotaState, now: Instant) -> Result<(), RestoreError> {
        let out_of_range = |member, value| RestoreError::OutOfRange { member, value };
        let QuotaState { left, renewal_ns } = state;
        let fresh = Self::new(self.limit);
        if left > fresh.left || self.limit.is_none() && left != fresh.left {
            return Err(out_of_range("left", left));
        }
        let renewal = match renewal_ns {
            Some(wait) => {
                let wait_time = Duration::from_nanos(wait);
                let renewal = self
                    .limit
                    .filter(|limit| wait_time <= limit.period)
                    .and_then(|_| now.checked_add(wait_time));
                Some(renewal.ok_or(out_of_range("renewal_ns", wait))?)
            }
            None if left != fresh.left => return Err(out_of_range("left", left)),
            None => None,
        };
        (self.left, self.renewal) = (left, renewal);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit {
        max_bytes: 100,
        period: Duration::from_secs(1),
    };

    #[test]
    fn a_period_begins_with_its_first_byte_and_has_no_more_than_the_limit() {
        let mut quota = Quota::new(Some(LIMIT));
        let now = Instant::now();
        assert_eq!(quota.left(now), 100);
        assert_eq!(quota.renewal(), None);
        quota.spend(60, now);
        assert_eq!(quota.left(now), 40);
        quota.spend(40, now + LIMIT.period / 2);
        assert_eq!(quota.left(now + LIMIT.period / 2), 0);
        assert_eq!(quota.renewal(), Some(now + LIMIT.period));
        assert_eq!(quota.left(now + LIMIT.period), 100);
        assert_eq!(quota.renewal(), None);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let mut quota = Quota::new(None);
        let now = Instant::now();
        quota.spend(u64::MAX, now);
        assert_eq!(quota.left(now), u64::MAX);
        assert_eq!(quota.renewal(), None);
    }

    #[test]
    fn a_restored_quota_keeps_the_rest_of_its_period() {
        let now = Instant::now();
        let mut quota = Quota::new(Some(LIMIT));
        quota.spend(70, now);
        let state = quota.save(now + LIMIT.period / 4);
        let later = now + 10 * LIMIT.period;
        let mut restored = Quota::new(Some(LIMIT));
        restored.restore(state, later).unwrap();
        assert_eq!(restored.left(later), 30);
        restored.spend(30, later);
        assert_eq!(restored.renewal(), Some(later + LIMIT.period * 3 / 4));
    }

    #[test]
    fn more_than_a_period_has_is_refused_and_changes_nothing() {
        let now = Instant::now();
        let second = 1_000_000_000;
        let mut quota = Quota::new(Some(LIMIT));
        quota.spend(1, now);
        for (left, renewal_ns) in [
            (101, Some(0)),
            (0, Some(second + 1)),
            (0, None),
            (u64::MAX, None),
        ] {
            let state = QuotaState { left, renewal_ns };
            assert!(quota.restore(state, now).is_err(), "{state:?}");
            assert_eq!(quota.left(now), 99);
        }
        let mut unlimited = Quota::new(None);
        for (left, renewal_ns) in [(0, None), (u64::MAX, Some(0))] {
            let state = QuotaState { left, renewal_ns };
            assert!(unlimited.restore(state, now).is_err(), "{state:?}");
        }
    }
}
