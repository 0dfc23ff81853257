//! Valid rules without effect: those that no request meets, and those that change nothing.
//!
//! A rule without effect is refused. One that may be on purpose, such as a power cut of a disk that loses nothing, is
//! logged.

use std::collections::{BTreeMap, BTreeSet};

use faultvisor_devices::block::fault::action::{FaultAction, properties};
use faultvisor_devices::block::fault::draw::{Corruption, Delay, Tear};
use faultvisor_devices::block::fault::engine::INITIAL_STATE;
use faultvisor_devices::block::fault::kinds::Kinds;
use faultvisor_devices::block::fault::rule::Rule;
use faultvisor_devices::block::model::power_cut::{Survival, Then};
use faultvisor_devices::block::model::request::SECTOR_SIZE;
use faultvisor_schema::{BlockFaultOperation, BlockFaultRule, BlockFaultRuleBranch};

/// The number of rules that are compared with the ones behind them.
const MOST_COMPARED: usize = 1000;

/// The properties of a disk and of its machine that determine a rule's effect.
#[derive(Debug, Clone)]
pub struct Target {
    /// The disk's size in sectors.
    pub sectors: u64,
    /// The operations that it can be asked for.
    pub possible: Kinds,
    /// Whether a power cut can lose writes (`volatile-cache=on`).
    pub volatile_cache: bool,
    /// Whether a flush has an effect (it has none with `cache=unsafe`).
    pub flushes: bool,
    /// Whether a client can continue or release what a rule holds.
    pub has_monitor: bool,
}

impl Target {
    /// A disk of this size with every property.
    #[cfg(test)]
    pub fn of(sectors: u64) -> Self {
        Self {
            sectors,
            possible: Kinds::ALL,
            volatile_cache: true,
            flushes: true,
            has_monitor: true,
        }
    }

    /// The maximum length of a read or a write in bytes.
    fn most_bytes(&self) -> u64 {
        self.sectors.saturating_mul(SECTOR_SIZE)
    }
}

/// An objection to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// It can never fire, or never change anything.
    Futile(String),
    /// A part of it has no effect, which may be on purpose.
    Questionable(String),
}

use Doubt::{Futile, Questionable};

/// The objections to a rule for this disk. `given` is the rule as written, `rule` its meaning.
pub fn doubts(given: &BlockFaultRule, rule: &Rule, target: &Target) -> Vec<Doubt> {
    let requests = requests(given, rule, target);
    let is_futile = requests.iter().any(|doubt| matches!(doubt, Futile(_)));
    let mut doubts = requests;
    if !is_futile {
        doubts.extend(lengths(rule, target));
        doubts.extend(effect(given, rule, target));
    }
    doubts
}

/// Whether requests occur that the rule matches.
fn requests(given: &BlockFaultRule, rule: &Rule, target: &Target) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    let matching = &rule.matching;
    if matching.probability <= 0.0 {
        doubts.push(Futile(
            "'probability' is 0, which lets the rule never fire".to_owned(),
        ));
    }
    let mut left = matching.kinds.among(target.possible);
    let never = |operation: &BlockFaultOperation, why: &str| {
        format!("'operations' has '{}', {why}", operation.name())
    };
    let mut reasons = Vec::new();
    for operation in BlockFaultOperation::ALL {
        let of = Kinds::named(*operation);
        if !matching.kinds.contains(of) {
            continue;
        }
        if !target.possible.contains(of) {
            reasons.push(never(operation, absence(*operation, target)));
        } else if of == Kinds::FLUSH
            && let Some((first, _)) = matching.sectors
        {
            left = without(left, of);
            let why = format!("which is about no part of the disk, and 'sector' is {first}");
            reasons.push(never(operation, &why));
        } else if of == Kinds::FLUSH && matching.min_bytes > 0 {
            left = without(left, of);
            let why = format!(
                "which has no bytes, and 'min-bytes' is {}",
                matching.min_bytes
            );
            reasons.push(never(operation, &why));
        }
    }
    let all = reasons.join("; ");
    if left == Kinds::NONE {
        doubts.push(Futile(all));
    } else if !reasons.is_empty() && given.operations.is_some() {
        doubts.push(Questionable(all));
    }
    doubts
}

