//! Runs a cell, and checks it from both sides.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use faultvisor_tests::bare::pattern;
use faultvisor_tests::suite::Failure;
use faultvisor_tests::{check, check_eq};
use serde_json::{Value, json};

use super::super::Rig;
use super::Cell;
use super::cells::{Column, Course, DELAY, Effect, Error, LENGTH, Operation, Policy, REGION};
use super::data::{self, Model};
use crate::bare::statistics::{check_numbers, statistics};
use crate::bare::{check_event, check_state};

/// The seed; each cell's decisions depend on it and on the request's ordinal.
const RULE_SEED: u64 = 77;

/// A page's machine, and the expected state.
pub struct Player {
    rig: Rig,
    policy: Policy,
    model: Model,
    log: PathBuf,
    /// Number of requests until now.
    requests: u64,
    /// Number of log lines until now.
    lines: usize,
    /// The expected `query-blockstats`; absent members are zero.
    numbers: BTreeMap<String, u64>,
}

impl Player {
    pub fn new(rig: Rig, policy: Policy, model: Model, log: PathBuf) -> Self {
        Self {
            rig,
            policy,
            model,
            log,
            requests: 0,
            lines: 0,
            numbers: BTreeMap::new(),
        }
    }

    /// The guest powers off; returns the expected contents of the disk.
    pub fn end(mut self) -> Result<Model, Failure> {
        self.rig.machine.machine.console().type_text("o")?;
        self.rig.ends_well()?;
        Ok(self.model)
    }

    /// A rule is refused if its action does not fit such a request.
    pub fn is_refused(&mut self, cell: &Cell) -> Result<(), Failure> {
        let rule = rule(cell);
        let (class, desc) = self.rig.refused("block-fault-add", &rule)?;
        check_eq!(class, "GenericError");
        let names = [&rule["action"], &json!(cell.operation.name())];
        check!(
            names
                .iter()
                .all(|name| desc.contains(name.as_str().unwrap_or("?"))),
            "the error is '{desc}'"
        );
        self.shows(&json!({ "device": "d0", "state": "1", "rules": [], "hanging": [] }))
    }

    /// Adds the rule, has the guest send the request, and checks all effects.
    pub fn play(&mut self, cell: &Cell) -> Result<(), Failure> {
        let Cell {
            operation,
            action,
            first,
        } = cell;
        let rule = rule(cell);
        let added = self.rig.add(rule.clone())?;
        check_eq!(added, json!({ "id": rule["id"], "seed": RULE_SEED }));
        self.has_fired(cell, 0, 0, &[])?;
        let start = Instant::now();
        self.rig.go()?;
        self.requests += 1;
        let injected = json!({
            "id": rule["id"], "device": "d0", "operation": operation.name(),
            "sector": sector(cell), "sectors": sectors(*operation), "action": rule["action"],
            "ordinal": self.requests,
        });
        check_eq!(self.rig.injected()?, injected);
        self.takes_its_course(cell)?;
        let held = match action.error {
            Some(error) => self.fails(cell, error)?,
            None => false,
        };
        let done = self.rig.done()?;
        let is_reported = action
            .error
            .is_some_and(|error| self.policy.action(*operation, error) == "report");
        done.expect(u64::from(!is_reported), u64::from(is_reported), 0)?;
        if action.course == Course::Delayed {
            let took = start.elapsed();
            check!(took >= DELAY, "it took {took:?}");
        }
        let record = self.record(cell)?;
        let mut found = self
            .model
            .perform(*operation, *first, action.effect, &record);
        if held {
            // The second attempt has its full effect.
            found = self
                .model
                .perform(*operation, *first, Effect::Whole, &record);
        }
        if *operation == Operation::Read {
            check_eq!(done.number("sum")?, pattern::sum(&found));
        }
        self.counts(*operation, is_reported);
        if (action.error.is_none() || held) && operation.counted_as() == "wr" {
            self.reached(first + LENGTH);
        }
        self.numbers_are_right()?;
        self.has_fired(cell, 1 + u64::from(held), 1, &[])?;
        self.rig.simply("block-fault-clear")?;
        self.shows(&json!({ "device": "d0", "state": "1", "rules": [], "hanging": [] }))?;
        check_state(&self.rig.client, "running", self.policy.good_status())?;
        self.rig.is_quiet()?;
        self.reads_back(*first)
    }

    /// The guest reads the expected data, around the request, too.
    fn reads_back(&mut self, first: u64) -> Result<(), Failure> {
        self.rig.go()?;
        self.requests += 1;
        let done = self.rig.done()?;
        done.expect(1, 0, 0)?;
        let should = pattern::sum(self.model.part(first, REGION));
        check!(done.number("sum")? == should, "the disk has other bytes");
        self.count("rd_operations", 1);
        self.count("rd_bytes", REGION * 512);
        self.numbers_are_right()
    }

