//! An engine as plain data.

use std::collections::BTreeSet;
use std::sync::Arc;

use faultvisor_schema::BlockFaultRule;
use serde::{Deserialize, Serialize};

use super::engine::{Counts, Engine};
use super::names::check_name;
use super::record::Record;
use super::replay::Replay;
use super::rule::{MAX_RULES, Rule, rule};
use super::rule_error::RuleError;
use crate::block::model::request::MOST_REQUESTS;

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

/// Why an engine refuses a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultStateError {
    /// A rule or the name of a state that no command can have set.
    #[error(transparent)]
    Rule(#[from] RuleError),
    /// A rule or a record of another disk.
    #[error("it is of the disk '{0}'")]
    Device(String),
    /// Two rules of one name.
    #[error("two rules are named '{0}'")]
    Twice(String),
    /// More rules than a machine can have.
    #[error("it has {0} rules, more than {MAX_RULES}")]
    TooMany(usize),
    /// A rule's counts that contradict each other.
    #[error("a rule has fired {hits} times for {matches} requests")]
    Counts {
        /// As [`RuleState::hits`].
        hits: u64,
        /// As [`RuleState::matches`].
        matches: u64,
    },
    /// A record of a request that no disk has.
    #[error("a record has the ordinal {0}")]
    Ordinal(u64),
}

/// A state that an engine has checked.
#[derive(Debug)]
pub struct CheckedFaults {
    rules: Vec<(Rule, RuleState)>,
    state: String,
    replay: Vec<Record>,
}

impl Engine {
    /// The engine as plain data.
    pub fn save(&self) -> FaultState {
        let rule = |(rule, counts): (&BlockFaultRule, &Arc<Counts>)| RuleState {
            rule: rule.clone(),
            matches: counts.matches(),
            hits: counts.hits(),
        };
        FaultState {
            rules: self.rules().map(rule).collect(),
            state: self.state().to_owned(),
            replay: self.remaining_records(),
        }
    }

    /// Checks a state, which is untrusted.
    ///
    /// # Errors
    ///
    /// [`FaultStateError`] for what an engine of this disk cannot have.
    pub fn check(&self, state: FaultState) -> Result<CheckedFaults, FaultStateError> {
        let FaultState {
            rules,
            state,
            replay,
        } = state;
        if rules.len() > MAX_RULES {
            return Err(FaultStateError::TooMany(rules.len()));
        }
        check_name("state", &state)?;
        let mut names = BTreeSet::new();
        let mut checked = Vec::new();
        for saved in rules {
            self.check_device(&saved.rule.device)?;
            // A disk may have shrunk since: rules beyond its end never fire.
            let rule = rule(&saved.rule, u64::MAX)?;
            let RuleState { hits, matches, .. } = saved;
            if hits > matches || matches > MOST_REQUESTS {
                return Err(FaultStateError::Counts { hits, matches });
            }
            if !names.insert(rule.id.clone()) {
                return Err(FaultStateError::Twice(rule.id));
            }
            checked.push((rule, saved));
        }
        for record in &replay {
            self.check_record(record)?;
        }
        Ok(CheckedFaults {
            rules: checked,
            state,
            replay,
        })
    }

    /// Checks that a record can be of one of the disk's requests.
    ///
    /// # Errors
    ///
    /// [`FaultStateError::Device`] and [`FaultStateError::Ordinal`].
    pub fn check_record(&self, record: &Record) -> Result<(), FaultStateError> {
        self.check_device(&record.device)?;
        match record.ordinal {
            1..=MOST_REQUESTS => Ok(()),
            ordinal => Err(FaultStateError::Ordinal(ordinal)),
        }
    }

    fn check_device(&self, device: &str) -> Result<(), FaultStateError> {
        if device == self.device() {
            return Ok(());
        }
        // Untrusted: not quoted in full.
        let quoted = device.chars().take(40).flat_map(char::escape_debug);
        Err(FaultStateError::Device(quoted.collect()))
    }

