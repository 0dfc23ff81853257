//! What becomes of one request.

use std::time::Duration;

use super::action::{Alteration, Effect};
use super::record::Record;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Then};

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
        match record.decision.effect() {
            Effect::Delay(more) => self.delay = self.delay.saturating_add(more),
            Effect::SetState(_) => {}
            Effect::Alter(alteration) => self.fate = Fate::Alter(alteration),
            Effect::Fail(errno) => self.fate = Fate::Fail(errno),
            Effect::Drop => self.fate = Fate::Drop,
            Effect::Hang => self.fate = Fate::Hang(record.clone()),
            Effect::Stop => self.fate = Fate::Stop,
            Effect::PowerCut(cut, then) => self.fate = Fate::PowerCut(cut, then),
        }
        self.records.push(record);
    }
}
