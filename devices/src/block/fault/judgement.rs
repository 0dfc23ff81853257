//! What becomes of one request.

use std::time::Duration;

use super::decision::{Change, Decision, Record, Run};
use super::rule::MAX_DELAY;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Then};

/// How a request is performed that is not performed as it was meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Alteration {
    /// It fails when it is done.
    FailAfter(Errno),
    /// Its data changes on the way.
    Corrupt(Change),
    /// These parts of it are performed, and perhaps it fails then.
    Torn(Vec<Run>, Option<Errno>),
    /// It is performed at this sector.
    Misdirect(u64),
}

/// What becomes of a request once its delay is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is performed.
    Perform,
    /// It is performed otherwise.
    Alter(Alteration),
    /// It fails.
    Fail(Errno),
    /// It is reported as done.
    Drop,
    /// It hangs, as this says.
    Hang(Record),
    /// The machine stops, and then it is performed.
    Stop,
    /// The power fails.
    PowerCut(PowerCut, Then),
}

/// What the rules say of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The rules that fired.
    pub records: Vec<Record>,
    /// How long it has to wait.
    pub delay: Duration,
    /// What becomes of it then.
    pub fate: Fate,
}

impl Judgement {
    /// That of a request which no rule is about.
    pub(super) fn none() -> Self {
        Self {
            records: Vec::new(),
            delay: Duration::ZERO,
            fate: Fate::Perform,
        }
    }

    /// Adds what a rule decided.
    pub(super) fn add(&mut self, record: Record) {
        match &record.decision {
            Decision::Delay { microseconds } => {
                // A log may say anything.
                let more = Duration::from_micros(*microseconds).min(MAX_DELAY);
                self.delay = self.delay.saturating_add(more);
            }
            Decision::SetState { .. } => {}
            _ => self.fate = fate(&record),
        }
        self.records.push(record);
    }
}

fn fate(record: &Record) -> Fate {
    match &record.decision {
        Decision::Error {
            errno,
            after: false,
        } => Fate::Fail(*errno),
        Decision::Error { errno, after: true } => Fate::Alter(Alteration::FailAfter(*errno)),
        Decision::Hang => Fate::Hang(record.clone()),
        Decision::Corrupt { change } => Fate::Alter(Alteration::Corrupt(change.clone())),
        Decision::Torn { keep, errno } => Fate::Alter(Alteration::Torn(keep.clone(), *errno)),
        Decision::Drop => Fate::Drop,
        Decision::Misdirect { to_sector } => Fate::Alter(Alteration::Misdirect(*to_sector)),
        Decision::Stop => Fate::Stop,
        decision @ Decision::PowerCut { .. } => match decision.power_cut() {
            Some((cut, then)) => Fate::PowerCut(cut, then),
            None => Fate::Perform,
        },
        Decision::Delay { .. } | Decision::SetState { .. } => Fate::Perform,
    }
}
