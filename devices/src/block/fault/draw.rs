//! Random choices of rules (how long, which bits, which sectors), and their results.

use std::borrow::Cow;
use std::time::Duration;

use faultvisor_schema::{
    BlockFaultCorrupt, BlockFaultDelay, BlockFaultPercentile, BlockFaultTorn, BlockFaultTornKeep,
};
use serde::{Deserialize, Serialize};

use super::rng::Chance;
use super::rule_error::{RuleError, plain};
use crate::block::model::io_buffers::IoBuffers;

/// Longest delay of a rule, or of a line of a log.
pub const MAX_DELAY: Duration = Duration::from_secs(3600);

/// Most bits that a rule flips in a request.
pub const MAX_FLIPPED_BITS: u32 = 1 << 16;

/// Longest pattern, in bytes.
pub const MAX_PATTERN: usize = 4096;

/// Most random choices for the sectors of one request. In a request of more than 32 MiB, which no usual driver sends,
/// neighbouring sectors share one: otherwise it would become a million writes.
const MAX_COINS: u64 = 1 << 16;

/// Most bytes that a rule overwrites in a request: more than a request can have.
const MAX_OVERWRITTEN: u64 = 32 << 20;

/// A delay's distribution.
#[derive(Debug, Clone, PartialEq)]
pub enum Delay {
    /// A fixed time in microseconds.
    Fixed(u64),
    /// Uniform between these two, in microseconds.
    Uniform(u64, u64),
    /// Points of a distribution, in ascending order; the last is the 100th percentile.
    Percentiles(Vec<Percentile>),
}

/// A point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Percentile {
    /// The percentage of requests that have at most this delay.
    pub percentile: f64,
    /// The delay.
    pub microseconds: u64,
}

impl Delay {
    /// Converts a rule's delay from the schema's form.
    pub(super) fn new(given: &BlockFaultDelay) -> Result<Self, RuleError> {
        let has_bounds = given.min_microseconds.is_some() || given.max_microseconds.is_some();
        let delay = match (given.microseconds, has_bounds, &given.percentiles) {
            (Some(microseconds), false, None) => {
                Delay::Fixed(at_most_an_hour("microseconds", microseconds)?)
            }
            (None, true, None) => bounds(given.min_microseconds, given.max_microseconds)?,
            (None, false, Some(points)) => percentiles(points)?,
            _ => {
                return Err(RuleError::Choice {
                    action: "delay",
                    members: "'microseconds', 'min-microseconds' with 'max-microseconds', and \
                              'percentiles'",
                });
            }
        };
        Ok(delay)
    }

    /// Draws a delay in microseconds.
    pub(super) fn draw(&self, chance: &mut Chance) -> u64 {
        match self {
            Self::Fixed(microseconds) => *microseconds,
            Self::Uniform(least, most) => {
                let values = most.saturating_sub(*least).saturating_add(1);
                least.saturating_add(chance.below(values))
            }
            Self::Percentiles(points) => {
                let drawn = chance.fraction() * 100.0;
                let above = points.partition_point(|point| point.percentile <= drawn);
                let at = |index: usize| points.get(index).copied();
                match (above.checked_sub(1).and_then(at), at(above)) {
                    (Some(low), Some(high)) => between(low, high, drawn),
                    (None, Some(only)) | (Some(only), None) => only.microseconds,
                    (None, None) => 0,
                }
            }
        }
    }
}

/// The delay at a percentile between two points.
fn between(low: Percentile, high: Percentile, drawn: f64) -> u64 {
    // In millionths of the interval: integer arithmetic is the same on every machine.
    let part = (drawn - low.percentile) / (high.percentile - low.percentile);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of one, in millionths; the conversion keeps within the bounds of the type"
    )]
    let millionths = (part.clamp(0.0, 1.0) * 1e6) as u64;
    let way = high.microseconds.saturating_sub(low.microseconds);
    let step = u128::from(way) * u128::from(millionths) / 1_000_000;
    low.microseconds
        .saturating_add(u64::try_from(step).unwrap_or(u64::MAX))
}

fn bounds(least: Option<u64>, most: Option<u64>) -> Result<Delay, RuleError> {
    let missing = |member, other, value| RuleError::Missing {
        member,
        reason: format!(", and '{other}' is {value}").into(),
    };
    let (least_name, most_name) = ("min-microseconds", "max-microseconds");
    let (least, most) = match (least, most) {
        (Some(least), Some(most)) => (least, most),
        (Some(least), None) => return Err(missing(most_name, least_name, least)),
        (None, most) => return Err(missing(least_name, most_name, most.unwrap_or_default())),
    };
    at_most_an_hour(most_name, most)?;
    if least <= most {
        Ok(Delay::Uniform(least, most))
    } else {
        let reason = format!("is more than '{most_name}', {most}");
        Err(RuleError::value(least_name, &least, reason))
    }
}