    /// Checks what happens before the request ends, or is held for its error.
    fn takes_its_course(&mut self, cell: &Cell) -> Result<(), Failure> {
        let rig = &mut self.rig;
        match &cell.action.course {
            Course::Straight | Course::Delayed => return Ok(()),
            Course::Hangs(how) => {
                let hanging = json!({
                    "ordinal": self.requests, "id": rule(cell)["id"], "sector": sector(cell),
                    "operation": cell.operation.name(), "sectors": sectors(cell.operation),
                });
                self.has_fired(cell, 1, 1, &[hanging])?;
                self.rig.is_quiet()?;
                return self.rig.release(how.clone(), 1);
            }
            Course::Stops => {
                rig.event("STOP")?;
            }
            Course::PowerFails => {
                let lost = json!({
                    "device": "d0", "survive": "random", "seed": RULE_SEED, "writes": 0,
                    "sectors": 0,
                });
                check_eq!(rig.event("BLOCK_POWER_CUT")?.data, lost);
                rig.event("STOP")?;
            }
        }
        check_state(&rig.client, "paused", self.policy.good_status())?;
        self.numbers_are_right()?;
        self.rig.cont()
    }

    /// The request fails. Returns whether it was held for that, and succeeded in a second attempt.
    fn fails(&mut self, cell: &Cell, error: Error) -> Result<bool, Failure> {
        let action = self.policy.action(cell.operation, error);
        let is_read = cell.operation == Operation::Read;
        let data = [
            ("device", json!("d0")),
            ("node-name", json!("d0")),
            ("qom-path", json!("/machine/peripheral/d0/virtio-backend")),
            ("operation", json!(if is_read { "read" } else { "write" })),
            ("action", json!(action)),
            ("reason", json!(error.reason())),
            ("nospace", json!(error == Error::NoSpace)),
        ];
        let event = self.rig.event("BLOCK_IO_ERROR")?;
        check_event(&event, "BLOCK_IO_ERROR", &data)?;
        if action != "stop" {
            return Ok(false);
        }
        self.rig.event("STOP")?;
        let status = match error {
            Error::Io => "failed",
            Error::NoSpace => "nospace",
        };
        check_state(&self.rig.client, "io-error", status)?;
        // A held request has not ended.
        self.numbers_are_right()?;
        self.rig.cont()?;
        Ok(true)
    }

    /// The log has one more line, about the cell's rule.
    fn record(&mut self, cell: &Cell) -> Result<Value, Failure> {
        let log = fs::read_to_string(&self.log)?;
        self.lines += 1;
        check_eq!(log.lines().count(), self.lines);
        let record: Value = serde_json::from_str(log.lines().last().unwrap_or_default())?;
        let rule = rule(cell);
        let expected = [
            ("device", json!("d0")),
            ("ordinal", json!(self.requests)),
            ("attempt", json!(0)),
            ("operation", json!(cell.operation.name())),
            ("sector", json!(sector(cell))),
            ("sectors", json!(sectors(cell.operation))),
            ("id", rule["id"].clone()),
            ("action", rule["action"].clone()),
        ];
        let fits = expected.iter().all(|(key, value)| record[key] == *value);
        check!(fits, "the log says {record}");
        let Column { effect, .. } = cell.action;
        check!(data::is_sound(effect, &record), "the log says {record}");
        Ok(record)
    }

    fn shows(&mut self, expected: &Value) -> Result<(), Failure> {
        check_eq!(self.rig.faults()?, *expected);
        Ok(())
    }

    /// Checks the matches and hits of the cell's rule, and the number of hanging requests.
    fn has_fired(
        &mut self,
        cell: &Cell,
        matches: u64,
        hits: u64,
        hanging: &[Value],
    ) -> Result<(), Failure> {
        let rule = rule(cell);
        let state = match (hits, rule.get("new-state")) {
            (1, Some(state)) => state.clone(),
            _ => json!("1"),
        };
        let shown = json!({ "rule": rule, "matches": matches, "hits": hits });
        self.shows(&json!({
            "device": "d0", "state": state, "rules": [shown], "hanging": hanging,
        }))
    }

    fn counts(&mut self, operation: Operation, is_reported: bool) {
        let kind = operation.counted_as();
        if is_reported {
            return self.count(&format!("failed_{kind}_operations"), 1);
        }
        self.count(&format!("{kind}_operations"), 1);
        if operation != Operation::Flush {
            self.count(&format!("{kind}_bytes"), LENGTH * 512);
        }
    }

    fn count(&mut self, name: &str, more: u64) {
        *self.numbers.entry(name.to_owned()).or_default() += more;
    }

    fn reached(&mut self, end: u64) {
        let highest = self.numbers.entry("wr_highest_offset".to_owned());
        let highest = highest.or_default();
        *highest = (*highest).max(end * 512);
    }

    fn numbers_are_right(&mut self) -> Result<(), Failure> {
        let numbers = self.numbers.iter();
        let numbers: Vec<_> = numbers
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        check_numbers(&statistics(&self.rig.client)?, &numbers)
    }
}

/// The request's first sector in events and the log.
fn sector(cell: &Cell) -> u64 {
    match cell.operation {
        Operation::Flush => 0,
        _ => cell.first,
    }
}

fn sectors(operation: Operation) -> u64 {
    match operation {
        Operation::Flush => 0,
        _ => LENGTH,
    }
}

/// The cell's rule, with every default stated.
fn rule(cell: &Cell) -> Value {
    let mut rule = json!({
        "id": cell.name(), "device": "d0", "operations": [cell.operation.name()],
        "count": 1, "seed": RULE_SEED,
    });
    if cell.operation != Operation::Flush {
        rule["sector"] = json!(cell.first);
        rule["sectors"] = json!(LENGTH);
    }
    for (name, value) in cell.action.members.as_object().into_iter().flatten() {
        rule[name] = value.clone();
    }
    rule
}
