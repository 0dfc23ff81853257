//! A disk's limits, and which of them may be combined.

use serde::{Deserialize, Serialize};

use super::Direction;

/// The largest rate (QEMU `THROTTLE_VALUE_MAX`): a petabyte, or as many requests, a second.
pub const VALUE_MAX: u64 = 1_000_000_000_000_000;

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Bytes read and written.
    BpsTotal,
    /// Bytes read.
    BpsRead,
    /// Bytes written.
    BpsWrite,
    /// Reads and writes.
    IopsTotal,
    /// Reads.
    IopsRead,
    /// Writes.
    IopsWrite,
}

impl Measure {
    /// All of them, in the order in which QEMU checks them.
    pub const ALL: [Self; 6] = [
        Self::BpsTotal,
        Self::BpsRead,
        Self::BpsWrite,
        Self::IopsTotal,
        Self::IopsRead,
        Self::IopsWrite,
    ];

    /// Whether requests of a direction count in it.
    pub(super) fn counts(self, direction: Direction) -> bool {
        match self {
            Self::BpsTotal | Self::IopsTotal => true,
            Self::BpsRead | Self::IopsRead => direction == Direction::Read,
            Self::BpsWrite | Self::IopsWrite => direction == Direction::Write,
        }
    }

    /// Whether it counts bytes instead of requests.
    pub(super) fn is_bytes(self) -> bool {
        matches!(self, Self::BpsTotal | Self::BpsRead | Self::BpsWrite)
    }
}

/// One limit, in bytes or requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Average per second. Zero for no limit.
    pub average: u64,
    /// Maximum per second in a burst. Zero for a tenth of the average at once.
    pub maximum: u64,
    /// How many seconds a burst may last.
    pub length: u64,
}

impl Default for Limit {
    fn default() -> Self {
        Self {
            average: 0,
            maximum: 0,
            length: 1,
        }
    }
}

/// Why limits are invalid, in QEMU's words (`util/throttle.c`, `throttle_is_valid`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A total and a read or write limit of the same measure.
    #[error("bps/iops/max total values and read/write values cannot be used at the same time")]
    TotalAndPart,
    /// A request size without a request limit.
    #[error("iops size requires an iops value to be set")]
    SizeWithoutIops,
    /// More than [`VALUE_MAX`].
    #[error("bps/iops/max values must be within [0, {VALUE_MAX}]")]
    OutOfRange,
    /// A burst of length zero.
    #[error("the burst length cannot be 0")]
    NoLength,
    /// A burst length without a burst.
    #[error("burst length set without burst rate")]
    LengthWithoutMaximum,
    /// A burst of more than [`VALUE_MAX`] in total.
    #[error("burst length too high for this burst rate")]
    LengthTooHigh,
    /// A burst without an average.
    #[error("bps_max/iops_max require corresponding bps/iops values")]
    MaximumWithoutAverage,
    /// A burst below the average.
    #[error("bps_max/iops_max cannot be lower than bps/iops")]
    MaximumBelowAverage,
}

/// Valid limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Limits {
    each: [Limit; 6],
    iops_size: u64,
}

/// [`Limits`] before validation.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    each: [Limit; 6],
    iops_size: u64,
}

impl TryFrom<Unchecked> for Limits {
    type Error = LimitsError;

    fn try_from(limits: Unchecked) -> Result<Self, LimitsError> {
        Self::new(|measure| limits.each[index(measure)], limits.iops_size)
    }
}

impl Limits {
    /// Limits, each from `limit`. A request of more than `iops_size` bytes counts as several,
    /// unless that is zero.
    ///
    /// # Errors
    ///
    /// The first rule that they break, in QEMU's order.
    pub fn new(limit: impl Fn(Measure) -> Limit, iops_size: u64) -> Result<Self, LimitsError> {
        use Measure::{BpsRead, BpsTotal, BpsWrite, IopsRead, IopsTotal, IopsWrite};
        let each = Measure::ALL.map(limit);
        let limits = Self { each, iops_size };
        let conflict = |value: fn(Limit) -> u64| {
            let set = |measure| value(limits.of(measure)) != 0;
            set(BpsTotal) && (set(BpsRead) || set(BpsWrite))
                || set(IopsTotal) && (set(IopsRead) || set(IopsWrite))
        };
        if conflict(|limit| limit.average) || conflict(|limit| limit.maximum) {
            return Err(LimitsError::TotalAndPart);
        }
        let counted = [IopsTotal, IopsRead, IopsWrite];
        if iops_size != 0 && counted.iter().all(|m| limits.of(*m).average == 0) {
            return Err(LimitsError::SizeWithoutIops);
        }
        each.into_iter().try_for_each(check)?;
        Ok(limits)
    }

    /// The limit of a measure.
    pub fn of(&self, measure: Measure) -> Limit {
        self.each[index(measure)]
    }

    /// The size in bytes above which a request counts as several; zero for never.
    pub fn iops_size(&self) -> u64 {
        self.iops_size
    }

