//! From the schema's actions to the engine's.

use std::borrow::Cow;

use faultvisor_devices::block::fault::rule::{
    Action, Corruption, Delay, MAX_DELAY, MAX_FLIPPED_BITS, MAX_PATTERN, Percentile, Tear,
};
use faultvisor_devices::block::model::power_cut::{Survival, Then};
use faultvisor_devices::block::model::request::SECTOR_SIZE;
use faultvisor_schema::{
    BlockFaultCorrupt, BlockFaultDelay, BlockFaultPercentile, BlockFaultPowerCut,
    BlockFaultRuleBranch, BlockFaultTorn, BlockFaultTornKeep, BlockPowerCutSurvive,
    BlockPowerCutThen,
};

use super::errno::errno_of;
use super::error::{RuleError, plain};
use super::rule::name;

/// Most bytes that one rule overwrites in one request: more than a request can have.
const MAX_OVERWRITTEN: u64 = 32 << 20;

/// What becomes of a request of a disk of that many sectors.
pub(super) fn action(given: &BlockFaultRuleBranch, disk_sectors: u64) -> Result<Action, RuleError> {
    Ok(match given {
        BlockFaultRuleBranch::Error(error) => Action::Error {
            errno: errno_of(&error.errno)?,
            after: error.after.unwrap_or(false),
        },
        BlockFaultRuleBranch::Delay(given) => Action::Delay(delay(given)?),
        BlockFaultRuleBranch::Hang => Action::Hang,
        BlockFaultRuleBranch::Corrupt(given) => Action::Corrupt(corruption(given)?),
        BlockFaultRuleBranch::Torn(given) => Action::Torn {
            tear: tear(given)?,
            errno: given.errno.as_ref().map(errno_of).transpose()?,
        },
        BlockFaultRuleBranch::Drop => Action::Drop,
        BlockFaultRuleBranch::Misdirect(given) => Action::Misdirect {
            to_sector: on_disk(given.to_sector, disk_sectors)?,
        },
        BlockFaultRuleBranch::SetState(given) => {
            name("new-state", &given.new_state)?;
            Action::SetState(given.new_state.clone())
        }
        BlockFaultRuleBranch::Stop => Action::Stop,
        BlockFaultRuleBranch::PowerCut(given) => power_cut(given)?,
    })
}

fn on_disk(sector: u64, disk: u64) -> Result<u64, RuleError> {
    if sector < disk {
        Ok(sector)
    } else {
        let reason = format!("is not on the disk, which has {disk}");
        Err(RuleError::value("to-sector", &sector, reason))
    }
}

fn delay(given: &BlockFaultDelay) -> Result<Delay, RuleError> {
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

fn corruption(given: &BlockFaultCorrupt) -> Result<Corruption, RuleError> {
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

fn tear(given: &BlockFaultTorn) -> Result<Tear, RuleError> {
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

fn power_cut(given: &BlockFaultPowerCut) -> Result<Action, RuleError> {
    Ok(Action::PowerCut {
        survival: survival(given.survive),
        tear_bytes: tear_bytes(given.tear_bytes)?,
        then: then(given.then),
    })
}

/// What survives a power cut: nothing, unless something is said.
pub fn survival(given: Option<BlockPowerCutSurvive>) -> Survival {
    match given {
        None | Some(BlockPowerCutSurvive::None) => Survival::None,
        Some(BlockPowerCutSurvive::All) => Survival::All,
        Some(BlockPowerCutSurvive::Prefix) => Survival::Prefix,
        Some(BlockPowerCutSurvive::Random) => Survival::Random,
    }
}

/// What the machine does after a power cut: it begins again, unless something else is said.
pub fn then(given: Option<BlockPowerCutThen>) -> Then {
    match given {
        None | Some(BlockPowerCutThen::Reset) => Then::Reset,
        Some(BlockPowerCutThen::Stop) => Then::Stop,
        Some(BlockPowerCutThen::Quit) => Then::Quit,
    }
}

/// What a torn write ends at a multiple of: whole sectors, unless something else is said.
///
/// # Errors
///
/// [`RuleError::Value`] for what is no power of two, or more than a sector.
pub fn tear_bytes(given: Option<u32>) -> Result<u32, RuleError> {
    match given {
        None => Ok(u32::try_from(SECTOR_SIZE).unwrap_or(u32::MAX)),
        Some(bytes) if bytes.is_power_of_two() && u64::from(bytes) <= SECTOR_SIZE => Ok(bytes),
        Some(bytes) => {
            let reason = format!("is not a power of two from 1 to {SECTOR_SIZE}");
            Err(RuleError::value("tear-bytes", &bytes, reason))
        }
    }
}
