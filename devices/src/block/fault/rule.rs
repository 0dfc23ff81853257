//! Rules: conditions and an action.

use faultvisor_schema::{BlockFaultOperation, BlockFaultRule};

use super::action::{FaultAction, properties};
use super::kinds::Kinds;
use super::names::check_name;
use super::rule_error::RuleError;

/// The maximum number of rules of a machine.
pub const MAX_RULES: usize = 10_000;

/// The conditions of a rule. All of them must hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The request's operation.
    pub kinds: Kinds,
    /// The first sector and the length of a range that it overlaps.
    pub sectors: Option<(u64, u64)>,
    /// The engine's state.
    pub state: Option<String>,
    /// Minimum length of the request in bytes.
    pub min_bytes: u64,
    /// Maximum length.
    pub max_bytes: u64,
    /// The number of requests that meet the conditions above and are skipped first.
    pub skip: u64,
    /// The maximum number of times that the rule fires.
    pub count: u64,
    /// The probability that it fires.
    pub probability: f64,
}

impl Match {
    /// Every request of these kinds.
    pub fn all(kinds: Kinds) -> Self {
        Self {
            kinds,
            sectors: None,
            state: None,
            min_bytes: 0,
            max_bytes: u64::MAX,
            skip: 0,
            count: u64::MAX,
            probability: 1.0,
        }
    }
}

/// Conditions and an action.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// The conditions.
    pub matching: Match,
    /// The action.
    pub action: FaultAction,
    /// The seed of its random choices.
    pub seed: u64,
}

/// Completes what a client may leave out of a rule, for later queries: its name, its seed, the length of its range, and
/// its operations.
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
    if given.operations.is_none() {
        let kinds = properties(given.action.tag()).kinds;
        let all = BlockFaultOperation::ALL.iter().copied();
        given.operations = Some(all.filter(|of| kinds.contains(Kinds::named(*of))).collect());
    }
}

/// Converts a rule, with name and seed, into one for the engine of a disk of this many sectors.
///
/// # Errors
///
/// [`RuleError`] names the invalid member.
pub fn rule(given: &BlockFaultRule, disk_sectors: u64) -> Result<Rule, RuleError> {
    let missing = |member| RuleError::Missing {
        member,
        reason: "".into(),
    };
    let id = given.id.as_deref().ok_or_else(|| missing("id"))?;
    check_name("id", id)?;
    let seed = given.seed.ok_or_else(|| missing("seed"))?;
    let action = FaultAction::new(&given.action, disk_sectors)?;
    let matching = Match {
        kinds: kinds(given)?,
        sectors: sectors(given, disk_sectors)?,
        state: given
            .state
            .as_deref()
            .map(|state| check_name("state", state).map(|()| state.to_owned()))
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

fn kinds(given: &BlockFaultRule) -> Result<Kinds, RuleError> {
    let applicable = properties(given.action.tag());
    let Some(operations) = &given.operations else {
        return Ok(applicable.kinds);
    };
    if operations.is_empty() {
        return Err(RuleError::Empty("operations"));
    }
    let mut kinds = Kinds::NONE;
    for operation in operations {
        let kind = Kinds::named(*operation);
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

/// Checks the lengths, and takes everything else as in a rule without conditions.
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
