//! Log messages about misbehaving drivers.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// Minimum interval: a driver could flood the host's log by resetting the device.
const PAUSE: Duration = Duration::from_secs(1);

/// Rate-limited warnings about a driver.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    last: Option<Instant>,
    left_out: u64,
}

impl Complaints {
    /// Logs the reason why a device needs a reset.
    pub(super) fn add(&mut self, device: &dyn Display, error: &dyn Display) {
        if let Some(left_out) = self.is_due(Instant::now()) {
            let others = match left_out {
                0 => String::new(),
                count => format!(" (and {count} times more before)"),
            };
            tracing::warn!("{device} needs a reset: {error}{others}");
        }
    }

    /// Whether to log now, with the number of messages suppressed since the last.
    fn is_due(&mut self, now: Instant) -> Option<u64> {
        let is_due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= PAUSE);
        if is_due {
            self.last = Some(now);
            Some(std::mem::take(&mut self.left_out))
        } else {
            self.left_out = self.left_out.saturating_add(1);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_rate_limited_and_counted() {
        let mut complaints = Complaints::default();
        let now = Instant::now();
        assert_eq!(complaints.is_due(now), Some(0));
        assert_eq!(complaints.is_due(now), None);
        assert_eq!(complaints.is_due(now + PAUSE / 2), None);
        assert_eq!(complaints.is_due(now + PAUSE), Some(2));
        assert_eq!(complaints.is_due(now + 2 * PAUSE), Some(0));
    }
}
