//! A disk's rules, and their evaluation for each request.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use faultvisor_schema::BlockFaultRule;

use super::action::{Decision, Effect};
use super::index::Index;
use super::judgement::Judgement;
use super::kinds::{Kinds, RecordedOperation};
use super::record::Record;
use super::replay::Replay;
use super::rng::Chance;
use super::rule::Rule;
use crate::block::model::request::{Operation, Request, SECTOR_SIZE};
use crate::sync::lock;

/// The initial state, which is that of QEMU's blkdebug.
pub const INITIAL_STATE: &str = "1";

/// A rule's counts. Written by the disk's thread and read by others.
#[derive(Debug, Default)]
pub struct Counts {
    matches: AtomicU64,
    hits: AtomicU64,
}

impl Counts {
    /// Counts that continue from these numbers.
    pub(super) fn new(matches: u64, hits: u64) -> Self {
        Self {
            matches: AtomicU64::new(matches),
            hits: AtomicU64::new(hits),
        }
    }

    /// Requests that met every condition but `skip`, `count` and `probability`.
    pub fn matches(&self) -> u64 {
        self.matches.load(Ordering::Relaxed)
    }

    /// The number of times that the rule has fired.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

/// The public part of a disk's engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineState {
    /// The state of the rules.
    pub state: String,
    /// The hanging requests, in the form of the log, the oldest first.
    pub hanging: Vec<Record>,
}

/// Written by the disk's thread.
#[derive(Debug)]
pub struct EngineView(Mutex<Notes>);

#[derive(Debug)]
struct Notes {
    state: String,
    /// By ordinal. A guest can have very many of them: each is added and removed by itself.
    hanging: BTreeMap<u64, Record>,
}

impl Default for EngineView {
    fn default() -> Self {
        Self(Mutex::new(Notes {
            state: INITIAL_STATE.to_owned(),
            hanging: BTreeMap::new(),
        }))
    }
}

impl EngineView {
    /// The present content.
    pub fn get(&self) -> EngineState {
        let notes = lock(&self.0);
        EngineState {
            state: notes.state.clone(),
            hanging: notes.hanging.values().cloned().collect(),
        }
    }

    /// Adds a hanging request.
    pub(crate) fn hangs(&self, record: &Record) {
        let mut notes = lock(&self.0);
        notes.hanging.insert(record.ordinal, record.clone());
    }

    /// Removes these.
    pub(crate) fn hang_no_more(&self, ordinals: &[u64]) {
        let mut notes = lock(&self.0);
        for ordinal in ordinals {
            notes.hanging.remove(ordinal);
        }
    }

    /// Removes all.
    pub(crate) fn nothing_hangs(&self) {
        lock(&self.0).hanging.clear();
    }

    fn show_state(&self, state: &str) {
        state.clone_into(&mut lock(&self.0).state);
    }
}

struct Active {
    rule: Rule,
    /// The same in the schema's form, completed.
    given: BlockFaultRule,
    counts: Arc<Counts>,
}

/// A disk's rules and their state.
pub struct Engine {
    device: String,
    rules: Vec<Active>,
    /// The rules for each kind of requests, by its number. Built when a request is evaluated, as rules are added by the
    /// thousand.
    indices: Option<[Index; Kinds::EACH.len()]>,
    state: String,
    view: Arc<EngineView>,
    replay: Option<Replay>,
    /// The index's result, kept for its allocation.
    found: Vec<usize>,
}

impl Engine {
    /// The engine of the disk of this name.
    pub fn new(device: impl Into<String>, view: Arc<EngineView>) -> Self {
        view.show_state(INITIAL_STATE);
        Self {
            device: device.into(),
            rules: Vec::new(),
            indices: None,
            state: INITIAL_STATE.to_owned(),
            view,
            replay: None,
            found: Vec::new(),
        }
    }

    /// Its disk's name.
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    /// The state of the rules.
    pub(super) fn state(&self) -> &str {
        &self.state
    }

    /// The records that a replay has not applied, in the order of the requests.
    pub(super) fn remaining_records(&self) -> Vec<Record> {
        self.replay
            .as_ref()
            .map_or_else(Vec::new, Replay::remaining)
    }

    /// Whether it has no rule and no replay.
    pub fn is_idle(&self) -> bool {
        self.rules.is_empty() && self.replay.as_ref().is_none_or(Replay::is_over)
    }

    /// Adds a rule behind the others, with its `counts`. It was made of `given`, which is saved.
    pub fn add(&mut self, rule: Rule, given: BlockFaultRule, counts: Arc<Counts>) {
        self.rules.push(Active {
            rule,
            given,
            counts,
        });
        self.indices = None;
    }

    /// The rules in their order, in the schema's form, with their counts.
    pub fn rules(&self) -> impl Iterator<Item = (&BlockFaultRule, &Arc<Counts>)> {
        let rules = self.rules.iter();
        rules.map(|active| (&active.given, &active.counts))
    }