fn at_most_an_hour(
    member: impl Into<Cow<'static, str>>,
    microseconds: u64,
) -> Result<u64, RuleError> {
    if u128::from(microseconds) <= MAX_DELAY.as_micros() {
        Ok(microseconds)
    } else {
        let reason = "is more than an hour";
        Err(RuleError::value(member, &microseconds, reason))
    }
}

fn percentiles(given: &[BlockFaultPercentile]) -> Result<Delay, RuleError> {
    let Some(last) = given.last() else {
        return Err(RuleError::Empty("percentiles"));
    };
    let mut points: Vec<Percentile> = Vec::with_capacity(given.len());
    for (index, point) in given.iter().enumerate() {
        let percentile = format!("percentiles[{index}].percentile");
        let microseconds = format!("percentiles[{index}].microseconds");
        if !(0.0..=100.0).contains(&point.percentile) {
            let reason = "is not from 0 to 100";
            return Err(RuleError::number(percentile, point.percentile, reason));
        }
        if let Some(before) = points.last() {
            if point.percentile <= before.percentile {
                let reason = format!("is not more than that before, {}", plain(before.percentile));
                return Err(RuleError::number(percentile, point.percentile, reason));
            }
            if point.microseconds < before.microseconds {
                let reason = format!("is less than those before, {}", before.microseconds);
                return Err(RuleError::value(microseconds, &point.microseconds, reason));
            }
        }
        points.push(Percentile {
            percentile: point.percentile,
            microseconds: at_most_an_hour(microseconds, point.microseconds)?,
        });
    }
    if last.percentile < 100.0 {
        let member = format!("percentiles[{}].percentile", given.len() - 1);
        let reason = "is the last one and not 100";
        return Err(RuleError::number(member, last.percentile, reason));
    }
    Ok(Delay::Percentiles(points))
}

/// A run of sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SectorRun {
    /// The first, relative to the request's first.
    pub first: u64,
    /// Their number.
    pub count: u64,
}

/// An alteration of a request's data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Flips these bits: bit 0 is the lowest of the first byte.
    Flip(Vec<u64>),
    /// Overwrites bytes.
    Overwrite {
        /// The first byte.
        offset: u64,
        /// Their number.
        length: u64,
        /// The pattern, which is repeated.
        pattern: Vec<u8>,
    },
}

impl Change {
    /// Alters data. Bytes beyond their end are ignored.
    pub(super) fn apply(&self, data: &IoBuffers) {
        match self {
            Self::Flip(bits) => {
                // A log may have them in any order.
                let mut bits = bits.clone();
                bits.sort_unstable();
                data.invert(&bits);
            }
            Self::Overwrite {
                offset,
                length,
                pattern,
            } => data.part(*offset, *length).fill_with(pattern),
        }
    }
}

/// How data are corrupted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Corruption {
    /// Flips this many bits, anywhere.
    FlipBits(u32),
    /// Overwrites bytes.
    Overwrite {
        /// The first byte, relative to the first of the data.
        offset: u64,
        /// Their number.
        length: u64,
        /// The pattern, which is repeated and not empty.
        pattern: Vec<u8>,
    },
}

impl Corruption {
    /// Converts a rule's corruption from the schema's form.
    pub(super) fn new(given: &BlockFaultCorrupt) -> Result<Self, RuleError> {
        match (given.flip_bits, &given.pattern) {
            (Some(bits), None) => {
                let overwriting = [("offset", given.offset), ("length", given.length)];
                for (member, value) in overwriting {
                    if let Some(value) = value {
                        let reason = "goes with 'pattern' and not with 'flip-bits'";
                        return Err(RuleError::value(member, &value, reason));
                    }
                }
                if !(1..=MAX_FLIPPED_BITS).contains(&bits) {
                    let reason = format!("is not from 1 to {MAX_FLIPPED_BITS}");
                    return Err(RuleError::value("flip-bits", &bits, reason));
                }
                Ok(Corruption::FlipBits(bits))
            }
            (None, Some(text)) => {
                let pattern = hexadecimal(text)?;
                let offset = given.offset.unwrap_or(0);
                let length = given.length.unwrap_or(pattern.len() as u64);
                if !(1..=MAX_OVERWRITTEN).contains(&length) {
                    let reason = format!("is not from 1 to {MAX_OVERWRITTEN}");
                    return Err(RuleError::value("length", &length, reason));
                }
                if offset.checked_add(length).is_none() {
                    let reason = "is behind the end of every request";
                    return Err(RuleError::value("offset", &offset, reason));
                }
                Ok(Corruption::Overwrite {
                    offset,
                    length,
                    pattern,
                })
            }
            _ => Err(RuleError::Choice {
                action: "corrupt",
                members: "'flip-bits' and 'pattern'",
            }),
        }
    }

