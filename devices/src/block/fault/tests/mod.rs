//! What the rules of a disk decide, and what becomes of the requests that they alter.

mod alterations;
mod conditions;
mod disk;
mod draws;
mod log;
mod model;
mod order;
mod replay;
mod rules;

use std::sync::Arc;

use faultvisor_schema::{BlockFaultActionType, BlockFaultRule};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::action::{Decision, FaultAction, properties};
use super::engine::{Counts, Engine, EngineView};
use super::judgement::{Fate, Judgement};
use super::kinds::{Kinds, RecordedOperation};
use super::record::Record;
use super::rule::{Match, Rule};
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Durability, Operation, Range, Request, SECTOR_SIZE, Zeroing};
use crate::block::model::segment::Segment;

/// Fails with EIO.
const FAIL: FaultAction = FaultAction::Error {
    errno: Errno::EIO,
    after: false,
};

/// A request whose data is at the beginning of 64 KiB of memory, as often as it needs.
fn request(operation: Operation, sectors: u64) -> Request {
    let mut left = sectors * SECTOR_SIZE;
    let segments = std::iter::from_fn(|| {
        let length = left.min(64 << 10);
        left -= length;
        let segment = Segment {
            address: GuestAddress(0),
            length: u32::try_from(length).unwrap(),
        };
        (length > 0).then_some(segment)
    });
    Request {
        segments: segments.collect(),
        operation,
    }
}

fn read(sector: u64, sectors: u64) -> Request {
    let offset = sector * SECTOR_SIZE;
    request(Operation::Read { offset }, sectors)
}

fn write(sector: u64, sectors: u64) -> Request {
    let operation = Operation::Write {
        offset: sector * SECTOR_SIZE,
        durability: Durability::Cached,
    };
    request(operation, sectors)
}

fn flush() -> Request {
    request(Operation::Flush, 0)
}

/// Parts of the disk, given in sectors.
fn ranges(sectors: &[(u64, u64)]) -> Vec<Range> {
    let range = |&(first, count): &(u64, u64)| Range {
        offset: first * SECTOR_SIZE,
        length: count * SECTOR_SIZE,
    };
    sectors.iter().map(range).collect()
}

fn discard(sectors: &[(u64, u64)]) -> Request {
    let ranges = ranges(sectors);
    request(Operation::Discard { ranges }, 0)
}

fn write_zeroes(sectors: &[(u64, u64)]) -> Request {
    let operation = Operation::WriteZeroes {
        ranges: ranges(sectors),
        zeroing: Zeroing::KeepSpace,
        durability: Durability::Cached,
    };
    request(operation, 0)
}

/// A rule in the schema's form, for rules that are never saved.
pub(crate) fn form() -> BlockFaultRule {
    let form = r#"{"id":"rule","device":"disk0","seed":1,"action":"hang"}"#;
    serde_json::from_str(form).unwrap()
}

/// A rule about every request.
fn rule(id: &str, action: FaultAction) -> Rule {
    Rule {
        id: id.to_owned(),
        matching: Match::all(Kinds::ALL),
        action,
        seed: 1,
    }
}

fn set_state(id: &str, state: &str) -> Rule {
    rule(id, FaultAction::SetState(state.to_owned()))
}

/// A disk's engine, and what its rules have done.
struct Bench {
    engine: Engine,
    view: Arc<EngineView>,
    counts: Vec<Arc<Counts>>,
    ordinal: u64,
}

impl Bench {
    fn new(rules: impl IntoIterator<Item = Rule>) -> Self {
        let view = Arc::new(EngineView::default());
        let mut bench = Self {
            engine: Engine::new("disk0", view.clone()),
            view,
            counts: Vec::new(),
            ordinal: 0,
        };
        for rule in rules {
            bench.add(rule);
        }
        bench
    }

    /// One rule that lets requests fail for which a condition holds.
    fn with(condition: impl FnOnce(&mut Match)) -> Self {
        let mut fail = rule("fail", FAIL);
        condition(&mut fail.matching);
        Self::new([fail])
    }

    fn add(&mut self, rule: Rule) {
        let counts = Arc::new(Counts::default());
        self.counts.push(counts.clone());
        self.engine.add(rule, form(), counts);
    }

    fn judge(&mut self, request: &Request) -> Judgement {
        self.ordinal += 1;
        self.engine.judge(self.ordinal, 0, request)
    }

    /// Whether a request fails.
    fn fails(&mut self, request: &Request) -> bool {
        let judgement = self.judge(request);
        assert_eq!(
            judgement.fate == Fate::Fail(Errno::EIO),
            !judgement.records.is_empty()
        );
        judgement.fate != Fate::Perform
    }

    /// The names of the rules that fire.
    fn fired(&mut self, request: &Request) -> Vec<String> {
        let records = self.judge(request).records;
        records.into_iter().map(|record| record.id).collect()
    }

    /// What the only rule decides of a request.
    fn decision(&mut self, request: &Request) -> Decision {
        let [record] = <[Record; 1]>::try_from(self.judge(request).records).unwrap();
        record.decision
    }

    /// Requests that matched a rule, and how often it fired.
    fn counts(&self, rule: usize) -> (u64, u64) {
        (self.counts[rule].matches(), self.counts[rule].hits())
    }
}

/// What a log has of a decision about the first request, a write of eight sectors.
fn record(decision: Decision) -> Record {
    Record {
        device: "disk0".to_owned(),
        ordinal: 1,
        attempt: 0,
        operation: RecordedOperation::Write,
        sector: 2048,
        sectors: 8,
        id: "rule".to_owned(),
        decision,
    }
}

/// The schema's action that a rule's action is.
fn action_type(action: &FaultAction) -> BlockFaultActionType {
    let decision = Bench::new([rule("rule", action.clone())]).decision(&write(0, 1));
    decision.action()
}