    /// Removes the rule of this name, if there is one.
    pub fn remove(&mut self, id: &str) {
        self.rules.retain(|active| active.rule.id != id);
        self.indices = None;
    }

    /// Removes all rules, and restores the initial state.
    pub fn clear(&mut self) {
        self.rules.clear();
        self.indices = None;
        self.set_state(INITIAL_STATE);
    }

    /// Sets the state.
    pub fn set_state(&mut self, state: &str) {
        state.clone_into(&mut self.state);
        self.view.show_state(state);
    }

    /// Replays a log, which precedes the rules.
    pub fn replay(&mut self, replay: Replay) {
        self.replay = Some(replay);
    }

    /// The judgement of a request: the `ordinal`th of its disk, at the `attempt`th time after the first.
    pub fn judge(&mut self, ordinal: u64, attempt: u32, request: &Request) -> Judgement {
        let mut judgement = Judgement::none();
        let mut new_state = None;
        let replayed = match &mut self.replay {
            Some(replay) => replay.take(ordinal, attempt, request),
            None => Vec::new(),
        };
        let is_open = replayed
            .into_iter()
            .all(|record| judge_by(record, &mut judgement, &mut new_state));
        let mut found = std::mem::take(&mut self.found);
        if is_open {
            let rules = &self.rules;
            let indices = self.indices.get_or_insert_with(|| indices(rules));
            let kind = Kinds::of(&request.operation);
            indices[kind.number()].find(parts(request), &mut found);
        } else {
            found.clear();
        }
        for active in found.iter().filter_map(|&rule| self.rules.get(rule)) {
            let Some(decision) = active.judge(ordinal, attempt, request, &self.state) else {
                continue;
            };
            let record = Record {
                device: self.device.clone(),
                ordinal,
                attempt,
                operation: RecordedOperation::of(&request.operation),
                sector: request.sector(),
                sectors: request.length() / SECTOR_SIZE,
                id: active.rule.id.clone(),
                decision,
            };
            if !judge_by(record, &mut judgement, &mut new_state) {
                break;
            }
        }
        self.found = found;
        // As with blkdebug, all rules of one request see the same state.
        if let Some(state) = new_state {
            self.set_state(&state);
        }
        judgement
    }
}

/// The rules that match each kind of requests.
fn indices(rules: &[Active]) -> [Index; Kinds::EACH.len()] {
    Kinds::EACH.map(|kind| {
        let rules = rules.iter().map(|active| &active.rule.matching);
        let rules = rules.enumerate().filter(|(_, of)| of.kinds.contains(kind));
        Index::new(rules.map(|(rule, of)| (rule, of.sectors)))
    })
}

/// Adds a decision. Returns whether rules behind it are evaluated.
fn judge_by(record: Record, judgement: &mut Judgement, new_state: &mut Option<String>) -> bool {
    if let Effect::SetState(state) = record.decision.effect() {
        *new_state = Some(state.to_owned());
    }
    let passes_on = record.decision.passes_on();
    judgement.add(record);
    passes_on
}

impl Active {
    /// The rule's decision, if it fires. The index has checked kind and sectors.
    fn judge(
        &self,
        ordinal: u64,
        attempt: u32,
        request: &Request,
        state: &str,
    ) -> Option<Decision> {
        let Rule {
            matching,
            action,
            seed,
            ..
        } = &self.rule;
        let length = request.length();
        let matches = matching.state.as_ref().is_none_or(|of| of == state)
            && (matching.min_bytes..=matching.max_bytes).contains(&length);
        if !matches {
            return None;
        }
        // Only this thread writes.
        let before = self.counts.matches();
        self.counts.matches.store(before + 1, Ordering::Relaxed);
        let hits = self.counts.hits();
        if before < matching.skip || hits >= matching.count {
            return None;
        }
        let mut chance = Chance::new(*seed, [ordinal, u64::from(attempt)]);
        if chance.fraction() >= matching.probability {
            return None;
        }
        self.counts.hits.store(hits + 1, Ordering::Relaxed);
        Some(action.decide(*seed, request, &mut chance))
    }
}

/// The ranges of a request, each by its first sector and its end.
fn parts(request: &Request) -> impl Iterator<Item = (u64, u64)> {
    let (whole, ranges) = match &request.operation {
        Operation::Read { .. } | Operation::Write { .. } => {
            let first = request.sector();
            let end = first.saturating_add(request.length() / SECTOR_SIZE);
            (Some((first, end)), &[][..])
        }
        Operation::Flush => (None, &[][..]),
        Operation::Discard { ranges } | Operation::WriteZeroes { ranges, .. } => {
            (None, &ranges[..])
        }
    };
    let ranges = ranges.iter().map(|range| {
        let first = range.offset / SECTOR_SIZE;
        (first, range.end().div_ceil(SECTOR_SIZE))
    });
    whole.into_iter().chain(ranges)
}
