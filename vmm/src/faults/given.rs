//! The rules that a machine is given before it begins.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use faultvisor_devices::block::fault::Rule;
use faultvisor_schema::BlockFaultRule;
use rustix::rand::{GetRandomFlags, getrandom};

use super::error::{FaultsError, Origin, Problem};
use super::{complete, key_value, rule};

/// A rule, and where it was written.
#[derive(Debug, Clone)]
pub struct GivenRule {
    /// The rule, as it was written.
    pub rule: BlockFaultRule,
    /// Where.
    pub origin: Origin,
}

/// Understands the value of `--fault`.
///
/// # Errors
///
/// [`FaultsError`] names the key that is wrong.
pub fn option(text: &str) -> Result<GivenRule, FaultsError> {
    let origin = Origin::Option("fault");
    match key_value::parse(text) {
        Ok(rule) => Ok(GivenRule { rule, origin }),
        Err(problem) => Err(FaultsError::new(origin, problem)),
    }
}

/// Checks what can be known before there are disks: that they are going to be there, and that each
/// rule has a name of its own.
///
/// # Errors
///
/// [`FaultsError`] names the rule.
pub fn check(given: &[GivenRule], has_drive: impl Fn(&str) -> bool) -> Result<(), FaultsError> {
    let mut names = BTreeMap::new();
    for GivenRule { rule, origin } in given {
        let refuse = |problem| FaultsError::new(origin.clone(), problem);
        if !has_drive(&rule.device) {
            return Err(refuse(Problem::NoDrive(rule.device.clone())));
        }
        if let Some(id) = &rule.id
            && let Some(other) = names.insert(id, origin)
        {
            let (id, other) = (id.clone(), other.clone());
            return Err(refuse(Problem::SameId { id, other }));
        }
    }
    Ok(())
}

/// Makes rules for the disks' engines of those that were given, in their order; `sectors` says how
/// many sectors a disk has. Beside each stands what a client is shown of it.
///
/// # Errors
///
/// [`FaultsError`] names the rule that cannot be, or whose disk there is not.
pub fn resolve(
    given: &[GivenRule],
    sectors: impl Fn(&str) -> Option<u64>,
) -> Result<Vec<(BlockFaultRule, Rule)>, FaultsError> {
    let ids = given.iter().filter_map(|given| given.rule.id.as_deref());
    let ids: BTreeSet<&str> = ids.collect();
    let mut free = free_ids(|id| ids.contains(id));
    let mut resolved = Vec::with_capacity(given.len());
    for GivenRule {
        rule: given,
        origin,
    } in given
    {
        let refuse = |problem| FaultsError::new(origin.clone(), problem);
        let no_drive = || refuse(Problem::NoDrive(given.device.clone()));
        let sectors = sectors(&given.device).ok_or_else(no_drive)?;
        let seed = match given.seed {
            Some(seed) => seed,
            None => random_seed().map_err(|error| refuse(Problem::Seed(error.to_string())))?,
        };
        let mut shown = given.clone();
        complete(&mut shown, || free.next().unwrap_or_default(), || seed);
        let rule = rule(&shown, sectors).map_err(|error| refuse(error.into()))?;
        resolved.push((shown, rule));
    }
    Ok(resolved)
}

/// Names for rules that nobody named.
pub fn free_ids(is_taken: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    let names = (0_u64..).map(|number| format!("fault{number}"));
    names.filter(move |name| !is_taken(name))
}

/// A seed for a rule that was given none: one that every client's JSON can hold, whose numbers may
/// have 53 bits.
///
/// # Errors
///
/// What the host says when it has no random numbers.
pub fn random_seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(u64::from_ne_bytes(bytes) >> 11)
}
