//! The rules that a machine is given before it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use faultvisor_devices::block::fault::rule::{Rule, complete, rule};
use faultvisor_devices::block::fault::rule_error::RuleError;
use faultvisor_schema::BlockFaultRule;
use rustix::rand::{GetRandomFlags, getrandom};

use super::error::{FaultsError, Origin, Problem};
use super::feasibility::{Doubt, Target, doubts, doubts_together};
use super::key_value;

/// A rule and its origin.
#[derive(Debug, Clone)]
pub struct GivenRule {
    /// The rule, as written.
    pub rule: BlockFaultRule,
    /// Its origin.
    pub origin: Origin,
    /// The treatment of a rule without effect.
    pub if_futile: IfFutile,
}

/// The treatment of a rule without effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfFutile {
    /// Refuse it.
    Refuse,
    /// Log it, as QEMU accepts it.
    Tell,
}

/// A machine's rules, resolved.
#[derive(Debug)]
pub struct Resolved {
    /// Each in the form for clients and in the form for the engine.
    pub rules: Vec<(BlockFaultRule, Rule)>,
    /// Warnings.
    pub notes: Vec<String>,
}

/// Parses the value of `--fault`.
///
/// # Errors
///
/// [`FaultsError`] names the wrong key.
pub fn option(text: &str) -> Result<GivenRule, FaultsError> {
    let origin = Origin::Option("fault");
    match key_value::parse(text) {
        Ok(rule) => Ok(GivenRule {
            rule,
            origin,
            if_futile: IfFutile::Refuse,
        }),
        Err(problem) => Err(FaultsError::new(origin, problem)),
    }
}

/// Checks what does not depend on open disks: that each rule's disk exists, and that names are unique.
///
/// # Errors
///
/// [`FaultsError`] names the rule.
pub fn check(given: &[GivenRule], has_drive: impl Fn(&str) -> bool) -> Result<(), FaultsError> {
    let mut names = BTreeMap::new();
    for GivenRule { rule, origin, .. } in given {
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

/// Converts rules into those of the disks' engines, in order; `target` describes a disk.
///
/// # Errors
///
/// [`FaultsError`] names a rule that is invalid, has no effect, or has no disk.
pub fn resolve(
    given: &[GivenRule],
    target: impl Fn(&str) -> Option<Target>,
) -> Result<Resolved, FaultsError> {
    let ids = given.iter().filter_map(|given| given.rule.id.as_deref());
    let ids: BTreeSet<&str> = ids.collect();
    let mut free = free_ids(|id| ids.contains(id));
    let mut rules = Vec::with_capacity(given.len());
    let mut notes = Vec::new();
    let note = |place: usize, rule: &BlockFaultRule, text: &str| {
        let id = rule.id.as_deref().unwrap_or_default();
        let origin = given.get(place).map(|given| given.origin.to_string());
        format!("{}: rule '{id}': {text}", origin.unwrap_or_default())
    };
    for (place, of) in given.iter().enumerate() {
        let refuse = |problem| FaultsError::new(of.origin.clone(), problem);
        let no_drive = || refuse(Problem::NoDrive(of.rule.device.clone()));
        let target = target(&of.rule.device).ok_or_else(no_drive)?;
        let seed = match of.rule.seed {
            Some(seed) => seed,
            None => random_seed().map_err(|error| refuse(Problem::Seed(error.to_string())))?,
        };
        let mut shown = of.rule.clone();
        complete(&mut shown, || free.next().unwrap_or_default(), || seed);
        let rule = rule(&shown, target.sectors).map_err(|error| refuse(error.into()))?;
        for doubt in doubts(&of.rule, &rule, &target) {
            match doubt {
                Doubt::Futile(text) if of.if_futile == IfFutile::Refuse => {
                    return Err(refuse(RuleError::Futile(text).into()));
                }
                Doubt::Futile(text) | Doubt::Questionable(text) => {
                    notes.push(note(place, &shown, &text));
                }
            }
        }
        rules.push((shown, rule));
    }
    let all: Vec<_> = rules.iter().map(|(shown, _)| shown).collect();
    for (place, text) in doubts_together(&all) {
        notes.extend(all.get(place).map(|rule| note(place, rule, &text)));
    }
    Ok(Resolved { rules, notes })
}

/// Names for rules without one.
pub fn free_ids(is_taken: impl Fn(&str) -> bool) -> impl Iterator<Item = String> {
    let names = (0_u64..).map(|number| format!("fault{number}"));
    names.filter(move |name| !is_taken(name))
}

/// A seed for a rule without one: of at most 53 bits, so that every client's JSON can represent it.
///
/// # Errors
///
/// The host's error if it has no random numbers.
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

    fn target(disk: &str) -> Option<Target> {
        match disk {
            "small" => Some(Target::of(8)),
            "large" => Some(Target::of(16)),
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
        let resolved = resolve(&given, target).unwrap().rules;
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
    fn a_futile_rule_is_refused_or_noted_with_its_origin() {
        let futile = given(&["device=small,action=hang,probability=0"]);
        let error = resolve(&futile, target).unwrap_err().to_string();
        let expected = "--fault: 'probability' is 0, which lets the rule never fire";
        assert_eq!(error, expected);
        // QEMU accepts such rules, and so they are only logged.
        let of_blkdebug = GivenRule {
            if_futile: IfFutile::Tell,
            ..futile[0].clone()
        };
        let notes = resolve(&[of_blkdebug], target).unwrap().notes;
        let note = "--fault: rule 'fault0': 'probability' is 0, which lets the rule never fire";
        assert_eq!(notes, [note]);
        let hidden = given(&["device=small,action=hang", "device=small,action=stop,id=x"]);
        let notes = resolve(&hidden, target).unwrap().notes;
        let note = "--fault: rule 'x': rule 'fault0' before it decides about each of its requests";
        assert_eq!(notes, [note]);
    }

    #[test]
    fn a_part_of_a_disk_has_to_be_on_that_disk() {
        let given = given(&[
            "device=large,action=hang,sector=8",
            "device=small,action=hang,sector=8",
        ]);
        assert!(resolve(&given[..1], target).is_ok());
        let error = resolve(&given, target).unwrap_err().to_string();
        assert_eq!(error, "--fault: sector 8 is not on the disk, which has 8");
    }

    #[test]
    fn a_rule_needs_a_disk_and_a_name_that_no_other_has() {
        let error = |texts: &[&str]| {
            let refused = check(&given(texts), |disk| target(disk).is_some());
            refused.unwrap_err().to_string()
        };
        let other = ["device=other,action=hang"];
        assert_eq!(error(&other), "--fault: there is no drive 'other'");
        let unknown = resolve(&given(&other), target).unwrap_err();
        assert_eq!(unknown.to_string(), error(&other));
        let same = [
            "device=small,action=hang,id=a",
            "device=large,action=hang,id=a",
        ];
        let expected = "--fault: the id 'a' is that of another rule (--fault)";
        assert_eq!(error(&same), expected);
    }
}
