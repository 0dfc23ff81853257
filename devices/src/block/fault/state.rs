//! An engine as plain data.

use std::sync::Arc;

use faultvisor_schema::BlockFaultRule;
use serde::{Deserialize, Serialize};

use super::engine::{Counts, Engine};
use super::record::Record;
use super::replay::Replay;
use super::rule::rule;
use super::rule_error::RuleError;

/// A rule in the schema's form, and its counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleState {
    /// The rule, completed: its seed is part of it.
    pub rule: BlockFaultRule,
    /// As [`Counts::matches`].
    pub matches: u64,
    /// As [`Counts::hits`].
    pub hits: u64,
}

/// An engine's rules in their order, its state, and what is left of a replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultState {
    /// The rules.
    pub rules: Vec<RuleState>,
    /// The state of the rules.
    pub state: String,
    /// The records not yet applied.
    pub replay: Vec<Record>,
}

impl RuleState {
    /// A rule that was given in this form, with its counts now.
    pub fn of(rule: BlockFaultRule, counts: &Counts) -> Self {
        Self {
            rule,
            matches: counts.matches(),
            hits: counts.hits(),
        }
    }
}

impl Engine {
    /// The engine as plain data. `rules` are its rules, of which it has no schema's form itself.
    pub fn save(&self, rules: Vec<RuleState>) -> FaultState {
        FaultState {
            rules,
            state: self.state().to_owned(),
            replay: self.remaining_records(),
        }
    }

    /// Replaces rules, state and replay with what was saved, for a disk of `disk_sectors`. Returns
    /// the rules' counts, in the order of the rules.
    ///
    /// # Errors
    ///
    /// [`RuleError`] for a rule that cannot be added to such a disk; the engine is unchanged then.
    pub fn restore(
        &mut self,
        state: &FaultState,
        disk_sectors: u64,
    ) -> Result<Vec<Arc<Counts>>, RuleError> {
        let checked = |saved: &RuleState| rule(&saved.rule, disk_sectors);
        let rules: Vec<_> = state.rules.iter().map(checked).collect::<Result<_, _>>()?;
        self.clear();
        let mut all = Vec::new();
        for (rule, saved) in rules.into_iter().zip(&state.rules) {
            let counts = Arc::new(Counts::new(saved.matches, saved.hits));
            all.push(Arc::clone(&counts));
            self.add(rule, counts);
        }
        self.set_state(&state.state);
        self.replay(Replay::new(state.replay.iter().cloned()));
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::fault::engine::EngineView;
    use crate::block::fault::judgement::Fate;
    use crate::block::model::request::{Durability, Operation, Request};
    use crate::block::model::segment::Segments;

    fn state(rule: &str) -> FaultState {
        let rule = serde_json::from_str(rule).unwrap();
        let saved = RuleState {
            rule,
            matches: 5,
            hits: 1,
        };
        let state = FaultState {
            rules: vec![saved],
            state: "2".to_owned(),
            replay: Vec::new(),
        };
        let text = serde_json::to_string(&state).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_restored_engine_continues_its_counts() {
        let state = state(
            r#"{"id":"a","device":"disk0","seed":7,"operations":["write"],"count":2,"action":"drop"}"#,
        );
        let mut engine = Engine::new("disk0", Arc::new(EngineView::default()));
        let counts = engine.restore(&state, 128).unwrap();
        let write = Request {
            operation: Operation::Write {
                offset: 0,
                durability: Durability::Cached,
            },
            segments: Segments::new(),
        };
        let fates = [1, 2].map(|ordinal| engine.judge(ordinal, 0, &write).fate);
        assert_eq!(fates, [Fate::Drop, Fate::Perform]);
        let rule = RuleState::of(state.rules[0].rule.clone(), &counts[0]);
        let saved = engine.save(vec![rule]);
        assert_eq!((saved.rules[0].matches, saved.rules[0].hits), (7, 2));
        assert_eq!(saved.state, "2");
    }

    #[test]
    fn a_rule_that_cannot_be_added_is_not_restored() {
        let state =
            state(r#"{"id":"a","device":"disk0","seed":7,"operations":["read"],"action":"drop"}"#);
        let mut engine = Engine::new("disk0", Arc::new(EngineView::default()));
        let error = engine.restore(&state, 128).unwrap_err();
        assert!(matches!(error, RuleError::Inapplicable { .. }), "{error}");
        assert!(engine.is_idle());
    }
}