    /// Draws an alteration of this many bytes of data.
    pub(super) fn draw(&self, length: u64, chance: &mut Chance) -> Change {
        match self {
            Self::FlipBits(count) => {
                Change::Flip(different(*count, length.saturating_mul(8), chance))
            }
            Self::Overwrite {
                offset,
                length,
                pattern,
            } => Change::Overwrite {
                offset: *offset,
                length: *length,
                pattern: pattern.clone(),
            },
        }
    }
}

/// This many distinct numbers below `bound`, in ascending order; all of them if there are not more (Floyd's algorithm).
fn different(count: u32, bound: u64, chance: &mut Chance) -> Vec<u64> {
    let mut drawn = std::collections::BTreeSet::new();
    for last in bound.saturating_sub(u64::from(count))..bound {
        let number = chance.below(last + 1);
        if !drawn.insert(number) {
            drawn.insert(last);
        }
    }
    drawn.into_iter().collect()
}

fn hexadecimal(text: &str) -> Result<Vec<u8>, RuleError> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let Some(digits) = digits else {
        let reason = "is not hexadecimal";
        return Err(RuleError::text("pattern", text, reason));
    };
    if digits.is_empty() {
        return Err(RuleError::Empty("pattern"));
    }
    if !digits.len().is_multiple_of(2) {
        let reason = "has an odd number of digits";
        return Err(RuleError::text("pattern", text, reason));
    }
    let bytes = digits.len() / 2;
    if bytes > MAX_PATTERN {
        return Err(RuleError::TooLong {
            member: "pattern",
            bytes,
            most: MAX_PATTERN,
        });
    }
    let byte = |pair: &[u32]| {
        let value = pair.iter().fold(0, |value, digit| value << 4 | digit);
        u8::try_from(value).unwrap_or(u8::MAX)
    };
    Ok(digits.chunks_exact(2).map(byte).collect())
}

/// The part of a torn write that reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// The first sectors, of this number.
    First(u64),
    /// The last sectors, of this number.
    Last(u64),
    /// Each sector with probability one half.
    Random,
}

impl Tear {
    /// Converts a rule's tear from the schema's form.
    pub(super) fn new(given: &BlockFaultTorn) -> Result<Self, RuleError> {
        match (given.keep, given.keep_sectors) {
            (BlockFaultTornKeep::First, Some(sectors)) => Ok(Tear::First(sectors)),
            (BlockFaultTornKeep::Last, Some(sectors)) => Ok(Tear::Last(sectors)),
            (BlockFaultTornKeep::Random, None) => Ok(Tear::Random),
            (BlockFaultTornKeep::Random, Some(sectors)) => {
                let reason = "does not go with 'keep' as 'random'";
                Err(RuleError::value("keep-sectors", &sectors, reason))
            }
            (keep, None) => Err(RuleError::Missing {
                member: "keep-sectors",
                reason: format!(", and 'keep' is '{}'", keep.name()).into(),
            }),
        }
    }

    /// Draws the sectors that reach the disk, of a write of this many.
    pub(super) fn draw(self, sectors: u64, chance: &mut Chance) -> Vec<SectorRun> {
        let run = |first, count| SectorRun { first, count };
        let kept: Vec<SectorRun> = match self {
            Self::First(count) => vec![run(0, count.min(sectors))],
            Self::Last(count) => {
                let count = count.min(sectors);
                vec![run(sectors - count, count)]
            }
            Self::Random => {
                let step = sectors.div_ceil(MAX_COINS).max(1);
                let mut runs: Vec<SectorRun> = Vec::new();
                let mut first = 0;
                while first < sectors {
                    let count = step.min(sectors - first);
                    if chance.coin() {
                        match runs.last_mut() {
                            Some(last) if last.first + last.count == first => last.count += count,
                            _ => runs.push(run(first, count)),
                        }
                    }
                    first += count;
                }
                runs
            }
        };
        kept.into_iter().filter(|run| run.count > 0).collect()
    }
}
