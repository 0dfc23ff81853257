//! In any order of requests, completions, errors, stops and resumes, every request completes once,
//! according to the policy.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::driver::*;
use super::fakes::Heard;
use super::strategies::{config, end, kind, policy};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Operation, Token};
use crate::block::policy::error_policy::{ErrorAction, ErrorPolicy};

/// One step of a test with a known outcome.
#[derive(Debug, Clone)]
enum DriverStep {
    Ask(u32),
    /// Some requests in flight end, in one turn of the worker.
    End(Vec<(prop::sample::Index, Result<(), Errno>)>),
    Pause,
    Resume,
}

fn step() -> impl Strategy<Value = DriverStep> {
    let ends = vec((any::<prop::sample::Index>(), end()), 1..4);
    prop_oneof![
        6 => kind().prop_map(DriverStep::Ask),
        6 => ends.prop_map(DriverStep::End),
        1 => Just(DriverStep::Pause),
        2 => Just(DriverStep::Resume),
    ]
}

/// A request and its state.
#[derive(Debug, Clone, Copy)]
struct Asked {
    slot: u16,
    kind: u32,
}

/// The device and its model.
struct Twin {
    machine: Machine,
    running: bool,
    /// Available, and not taken yet.
    waiting: Vec<Asked>,
    in_flight: BTreeMap<Token, Asked>,
    held: BTreeMap<Token, Asked>,
    free: Vec<u16>,
}

impl Twin {
    fn new(policy: ErrorPolicy) -> Self {
        let setup = Setup {
            policy,
            ..Setup::default()
        };
        Self {
            machine: setup.start(),
            running: true,
            waiting: Vec::new(),
            in_flight: BTreeMap::new(),
            held: BTreeMap::new(),
            free: (0..8).collect(),
        }
    }

    fn take(&mut self, step: DriverStep) {
        match step {
            DriverStep::Ask(kind) => self.ask(kind),
            DriverStep::End(ends) => self.end(ends),
            DriverStep::Pause => {
                self.machine.pause();
                // The pause must arrive before the next request.
                self.machine.backend.barrier();
                self.running = false;
            }
            DriverStep::Resume => self.resume(),
        }
    }

    fn ask(&mut self, kind: u32) {
        let Some(slot) = self.free.pop() else { return };
        let length = if kind == FLUSH { 0 } else { 512 };
        self.machine.ask(slot, kind, u64::from(slot), length);
        self.waiting.push(Asked { slot, kind });
        self.expect_submissions();
    }

    fn expect_submissions(&mut self) {
        if self.running {
            for asked in std::mem::take(&mut self.waiting) {
                let (token, request) = self.machine.backend.next();
                let offset = 512 * u64::from(asked.slot);
                match (asked.kind, request.operation.clone()) {
                    (IN, Operation::Read { offset: at }) => assert_eq!(at, offset),
                    (OUT, Operation::Write { offset: at, .. }) => assert_eq!(at, offset),
                    (FLUSH, Operation::Flush) => {}
                    wrong => panic!("{wrong:?}"),
                }
                assert!(self.in_flight.insert(token, asked).is_none());
            }
        }
        assert!(self.machine.backend.arrived().is_empty());
    }

    fn end(&mut self, ends: Vec<(prop::sample::Index, Result<(), Errno>)>) {
        let (mut batch, mut answers) = (Vec::new(), Vec::new());
        for (index, end) in ends {
            if self.in_flight.is_empty() {
                break;
            }
            let at = index.index(self.in_flight.len());
            let token = *self.in_flight.keys().nth(at).unwrap();
            let asked = self.in_flight.remove(&token).unwrap();
            batch.push((token, end));
            let action = end.err().map(|errno| {
                let policy = self.machine.setup.policy;
                policy.action(asked.kind == IN, errno)
            });
            match action {
                None | Some(ErrorAction::Ignore) => answers.push((asked, OK)),
                Some(ErrorAction::Report) => answers.push((asked, IOERR)),
                Some(ErrorAction::Stop) => drop(self.held.insert(token, asked)),
            }
        }
        self.machine.backend.end(batch.clone());
        self.expect_reports(&batch);
        self.expect_answers(&answers);
    }

    fn expect_reports(&mut self, batch: &[(Token, Result<(), Errno>)]) {
        for errno in batch.iter().filter_map(|(_, end)| end.err()) {
            let (error, _) = self.machine.hear_error();
            assert_eq!(error.errno, errno);
            if error.action == ErrorAction::Stop {
                let Heard::Stop { run, .. } = self.machine.hear() else {
                    panic!("no stop");
                };
                assert_eq!(run, self.machine.run);
                self.running = false;
            }
        }
    }

    fn expect_answers(&mut self, answers: &[(Asked, u8)]) {
        let count = u16::try_from(answers.len()).unwrap();
        let used = self.machine.wait_used(count);
        for ((asked, status), (head, length)) in answers.iter().zip(used) {
            assert_eq!(head, head_of(asked.slot));
            assert_eq!(length, if asked.kind == IN { 513 } else { 1 });
            assert_eq!(self.machine.status(asked.slot), *status);
            self.free.push(asked.slot);
        }
        assert_eq!(self.machine.take_used(), []);
    }

    fn resume(&mut self) {
        self.machine.resume();
        self.running = true;
        for (token, asked) in std::mem::take(&mut self.held) {
            assert_eq!(self.machine.backend.next().0, token);
            self.in_flight.insert(token, asked);
        }
        self.expect_submissions();
        // An error before the resume arrives belongs to the old run.
        self.machine.backend.barrier();
    }

    /// Completes all requests.
    fn finish(mut self) {
        self.resume();
        let all: Vec<_> = self
            .in_flight
            .keys()
            .map(|token| (*token, Ok(())))
            .collect();
        let answers: Vec<_> = self.in_flight.values().map(|asked| (*asked, OK)).collect();
        self.machine.backend.end(all);
        self.expect_answers(&answers);
        assert_eq!(self.free.len(), 8);
        self.machine.backend.barrier();
        assert_eq!(self.machine.take_used(), []);
        assert!(self.machine.heard.try_recv().is_err());
        assert!(!self.machine.needs_reset());
    }
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn every_request_is_completed_once_and_as_the_policy_says(
        policy in policy(),
        steps in vec(step(), 1..60),
    ) {
        let mut twin = Twin::new(policy);
        for step in steps {
            twin.take(step);
        }
        twin.finish();
    }
}
