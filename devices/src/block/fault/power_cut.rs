//! A power cut in the schema's form.

use faultvisor_schema::{BlockPowerCutSurvive, BlockPowerCutThen};

use super::rule_error::RuleError;
use crate::block::model::power_cut::{Survival, Then};
use crate::block::model::request::SECTOR_SIZE;

/// What a power cut keeps; nothing by default.
pub fn survival(given: Option<BlockPowerCutSurvive>) -> Survival {
    match given {
        None | Some(BlockPowerCutSurvive::None) => Survival::None,
        Some(BlockPowerCutSurvive::All) => Survival::All,
        Some(BlockPowerCutSurvive::Prefix) => Survival::Prefix,
        Some(BlockPowerCutSurvive::Random) => Survival::Random,
    }
}

/// What the machine does after a power cut; by default it is reset.
pub fn then(given: Option<BlockPowerCutThen>) -> Then {
    match given {
        None | Some(BlockPowerCutThen::Reset) => Then::Reset,
        Some(BlockPowerCutThen::Stop) => Then::Stop,
        Some(BlockPowerCutThen::Quit) => Then::Quit,
    }
}

/// The unit of a torn write's end; whole sectors by default.
///
/// # Errors
///
/// [`RuleError::Value`] for a value that is not a power of two, or more than a sector.
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
