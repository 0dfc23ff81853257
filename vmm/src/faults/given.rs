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

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Vec<GivenRule> {
        texts.iter().map(|text| option(text).unwrap()).collect()
    }

    fn sectors(disk: &str) -> Option<u64> {
        match disk {
            "small" => Some(8),
            "large" => Some(16),
            _ => None,
        }
    }

    #[test]
    fn rules_without_a_name_or_a_seed_get_their_own() {
        let given = given(&[
            "device=small,action=hang",
            "device=large,action=hang,id=fault0,seed=7",
            "device=large,action=hang,seed=8",
        ]);
        let resolved = resolve(&given, sectors).unwrap();
        let ids: Vec<_> = resolved.iter().map(|(_, rule)| rule.id.as_str()).collect();
        assert_eq!(ids, ["fault1", "fault0", "fault2"]);
        for (shown, rule) in &resolved {
            assert_eq!(shown.id.as_ref(), Some(&rule.id));
            assert_eq!(shown.seed, Some(rule.seed));
        }
        let seeds: Vec<_> = resolved.iter().map(|(_, rule)| rule.seed).collect();
        assert_eq!(seeds[1..], [7, 8]);
        assert!(seeds[0] < 1 << 53);
    }

    #[test]
    fn a_part_of_a_disk_has_to_be_on_that_disk() {
        let given = given(&[
            "device=large,action=hang,sector=8",
            "device=small,action=hang,sector=8",
        ]);
        assert!(resolve(&given[..1], sectors).is_ok());
        let error = resolve(&given, sectors).unwrap_err().to_string();
        assert_eq!(error, "--fault: sector 8 is not on the disk, which has 8");
    }

    #[test]
    fn a_rule_needs_a_disk_and_a_name_that_no_other_has() {
        let error = |texts: &[&str]| {
            let refused = check(&given(texts), |disk| sectors(disk).is_some());
            refused.unwrap_err().to_string()
        };
        let other = ["device=other,action=hang"];
        assert_eq!(error(&other), "--fault: there is no drive 'other'");
        let unknown = resolve(&given(&other), sectors).unwrap_err();
        assert_eq!(unknown.to_string(), error(&other));
        let same = [
            "device=small,action=hang,id=a",
            "device=large,action=hang,id=a",
        ];
        let expected = "--fault: the id 'a' is that of another rule (--fault)";
        assert_eq!(error(&same), expected);
    }
}
