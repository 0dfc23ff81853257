//! The rules of the machine's disks, and the commands that change and show them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use faultvisor_devices::block::fault::engine::Counts;
use faultvisor_devices::block::fault::errno_names::errno_of;
use faultvisor_devices::block::fault::kinds::RecordedOperation;
use faultvisor_devices::block::fault::names::check_name;
use faultvisor_devices::block::fault::record::Record;
use faultvisor_devices::block::fault::replay::Replay;
use faultvisor_devices::block::fault::rule::{self, MAX_RULES, Rule, complete};
use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::virtio::block::{Hanging, Release};
use faultvisor_schema::{
    BlockFaultAdded, BlockFaultClearArguments, BlockFaultHanging, BlockFaultInfo,
    BlockFaultInjected, BlockFaultOperation, BlockFaultRelease, BlockFaultReleaseArguments,
    BlockFaultReleased, BlockFaultRemoveArguments, BlockFaultRule, BlockFaultRuleInfo,
    BlockFaultSetStateArguments, CommandError, Reply,
};

use super::Machine;
use super::disks::MachineDisk;
use crate::faults::{self, Doubt};

/// The maximum number of unfired rules that are named at the end.
const MOST_NAMED: usize = 10;

/// The machine's rules as given, in order.
#[derive(Default)]
pub(super) struct Rules {
    rules: Vec<Entry>,
    /// The number of fault log lines that each replaying disk has left.
    replayed: Vec<(String, Arc<AtomicUsize>)>,
    /// The number in the next generated rule id.
    next: u64,
}

struct Entry {
    id: String,
    rule: BlockFaultRule,
    counts: Arc<Counts>,
}

impl Rules {
    fn has(&self, id: &str) -> bool {
        self.rules.iter().any(|entry| entry.id == id)
    }

    /// An id that no rule has.
    fn free_id(&mut self) -> String {
        loop {
            self.next += 1;
            let id = format!("fault{}", self.next);
            if !self.has(&id) {
                return id;
            }
        }
    }

    /// Records a rule, and returns its counters.
    fn add(&mut self, id: String, rule: BlockFaultRule) -> Arc<Counts> {
        let counts = Arc::new(Counts::default());
        self.rules.push(Entry {
            id,
            rule,
            counts: Arc::clone(&counts),
        });
        counts
    }

    fn of<'a>(&'a self, device: &'a str) -> impl Iterator<Item = &'a Entry> {
        let rules = self.rules.iter();
        rules.filter(move |entry| entry.rule.device == device)
    }
}

