//! Reads the lines of sessions, and checks what is sent against a schema.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use libqmp::Direction;
use serde_json::Value;

use super::model::Model;

/// Reads lines of one session after another.
#[derive(Debug)]
pub struct Witness {
    model: Model,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Unanswered commands by id.
    asked: HashMap<String, String>,
    problems: BTreeSet<String>,
    answered: BTreeMap<String, usize>,
    refused: BTreeMap<String, usize>,
    raised: BTreeMap<String, usize>,
}

impl Witness {
    /// A witness that knows a schema. It ignores what the schema does not define.
    pub fn new(model: Model) -> Self {
        let state = Mutex::default();
        Self { model, state }
    }

    /// A line of a session, without its end.
    pub fn line(&self, direction: Direction, line: &str) {
        let mut state = self.state();
        let Ok(message) = serde_json::from_str::<Value>(line) else {
            state.problems.insert(format!("no JSON: {line}"));
            return;
        };
        match direction {
            Direction::Sent => state.sent(&message),
            Direction::Received => state.received(&self.model, &message),
        }
    }

    /// All mismatches.
    pub fn problems(&self) -> BTreeSet<String> {
        self.state().problems.clone()
    }

    /// How often each command succeeded.
    pub fn answered(&self) -> BTreeMap<String, usize> {
        self.state().answered.clone()
    }

    /// How often each command was answered by an error.
    pub fn refused(&self) -> BTreeMap<String, usize> {
        self.state().refused.clone()
    }

    /// How often each event was raised.
    pub fn raised(&self) -> BTreeMap<String, usize> {
        self.state().raised.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn sent(&mut self, message: &Value) {
        let command = message.get("execute").or(message.get("exec-oob"));
        if let Some(command) = command.and_then(Value::as_str) {
            let id = message["id"].to_string();
            self.asked.insert(id, command.to_owned());
        }
    }

    fn received(&mut self, model: &Model, message: &Value) {
        if let Some(greeting) = message.get("QMP") {
            let version = model.check("VersionInfo", &greeting["version"], "QMP.version");
            let capabilities = model.check(
                "[QMPCapability]",
                &greeting["capabilities"],
                "QMP.capabilities",
            );
            self.problems
                .extend(version.into_iter().chain(capabilities));
            return;
        }
        if let Some(event) = message["event"].as_str() {
            if model.events().contains_key(event) {
                self.problems.extend(model.check_event(message));
                *self.raised.entry(event.to_owned()).or_default() += 1;
            }
            return;
        }
        let Some(command) = self.asked.remove(&message["id"].to_string()) else {
            self.problems
                .insert(format!("an answer to nothing: {message}"));
            return;
        };
        if !model.commands().contains_key(&command) {
            return;
        }
        let (problems, counted) = match message.get("return") {
            Some(returned) => (model.check_answer(&command, returned), &mut self.answered),
            None => (
                model.check_error(&command, &message["error"]),
                &mut self.refused,
            ),
        };
        *counted.entry(command).or_default() += 1;
        self.problems.extend(problems);
    }
}