/// Why a disk never has such requests.
fn absence(operation: BlockFaultOperation, target: &Target) -> &'static str {
    if !target.possible.contains(Kinds::WRITE) {
        return "which a disk with readonly=on never has";
    }
    match operation {
        BlockFaultOperation::Discard => {
            "which the disk never has (discard=ignore, or an image that cannot give space back)"
        }
        BlockFaultOperation::WriteZeroes => "which the disk never has (write-zeroes=off)",
        _ => "which the disk never has",
    }
}

fn without(kinds: Kinds, of: Kinds) -> Kinds {
    let each = BlockFaultOperation::ALL
        .iter()
        .map(|operation| Kinds::named(*operation));
    let kept = each.filter(|each| kinds.contains(*each) && *each != of);
    kept.fold(Kinds::NONE, Kinds::with)
}

/// Whether requests have such lengths.
fn lengths(rule: &Rule, target: &Target) -> Option<Doubt> {
    let matching = &rule.matching;
    let (least, most) = (matching.min_bytes, matching.max_bytes);
    let disk = target.most_bytes();
    let is_plain = Kinds::READ.with(Kinds::WRITE).contains(matching.kinds);
    if is_plain && least > disk {
        let text = format!("'min-bytes' is {least}, which is more than the disk has, {disk}");
        return Some(Futile(text));
    }
    let next = least.checked_next_multiple_of(SECTOR_SIZE);
    if next.is_none_or(|next| next > most) {
        let text = format!(
            "no request has 'min-bytes' {least} to 'max-bytes' {most}: all are of whole sectors"
        );
        return Some(Futile(text));
    }
    None
}

/// Whether the action changes a request's outcome.
fn effect(given: &BlockFaultRule, rule: &Rule, target: &Target) -> Vec<Doubt> {
    let most = rule.matching.max_bytes.min(target.most_bytes());
    let one = |doubt| vec![doubt];
    match &rule.action {
        FaultAction::Delay(delay) if is_nothing(delay) => {
            one(Questionable("a delay of 0 microseconds is none".to_owned()))
        }
        FaultAction::Corrupt(Corruption::Overwrite { offset, .. }) if *offset >= most => {
            one(Futile(format!(
                "'offset' is {offset}, which is behind the end of every request"
            )))
        }
        FaultAction::Torn {
            tear: Tear::First(kept) | Tear::Last(kept),
            errno: None,
        } if kept.saturating_mul(SECTOR_SIZE) >= most => one(Futile(format!(
            "'keep-sectors' is {kept}, which is all of every request"
        ))),
        FaultAction::SetState(new) if rule.matching.state.as_ref() == Some(new) => one(Futile(
            format!("'new-state' is '{new}', as 'state' is already"),
        )),
        FaultAction::Drop if rule.matching.kinds == Kinds::FLUSH && !target.volatile_cache => {
            one(match target.flushes {
                true => Questionable(format!(
                    "while the host runs, disk '{}' loses nothing for want of a flush: its --drive needs \
                     volatile-cache=on",
                    given.device
                )),
                false => Futile("with cache=unsafe a flush does nothing anyway".to_owned()),
            })
        }
        FaultAction::Stop if !target.has_monitor => one(Questionable(
            "nobody can continue the machine when it has stopped: it has no --qmp".to_owned(),
        )),
        FaultAction::PowerCut { survival, then, .. } => {
            let cut = power_cut(given, *survival, target);
            let no_end = *then == Then::Stop && !target.has_monitor;
            let no_end = no_end.then(|| {
                let text = "nobody can continue the machine when it has stopped: it has no --qmp";
                Questionable(text.to_owned())
            });
            cut.into_iter().chain(no_end).collect()
        }
        _ => Vec::new(),
    }
}

fn is_nothing(delay: &Delay) -> bool {
    match delay {
        Delay::Fixed(microseconds) => *microseconds == 0,
        Delay::Uniform(_, most) => *most == 0,
        Delay::Percentiles(points) => points.iter().all(|point| point.microseconds == 0),
    }
}