    /// Replaces rules, state and replay. The rules have new counts, at the saved numbers.
    pub fn restore(&mut self, checked: CheckedFaults) {
        self.clear();
        for (rule, saved) in checked.rules {
            let counts = Counts::new(saved.matches, saved.hits);
            self.add(rule, saved.rule, Arc::new(counts));
        }
        self.set_state(&checked.state);
        self.replay(Replay::new(checked.replay));
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

    fn engine() -> Engine {
        Engine::new("disk0", Arc::new(EngineView::default()))
    }

    #[test]
    fn a_restored_engine_continues_its_counts() {
        let state = state(
            r#"{"id":"a","device":"disk0","seed":7,"operations":["write"],"count":2,"action":"drop"}"#,
        );
        let mut engine = engine();
        let checked = engine.check(state.clone()).unwrap();
        engine.restore(checked);
        assert_eq!(engine.save(), state);
        let write = Request {
            operation: Operation::Write {
                offset: 0,
                durability: Durability::Cached,
            },
            segments: Segments::new(),
        };
        let fates = [1, 2].map(|ordinal| engine.judge(ordinal, 0, &write).fate);
        assert_eq!(fates, [Fate::Drop, Fate::Perform]);
        let saved = engine.save();
        assert_eq!((saved.rules[0].matches, saved.rules[0].hits), (7, 2));
        assert_eq!(saved.state, "2");
    }

    #[test]
    fn a_rule_beyond_the_end_of_a_disk_that_has_shrunk_is_restored() {
        let far = r#"{"id":"a","device":"disk0","seed":7,"sector":999999,"action":"hang"}"#;
        engine().check(state(far)).unwrap();
    }

    #[test]
    fn a_rule_that_cannot_be_added_is_not_restored() {
        let state =
            state(r#"{"id":"a","device":"disk0","seed":7,"operations":["read"],"action":"drop"}"#);
        let error = engine().check(state).unwrap_err();
        assert!(
            matches!(error, FaultStateError::Rule(RuleError::Inapplicable { .. })),
            "{error}"
        );
    }

    #[test]
    fn a_state_that_no_engine_of_the_disk_can_have_is_refused() {
        use FaultStateError as E;
        let good = state(r#"{"id":"a","device":"disk0","seed":7,"action":"hang"}"#);
        let record = |line: &str| serde_json::from_str::<Record>(line).unwrap();
        let line = r#"{"device":"disk0","ordinal":3,"operation":"read","sector":0,"sectors":1,"id":"a","action":"hang"}"#;
        let refused = |change: &dyn Fn(&mut FaultState)| {
            let mut bad = good.clone();
            change(&mut bad);
            engine().check(bad).unwrap_err()
        };
        engine().check(good.clone()).unwrap();
        let error = refused(&|state| state.rules[0].rule.seed = None);
        assert!(matches!(error, E::Rule(RuleError::Missing { .. })));
        let error = refused(&|state| state.state.clear());
        assert_eq!(error, E::Rule(RuleError::Empty("state")));
        let error = refused(&|state| state.rules[0].rule.device = "disk1".to_owned());
        assert_eq!(error, E::Device("disk1".to_owned()));
        let error = refused(&|state| state.rules.push(state.rules[0].clone()));
        assert_eq!(error, E::Twice("a".to_owned()));
        let error = refused(&|state| state.rules = vec![state.rules[0].clone(); MAX_RULES + 1]);
        assert_eq!(error, E::TooMany(MAX_RULES + 1));
        let error = refused(&|state| state.rules[0].hits = 6);
        assert_eq!(
            error,
            E::Counts {
                hits: 6,
                matches: 5
            }
        );
        let error = refused(&|state| state.rules[0].matches = u64::MAX);
        assert!(matches!(error, E::Counts { .. }));
        let other = line.replace("disk0", "disk1");
        let error = refused(&|state| state.replay.push(record(&other)));
        assert_eq!(error, E::Device("disk1".to_owned()));
        for ordinal in [0, u64::MAX] {
            let other = line.replace(":3,", &format!(":{ordinal},"));
            let error = refused(&|state| state.replay.push(record(&other)));
            assert_eq!(error, E::Ordinal(ordinal));
        }
    }
}