    /// Whether no limit is set.
    pub fn are_none(&self) -> bool {
        self.each.iter().all(|limit| limit.average == 0)
    }
}

/// The index of a measure in [`Measure::ALL`].
pub(super) fn index(measure: Measure) -> usize {
    match measure {
        Measure::BpsTotal => 0,
        Measure::BpsRead => 1,
        Measure::BpsWrite => 2,
        Measure::IopsTotal => 3,
        Measure::IopsRead => 4,
        Measure::IopsWrite => 5,
    }
}

fn check(limit: Limit) -> Result<(), LimitsError> {
    let Limit {
        average,
        maximum,
        length,
    } = limit;
    if average > VALUE_MAX || maximum > VALUE_MAX {
        Err(LimitsError::OutOfRange)
    } else if length == 0 {
        Err(LimitsError::NoLength)
    } else if length > 1 && maximum == 0 {
        Err(LimitsError::LengthWithoutMaximum)
    } else if maximum > 0 && length > VALUE_MAX / maximum {
        Err(LimitsError::LengthTooHigh)
    } else if maximum > 0 && average == 0 {
        Err(LimitsError::MaximumWithoutAverage)
    } else if maximum > 0 && maximum < average {
        Err(LimitsError::MaximumBelowAverage)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(set: &[(Measure, u64, u64, u64)], iops_size: u64) -> Result<Limits, LimitsError> {
        let limit = |measure| {
            let found = set.iter().find(|(of, ..)| *of == measure);
            found.map_or_else(Limit::default, |(_, average, maximum, length)| Limit {
                average: *average,
                maximum: *maximum,
                length: *length,
            })
        };
        Limits::new(limit, iops_size)
    }

    #[test]
    fn a_total_excludes_its_parts_and_nothing_else() {
        use Measure::*;
        for (total, part) in [
            (BpsTotal, BpsRead),
            (BpsTotal, BpsWrite),
            (IopsTotal, IopsRead),
            (IopsTotal, IopsWrite),
        ] {
            let both = limits(&[(total, 10, 0, 1), (part, 10, 0, 1)], 0);
            assert_eq!(both.unwrap_err(), LimitsError::TotalAndPart);
            let bursts = limits(&[(total, 0, 10, 1), (part, 0, 10, 1)], 0);
            assert_eq!(bursts.unwrap_err(), LimitsError::TotalAndPart);
        }
        limits(&[(BpsTotal, 10, 0, 1), (IopsRead, 10, 0, 1)], 0).unwrap();
        limits(&[(BpsRead, 10, 0, 1), (BpsWrite, 10, 0, 1)], 0).unwrap();
    }

    #[test]
    fn invalid_limits_are_refused_by_the_rule_they_break() {
        let bps = |average, maximum, length| {
            limits(&[(Measure::BpsTotal, average, maximum, length)], 0).err()
        };
        assert_eq!(bps(VALUE_MAX, VALUE_MAX, 1), None);
        assert_eq!(bps(VALUE_MAX + 1, 0, 1), Some(LimitsError::OutOfRange));
        assert_eq!(bps(1, VALUE_MAX + 1, 1), Some(LimitsError::OutOfRange));
        assert_eq!(bps(1, 1, 0), Some(LimitsError::NoLength));
        assert_eq!(bps(1, 0, 2), Some(LimitsError::LengthWithoutMaximum));
        assert_eq!(bps(1, 1 << 20, 1 << 40), Some(LimitsError::LengthTooHigh));
        assert_eq!(bps(0, 1, 1), Some(LimitsError::MaximumWithoutAverage));
        assert_eq!(bps(2, 1, 1), Some(LimitsError::MaximumBelowAverage));
        assert_eq!(bps(2, 2, 60), None);
        let sized = limits(&[(Measure::BpsTotal, 10, 0, 1)], 4096);
        assert_eq!(sized.unwrap_err(), LimitsError::SizeWithoutIops);
        limits(&[(Measure::IopsWrite, 10, 0, 1)], 4096).unwrap();
    }

    #[test]
    fn only_limits_that_go_together_are_restored() {
        let good = limits(&[(Measure::BpsTotal, 10, 20, 3)], 0).unwrap();
        let text = serde_json::to_string(&good).unwrap();
        assert_eq!(serde_json::from_str::<Limits>(&text).unwrap(), good);
        let bad = text.replace("\"maximum\":20", "\"maximum\":5");
        let error = serde_json::from_str::<Limits>(&bad).unwrap_err();
        let expected = LimitsError::MaximumBelowAverage.to_string();
        assert!(error.to_string().starts_with(&expected), "{error}");
    }

    #[test]
    fn limits_are_none_only_when_nothing_is_limited() {
        assert!(limits(&[], 0).unwrap().are_none());
        for measure in Measure::ALL {
            assert!(!limits(&[(measure, 1, 0, 1)], 0).unwrap().are_none());
        }
    }

    #[test]
    fn errors_are_in_qemus_words() {
        assert_eq!(
            LimitsError::OutOfRange.to_string(),
            "bps/iops/max values must be within [0, 1000000000000000]"
        );
    }
}
