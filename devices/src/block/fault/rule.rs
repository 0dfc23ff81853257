//! What a rule is: which requests, and what becomes of them.

use faultvisor_schema::{BlockFaultOperation, BlockFaultRule};

use super::action::{FaultAction, properties};
use super::kinds::Kinds;
use super::names::check_name;
use super::rule_error::RuleError;

/// Which requests a rule is about. All of it has to hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// What the request asks for.
    pub kinds: Kinds,
    /// The first sector, and the number of sectors, of a part of the disk that it overlaps.
    pub sectors: Option<(u64, u64)>,
    /// The state of the disk's engine.
    pub state: Option<String>,
    /// Least length of the request, in bytes.
    pub min_bytes: u64,
    /// Greatest.
    pub max_bytes: u64,
    /// So many requests for which the above holds are let pass first.
    pub skip: u64,
    /// The rule fires so many times.
    pub count: u64,
    /// With what probability it fires.
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

/// Which requests, and what becomes of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// Which requests.
    pub matching: Match,
    /// What becomes of them.
    pub action: FaultAction,
    /// What chance decides follows from it.
    pub seed: u64,
}

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
    if given.operations.is_none() {
        let kinds = properties(given.action.tag()).kinds;
        let all = BlockFaultOperation::ALL.iter().copied();
        given.operations = Some(all.filter(|of| kinds.contains(Kinds::named(*of))).collect());
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
