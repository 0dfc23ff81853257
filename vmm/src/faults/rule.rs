//! From the schema's rule to the engine's.

use faultvisor_devices::block::fault::rule::{Action, Kinds, Match, Rule};
use faultvisor_schema::{BlockFaultOperation, BlockFaultRule};

use super::action::action;
use super::error::RuleError;

/// Longest name of a rule or a state, in bytes.
const MAX_NAME: usize = 127;

/// Fills in what a client may leave out of a rule and should find in it later: its name, its seed,
/// the length of a part of the disk, and the operations that it is about.
pub fn complete(
    given: &mut BlockFaultRule,
    id: impl FnOnce() -> String,
    seed: impl FnOnce() -> u64,
) {
    given.id.get_or_insert_with(id);
    given.seed.get_or_insert_with(seed);
    if given.sector.is_some() {
        given.sectors.get_or_insert(1);
    }
    // With an action that cannot be one, the rule is refused anyway.
    if given.operations.is_none()
        && let Ok(action) = action(&given.action, u64::MAX)
    {
        let kinds = action.applicable().kinds;
        let all = BlockFaultOperation::ALL.iter().copied();
        given.operations = Some(all.filter(|of| kinds.contains(kind(*of))).collect());
    }
}

/// Turns a rule, whose name and seed are filled in, into one for the engine of a disk of that many
/// sectors.
///
/// # Errors
///
/// [`RuleError`] names the member that cannot be as it is.
pub fn rule(given: &BlockFaultRule, disk_sectors: u64) -> Result<Rule, RuleError> {
    let missing = |member| RuleError::Missing {
        member,
        reason: "".into(),
    };
    let id = given.id.as_deref().ok_or_else(|| missing("id"))?;
    name("id", id)?;
    let seed = given.seed.ok_or_else(|| missing("seed"))?;
    let action = action(&given.action, disk_sectors)?;
    let matching = Match {
        kinds: kinds(given, &action)?,
        sectors: sectors(given, disk_sectors)?,
        state: given
            .state
            .as_deref()
            .map(|state| name("state", state).map(|()| state.to_owned()))
            .transpose()?,
        skip: given.skip.unwrap_or(0),
        count: count(given)?,
        probability: probability(given)?,
        ..lengths(given)?
    };
    Ok(Rule {
        id: id.to_owned(),
        matching,
        action,
        seed,
    })
}

/// Checks the name of a rule or of a state.
///
/// # Errors
///
/// It is empty, too long, or has control characters.
pub fn name(member: &'static str, name: &str) -> Result<(), RuleError> {
    if name.is_empty() {
        Err(RuleError::Empty(member))
    } else if name.len() > MAX_NAME {
        Err(RuleError::TooLong {
            member,
            bytes: name.len(),
            most: MAX_NAME,
        })
    } else if name.chars().any(char::is_control) {
        let reason = "has control characters";
        Err(RuleError::text(member, name, reason))
    } else {
        Ok(())
    }
}

/// The engine's word for an operation.
pub(super) fn kind(operation: BlockFaultOperation) -> Kinds {
    match operation {
        BlockFaultOperation::Read => Kinds::READ,
        BlockFaultOperation::Write => Kinds::WRITE,
        BlockFaultOperation::Flush => Kinds::FLUSH,
        BlockFaultOperation::Discard => Kinds::DISCARD,
        BlockFaultOperation::WriteZeroes => Kinds::WRITE_ZEROES,
    }
}

fn kinds(given: &BlockFaultRule, action: &Action) -> Result<Kinds, RuleError> {
    let applicable = action.applicable();
    let Some(operations) = &given.operations else {
        return Ok(applicable.kinds);
    };
    if operations.is_empty() {
        return Err(RuleError::Empty("operations"));
    }
    let mut kinds = Kinds::NONE;
    for operation in operations {
        let kind = kind(*operation);
        if kinds.contains(kind) {
            return Err(RuleError::Twice(operation.name()));
        }
        if !applicable.kinds.contains(kind) {
            return Err(RuleError::Inapplicable {
                action: given.action.tag().name(),
                to: applicable.words,
                operation: operation.name(),
            });
        }
        kinds = kinds.with(kind);
    }
    Ok(kinds)
}

fn sectors(given: &BlockFaultRule, disk: u64) -> Result<Option<(u64, u64)>, RuleError> {
    let (first, count) = match (given.sector, given.sectors) {
        (None, None) => return Ok(None),
        (None, Some(count)) => {
            return Err(RuleError::Missing {
                member: "sector",
                reason: format!(", and 'sectors' is {count}").into(),
            });
        }
        (Some(_), Some(0)) => {
            let reason = "is no part of the disk";
            return Err(RuleError::value("sectors", &0, reason));
        }
        (Some(first), count) => (first, count.unwrap_or(1)),
    };
    let end = u128::from(first) + u128::from(count);
    if end <= u128::from(disk) {
        Ok(Some((first, count)))
    } else {
        Err(RuleError::OffDisk {
            first,
            last: end - 1,
            disk,
        })
    }
}

/// The lengths of the requests, and all else as of a rule without conditions.
fn lengths(given: &BlockFaultRule) -> Result<Match, RuleError> {
    let all = Match::all(Kinds::ALL);
    let (least, most) = (
        given.min_bytes.unwrap_or(all.min_bytes),
        given.max_bytes.unwrap_or(all.max_bytes),
    );
    if least > most {
        let reason = format!("is more than 'max-bytes', {most}");
        return Err(RuleError::value("min-bytes", &least, reason));
    }
    Ok(Match {
        min_bytes: least,
        max_bytes: most,
        ..all
    })
}

fn count(given: &BlockFaultRule) -> Result<u64, RuleError> {
    match given.count {
        Some(0) => Err(RuleError::value("count", &0, "lets the rule never fire")),
        count => Ok(count.unwrap_or(u64::MAX)),
    }
}

fn probability(given: &BlockFaultRule) -> Result<f64, RuleError> {
    let probability = given.probability.unwrap_or(1.0);
    if (0.0..=1.0).contains(&probability) {
        Ok(probability)
    } else {
        let reason = "is not from 0 to 1";
        Err(RuleError::number("probability", probability, reason))
    }
}