impl Machine {
    /// `block-fault-add`, answered when the disk's thread has the rule.
    pub(super) fn fault_add(&mut self, given: BlockFaultRule, reply: Reply<BlockFaultAdded>) {
        match self.new_fault(given) {
            Ok((given, rule)) => {
                let added = BlockFaultAdded {
                    id: rule.id.clone(),
                    seed: rule.seed,
                };
                self.add_fault(given, rule, move || reply.send(Ok(added)));
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    /// Adds a rule that has been checked. `added` is called on its disk's thread.
    pub(super) fn add_fault(
        &mut self,
        given: BlockFaultRule,
        rule: Rule,
        added: impl FnOnce() + Send + 'static,
    ) {
        let device = given.device.clone();
        let counts = self.rules.add(rule.id.clone(), given.clone());
        if let Some(disk) = self.disks.iter().find(|disk| disk.id() == device) {
            disk.change_faults(move |engine| {
                engine.add(rule, given, counts);
                added();
            });
        }
    }

    /// Gives the disks the rules of the command line, and the decisions to replay.
    pub(super) fn give_faults(
        &mut self,
        given: Vec<(BlockFaultRule, Rule)>,
        replay: BTreeMap<String, Replay>,
    ) {
        for (given, rule) in given {
            self.add_fault(given, rule, || ());
        }
        for (device, replay) in replay {
            let undone = replay.undone();
            if let Ok(disk) = self.disk(&device) {
                disk.change_faults(move |engine| engine.replay(replay));
            }
            self.rules.replayed.push((device, undone));
        }
    }

    /// Validates a rule, and fills in its defaults.
    fn new_fault(
        &mut self,
        mut given: BlockFaultRule,
    ) -> Result<(BlockFaultRule, Rule), CommandError> {
        let target = self.disk(&given.device)?;
        let target = target.target(self.policy.has_monitor);
        if let Some(id) = &given.id
            && self.rules.has(id)
        {
            let message = format!("There is a rule '{id}' already");
            return Err(CommandError::generic(message));
        }
        if self.rules.rules.len() >= MAX_RULES {
            let message = format!("There are {MAX_RULES} rules already");
            return Err(CommandError::generic(message));
        }
        let seed = match given.seed {
            Some(seed) => seed,
            None => seed()?,
        };
        let written = given.clone();
        complete(&mut given, || self.rules.free_id(), || seed);
        let rule = rule::rule(&given, target.sectors)
            .map_err(|error| CommandError::generic(error.to_string()))?;
        for doubt in faults::doubts(&written, &rule, &target) {
            match doubt {
                Doubt::Futile(text) => return Err(CommandError::generic(text)),
                Doubt::Questionable(text) => {
                    tracing::warn!("block-fault-add: rule '{}': {text}", rule.id);
                }
            }
        }
        Ok((given, rule))
    }

    /// Reports the rules that never fired and the fault log lines that were not replayed. Returns the number of both
    /// together.
    pub fn tell_of_unfired_rules(&self) -> usize {
        let unfired = self
            .rules
            .rules
            .iter()
            .filter(|entry| entry.counts.hits() == 0);
        let mut count = 0;
        for Entry { id, rule, counts } in unfired {
            count += 1;
            if count <= MOST_NAMED {
                let (device, matches) = (&rule.device, counts.matches());
                tracing::warn!(
                    "rule '{id}' of disk '{device}' never fired; it was about {matches} requests"
                );
            }
        }
        if count > MOST_NAMED {
            tracing::warn!("{} more rules never fired", count - MOST_NAMED);
        }
        for (device, undone) in &self.rules.replayed {
            let undone = undone.load(Ordering::Relaxed);
            if undone > 0 {
                tracing::warn!(
                    "disk '{device}': {undone} lines of the fault log were not repeated"
                );
            }
            count += undone;
        }
        count
    }

    /// `block-fault-remove`, answered when the disk's thread has dropped the rule.
    pub(super) fn fault_remove(&mut self, arguments: BlockFaultRemoveArguments, reply: Reply<()>) {
        let BlockFaultRemoveArguments { id } = arguments;
        let mut rules = self.rules.rules.iter();
        let Some(place) = rules.position(|entry| entry.id == id) else {
            let message = format!("There is no rule '{id}'");
            return reply.send(Err(CommandError::generic(message)));
        };
        let entry = self.rules.rules.remove(place);
        match self.disk(&entry.rule.device) {
            Ok(disk) => disk.change_faults(move |engine| {
                engine.remove(&id);
                reply.done();
            }),
            Err(error) => reply.send(Err(error)),
        }
    }

    /// `block-fault-clear`, answered when every disk's thread has done it.
    pub(super) fn fault_clear(&mut self, arguments: &BlockFaultClearArguments, reply: Reply<()>) {
        let of = arguments.device.as_deref();
        if let Some(device) = of
            && let Err(error) = self.disk(device)
        {
            return reply.send(Err(error));
        }
        let is_meant = |device: &str| of.is_none_or(|of| of == device);
        self.rules
            .rules
            .retain(|entry| !is_meant(&entry.rule.device));
        // The last thread to finish drops the last reference, which answers.
        let last = Arc::new(AnswerWhenDropped(Some(reply)));
        for disk in self.disks.iter().filter(|disk| is_meant(disk.id())) {
            let last = Arc::clone(&last);
            disk.change_faults(move |engine| {
                engine.clear();
                drop(last);
            });
        }
    }

    /// `block-fault-set-state`, answered when the disk's thread has done it.
    pub(super) fn fault_set_state(&self, arguments: BlockFaultSetStateArguments, reply: Reply<()>) {
        let BlockFaultSetStateArguments { device, state } = arguments;
        let disk = self.disk(&device).and_then(|disk| {
            check_name("state", &state)
                .map_err(|error| CommandError::generic(error.to_string()))?;
            Ok(disk)
        });
        match disk {
            Ok(disk) => disk.change_faults(move |engine| {
                engine.set_state(&state);
                reply.done();
            }),
            Err(error) => reply.send(Err(error)),
        }
    }

    /// `block-fault-release`, answered when the disk's thread has done it.
    pub(super) fn fault_release(
        &self,
        arguments: BlockFaultReleaseArguments,
        reply: Reply<BlockFaultReleased>,
    ) {
        match self.releasable(&arguments) {
            Ok((disk, how)) => {
                let which = Hanging {
                    id: arguments.id,
                    ordinal: arguments.ordinal,
                };
                disk.release(which, how, move |released| {
                    reply.send(Ok(BlockFaultReleased { released }));
                });
            }
            Err(error) => reply.send(Err(error)),
        }
    }

    fn releasable(
        &self,
        arguments: &BlockFaultReleaseArguments,
    ) -> Result<(&MachineDisk, Release), CommandError> {
        let disk = self.disk(&arguments.device)?;
        let how = arguments.how.unwrap_or(BlockFaultRelease::Perform);
        let how = match (how, &arguments.errno) {
            (BlockFaultRelease::Fail, None) => Release::Fail(Errno::EIO),
            (BlockFaultRelease::Fail, Some(errno)) => {
                let errno =
                    errno_of(errno).map_err(|error| CommandError::generic(error.to_string()))?;
                Release::Fail(errno)
            }
            (_, Some(_)) => {
                let message = "'errno' is only for 'how': 'fail'";
                return Err(CommandError::generic(message));
            }
            (BlockFaultRelease::Perform, None) => Release::Perform,
            (BlockFaultRelease::Complete, None) => Release::Complete,
        };
        Ok((disk, how))
    }

    /// The answer to `query-block-faults`.
    pub(super) fn fault_infos(&self) -> Vec<BlockFaultInfo> {
        let info = |disk: &MachineDisk| {
            let shown = disk.faults();
            let rule = |entry: &Entry| BlockFaultRuleInfo {
                rule: entry.rule.clone(),
                matches: entry.counts.matches(),
                hits: entry.counts.hits(),
            };
            BlockFaultInfo {
                device: disk.id().to_owned(),
                state: shown.state,
                rules: self.rules.of(disk.id()).map(rule).collect(),
                hanging: shown.hanging.into_iter().map(hanging).collect(),
            }
        };
        self.disks.iter().map(info).collect()
    }

    /// The disk of that name.
    pub(super) fn disk(&self, device: &str) -> Result<&MachineDisk, CommandError> {
        let found = self.disks.iter().find(|disk| disk.id() == device);
        found.ok_or_else(|| CommandError::device_not_found(device))
    }
}

/// A random seed.
pub(super) fn seed() -> Result<u64, CommandError> {
    faults::random_seed()
        .map_err(|error| CommandError::generic(format!("There is no random number: {error}")))
}

/// Answers a command when the last of several threads has executed it.
struct AnswerWhenDropped(Option<Reply<()>>);

impl Drop for AnswerWhenDropped {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply.done();
        }
    }
}

fn hanging(record: Record) -> BlockFaultHanging {
    BlockFaultHanging {
        ordinal: record.ordinal,
        operation: operation(record.operation),
        sector: record.sector,
        sectors: record.sectors,
        id: record.id,
    }
}

/// The event of a rule that fired.
pub(super) fn injected(record: &Record) -> BlockFaultInjected {
    BlockFaultInjected {
        id: record.id.clone(),
        device: record.device.clone(),
        operation: operation(record.operation),
        sector: record.sector,
        sectors: record.sectors,
        action: record.decision.action(),
        ordinal: record.ordinal,
    }
}

fn operation(recorded: RecordedOperation) -> BlockFaultOperation {
    match recorded {
        RecordedOperation::Read => BlockFaultOperation::Read,
        RecordedOperation::Write => BlockFaultOperation::Write,
        RecordedOperation::Flush => BlockFaultOperation::Flush,
        RecordedOperation::Discard => BlockFaultOperation::Discard,
        RecordedOperation::WriteZeroes => BlockFaultOperation::WriteZeroes,
    }
}