fn power_cut(given: &BlockFaultRule, survival: Survival, target: &Target) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    if !target.volatile_cache && survival != Survival::All {
        doubts.push(Questionable(lossless_power_cut(&given.device)));
    }
    if let BlockFaultRuleBranch::PowerCut(cut) = &given.action
        && let Some(bytes) = cut.tear_bytes
        && !matches!(survival, Survival::Prefix | Survival::Random)
    {
        doubts.push(Questionable(format!(
            "'tear-bytes' is {bytes}, and no write is torn unless 'survive' is 'prefix' or 'random'"
        )));
    }
    doubts
}

/// The warning about a power cut that loses nothing on a disk.
pub fn lossless_power_cut(device: &str) -> String {
    format!("a power cut loses nothing of disk '{device}': its --drive needs volatile-cache=on")
}

/// The objections to rules in view of each other, by their positions. All of them have been completed.
pub fn doubts_together(rules: &[&BlockFaultRule]) -> Vec<(usize, String)> {
    let mut states: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut deciding: Vec<&BlockFaultRule> = Vec::new();
    let mut doubts = Vec::new();
    for (place, rule) in rules.iter().enumerate() {
        let device = rule.device.as_str();
        let states = states
            .entry(device)
            .or_insert_with(|| reached(rules, device));
        if let Some(state) = &rule.state
            && !states.contains(state.as_str())
        {
            let text = format!("'state' is '{state}', which no rule of the disk leads to");
            doubts.push((place, text));
        } else if let Some(earlier) = deciding.iter().find(|earlier| is_part(rule, earlier)) {
            let id = earlier.id.as_deref().unwrap_or_default();
            let text = format!("rule '{id}' before it decides about each of its requests");
            doubts.push((place, text));
        }
        if deciding.len() < MOST_COMPARED && decides_always(rule) {
            deciding.push(rule);
        }
    }
    doubts
}

/// The states that a disk's rules can reach by themselves.
fn reached<'a>(rules: &[&'a BlockFaultRule], device: &str) -> BTreeSet<&'a str> {
    let steps: BTreeSet<_> = rules
        .iter()
        .filter(|rule| rule.device == device)
        .filter_map(|rule| match &rule.action {
            BlockFaultRuleBranch::SetState(to) => Some((rule.state.as_deref(), &*to.new_state)),
            _ => None,
        })
        .collect();
    let mut reached = BTreeSet::from([INITIAL_STATE]);
    let mut new = vec![None, Some(INITIAL_STATE)];
    while let Some(from) = new.pop() {
        let leading = steps.iter().filter(|(state, _)| *state == from);
        for (_, to) in leading {
            if reached.insert(to) {
                new.push(Some(to));
            }
        }
    }
    reached
}

/// Whether no request that a rule matches reaches those behind it.
fn decides_always(rule: &BlockFaultRule) -> bool {
    !properties(rule.action.tag()).passes_on
        && rule.count.is_none()
        && rule.skip.unwrap_or(0) == 0
        && rule.probability.unwrap_or(1.0) >= 1.0
}

/// Whether each request that a rule matches is matched by the other, too.
fn is_part(part: &BlockFaultRule, whole: &BlockFaultRule) -> bool {
    let state = whole.state.is_none() || whole.state == part.state;
    let operations = match (&part.operations, &whole.operations) {
        (Some(part), Some(whole)) => part.iter().all(|operation| whole.contains(operation)),
        (_, None) => true,
        (None, Some(_)) => false,
    };
    let end = |sector: u64, sectors: Option<u64>| sector.saturating_add(sectors.unwrap_or(1));
    let sectors = match (part.sector, whole.sector) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(at), Some(from)) => from <= at && end(at, part.sectors) <= end(from, whole.sectors),
    };
    let least = |rule: &BlockFaultRule| rule.min_bytes.unwrap_or(0);
    let most = |rule: &BlockFaultRule| rule.max_bytes.unwrap_or(u64::MAX);
    let lengths = least(whole) <= least(part) && most(part) <= most(whole);
    part.device == whole.device && state && operations && sectors && lengths
}
