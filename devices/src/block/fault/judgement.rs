//! The result of evaluating the rules for a request.

use std::time::Duration;

use faultvisor_schema::BlockFaultActionType;
use serde::{Deserialize, Serialize};

use super::action::{Alteration, Effect, properties};
use super::kinds::Kinds;
use super::record::Record;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{PowerCut, Then};
use crate::block::model::request::Operation;

/// What happens to a request after its delay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It is performed.
    Perform,
    /// It is performed differently.
    Alter(Alteration),
    /// It fails.
    Fail(Errno),
    /// It is reported as complete.
    Drop,
    /// It hangs, with this record.
    Hang(Record),
    /// The machine stops, and then it is performed.
    Stop,
    /// The power is cut.
    PowerCut(PowerCut, Then),
}

impl Fate {
    /// Whether a rule can have decided so about such a request.
    pub fn applies_to(&self, operation: &Operation) -> bool {
        use BlockFaultActionType as Type;
        let action = match self {
            Self::Alter(Alteration::Corrupt(_)) => Type::Corrupt,
            Self::Alter(Alteration::Torn(..)) => Type::Torn,
            Self::Alter(Alteration::Misdirect(_)) => Type::Misdirect,
            _ => return true,
        };
        properties(action).kinds.contains(Kinds::of(operation))
    }
}

/// The result of the evaluation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The rules that fired.
    pub records: Vec<Record>,
    /// The delay.
    pub delay: Duration,
    /// What happens after it.
    pub fate: Fate,
}

impl Judgement {
    /// That of a request that no rule matches.
    pub(super) fn none() -> Self {
        Self {
            records: Vec::new(),
            delay: Duration::ZERO,
            fate: Fate::Perform,
        }
    }

    /// Adds a rule's decision.
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
