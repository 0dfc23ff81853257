//! Fault logs that are done again.

use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;
use tracing::span::{Attributes, Id, Record as Values};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::block::fault::action::Alteration;
use crate::block::fault::draw::{Corruption, Delay, SectorRun, Tear};
use crate::block::fault::replay::Replay;

/// Counts what is complained of.
#[derive(Clone, Default)]
struct Warnings(Arc<AtomicU32>);

impl Subscriber for Warnings {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if *event.metadata().level() == tracing::Level::WARN {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What it returns, and how many warnings it gave.
fn warnings<T>(test: impl FnOnce() -> T) -> (T, u32) {
    let warnings = Warnings::default();
    let result = tracing::subscriber::with_default(warnings.clone(), test);
    (result, warnings.0.load(Ordering::Relaxed))
}

fn replaying(records: impl IntoIterator<Item = Record>) -> Bench {
    let mut bench = Bench::new([]);
    bench.engine.replay(Replay::new(records));
    bench
}

/// Forty requests of all kinds, each attempted twice.
fn run(bench: &mut Bench) -> Vec<Judgement> {
    let mut judgements = Vec::new();
    for ordinal in 1..=40 {
        let sector = ordinal * 3;
        let request = match ordinal % 4 {
            0 => read(sector, 8),
            1 => write(sector, 8),
            2 => flush(),
            _ => discard(&[(sector, 1), (sector + 5, 3)]),
        };
        for attempt in [0, 1] {
            judgements.push(bench.engine.judge(ordinal, attempt, &request));
        }
    }
    judgements
}

fn rules() -> Vec<Rule> {
    let tear = Tear::Random;
    let actions = [
        FaultAction::Delay(Delay::Uniform(0, 1000)),
        FaultAction::SetState("2".to_owned()),
        FaultAction::Torn { tear, errno: None },
        FaultAction::Corrupt(Corruption::FlipBits(3)),
        FAIL,
    ];
    let rule = |(seed, action): (u64, FaultAction)| Rule {
        matching: Match {
            probability: 0.4,
            ..Match::all(properties(action_type(&action)).kinds)
        },
        seed,
        ..rule(&format!("rule{seed}"), action)
    };
    (0..).zip(actions).map(rule).collect()
}

#[test]
fn a_replay_makes_the_same_decisions_without_rules() {
    let first = run(&mut Bench::new(rules()));
    let log: Vec<Record> = first
        .iter()
        .flat_map(|judgement| judgement.records.clone())
        .collect();
    assert!(log.len() > 20);
    let mut again = replaying(log);
    assert!(!again.engine.is_idle());
    let (second, warnings) = warnings(|| run(&mut again));
    assert_eq!(second, first);
    assert_eq!(warnings, 0);
    assert!(again.engine.is_idle());
    // The state is that which the rules had been in.
    assert_eq!(again.view.get().state, "2");
}

#[test]
fn a_different_request_is_performed_and_reported_once() {
    let fail = Decision::Error {
        errno: Errno::EIO,
        after: false,
    };
    for other in [read(2048, 8), write(2049, 8), write(2048, 7), flush()] {
        let of = |ordinal| Record {
            ordinal,
            ..record(fail.clone())
        };
        let mut bench = replaying([of(1), of(2), of(3)]);
        let (judged, warnings) = warnings(|| {
            let requests = [&other, &write(2048, 8), &other];
            requests.map(|request| bench.judge(request))
        });
        let records = judged.each_ref().map(|judgement| judgement.records.len());
        assert_eq!((records, warnings), ([0, 1, 0], 1));
        assert_eq!(judged[0].fate, Fate::Perform);
        assert_eq!(judged[1].fate, Fate::Fail(Errno::EIO));
    }
}

#[test]
fn decisions_that_were_not_replayed_are_counted() {
    let of = |ordinal| Record {
        ordinal,
        ..record(Decision::Hang)
    };
    let replay = Replay::new([of(1), of(2), of(3)]);
    let undone = replay.undone();
    let left = || undone.load(Ordering::Relaxed);
    assert_eq!(left(), 3);
    let mut bench = Bench::new([]);
    bench.engine.replay(replay);
    bench.judge(&write(2048, 8));
    assert_eq!(left(), 2);
    // Another request than it was.
    warnings(|| bench.judge(&flush()));
    assert_eq!(left(), 2);
    bench.judge(&write(2048, 8));
    assert_eq!(left(), 1);
}

#[test]
fn each_attempt_has_its_own_line() {
    let second = Record {
        attempt: 1,
        ..record(Decision::Hang)
    };
    let mut bench = replaying([second.clone()]);
    assert_eq!(bench.engine.judge(1, 0, &write(2048, 8)).records, []);
    assert_eq!(bench.engine.judge(1, 1, &write(2048, 8)).records, [second]);
    assert_eq!(bench.engine.judge(1, 1, &write(2048, 8)).records, []);
}

#[test]
fn a_log_stands_before_the_rules() {
    let delay = record(Decision::Delay { microseconds: 7 });
    let drop = Record {
        ordinal: 2,
        ..record(Decision::Drop)
    };
    let behind = Record {
        ordinal: 2,
        ..record(Decision::Hang)
    };
    let mut bench = Bench::new([rule("fail", FAIL)]);
    bench.engine.replay(Replay::new([delay, drop, behind]));
    let fired = [(); 3].map(|()| bench.fired(&write(2048, 8)).concat());
    assert_eq!(fired, ["rulefail", "rule", "fail"]);
    assert_eq!(bench.counts(0), (2, 2));
}

#[test]
fn an_inapplicable_decision_is_not_replayed() {
    let torn = |first, count| Decision::Torn {
        keep: vec![SectorRun { first, count }],
        errno: None,
    };
    for (decision, request) in [
        (torn(0, 1), read(2048, 8)),
        (Decision::Drop, read(2048, 8)),
        (Decision::Misdirect { to_sector: 0 }, discard(&[(2048, 8)])),
    ] {
        let operation = RecordedOperation::of(&request.operation);
        let bad = Record {
            operation,
            ..record(decision)
        };
        let (judgement, warnings) = warnings(|| replaying([bad]).judge(&request));
        assert_eq!((judgement.fate, warnings), (Fate::Perform, 1));
    }
    let far = record(torn(u64::MAX, u64::MAX));
    let fate = replaying([far]).judge(&write(2048, 8)).fate;
    assert!(matches!(fate, Fate::Alter(Alteration::Torn(..))));
}

proptest! {
    #[test]
    fn no_log_makes_it_panic(
        decisions in prop::collection::vec((0_u64..4, super::log::decision()), 0..20),
    ) {
        let log = decisions.into_iter().map(|(ordinal, decision)| Record {
            ordinal,
            ..record(decision)
        });
        let mut bench = replaying(log);
        let (_, warnings) = warnings(|| {
            for request in [write(2048, 8), write(2048, 8), read(2048, 8), flush()] {
                let judgement = bench.judge(&request);
                // Only the last of them decides.
                let deciding = judgement.records.iter().position(|of| !of.decision.passes_on());
                assert!(deciding.is_none_or(|at| at + 1 == judgement.records.len()));
            }
        });
        prop_assert!(warnings <= 1);
    }
}
