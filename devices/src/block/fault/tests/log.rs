//! The lines of a fault log, which are a file format.

use proptest::prelude::*;

use super::*;
use crate::block::fault::draw::{Change, SectorRun};
use crate::block::model::power_cut::{Survival, Then};

/// A line, and what it says beside what all lines of these tests say.
fn check(decision: Decision, expected: &str) {
    let record = record(decision);
    let line = serde_json::to_string(&record).unwrap();
    let expected = format!(
        r#"{{"device":"disk0","ordinal":1,"attempt":0,"operation":"write","sector":2048,"sectors":8,"id":"rule",{expected}}}"#
    );
    assert_eq!(line, expected);
    assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), record);
    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(value["action"], record.decision.action().name());
}

#[test]
fn each_action_has_its_line() {
    let errno = Errno::ENOSPC;
    check(
        Decision::Error { errno, after: true },
        r#""action":"error","errno":28,"after":true"#,
    );
    let microseconds = 3_600_000_000;
    check(
        Decision::Delay { microseconds },
        r#""action":"delay","microseconds":3600000000"#,
    );
    check(Decision::Hang, r#""action":"hang""#);
    check(Decision::Drop, r#""action":"drop""#);
    check(Decision::Stop, r#""action":"stop""#);
    let to_sector = u64::MAX;
    check(
        Decision::Misdirect { to_sector },
        r#""action":"misdirect","to-sector":18446744073709551615"#,
    );
    let new_state = "2".to_owned();
    check(
        Decision::SetState { new_state },
        r#""action":"set-state","new-state":"2""#,
    );
}

#[test]
fn corruption_is_written_bit_by_bit_or_as_a_pattern() {
    let change = Change::Flip(vec![0, 4095]);
    check(
        Decision::Corrupt { change },
        r#""action":"corrupt","change":{"flip":[0,4095]}"#,
    );
    let change = Change::Overwrite {
        offset: 16,
        length: 512,
        pattern: vec![0xde, 0xad],
    };
    check(
        Decision::Corrupt { change },
        r#""action":"corrupt","change":{"overwrite":{"offset":16,"length":512,"pattern":[222,173]}}"#,
    );
}

#[test]
fn a_torn_write_is_written_run_by_run() {
    let keep = vec![
        SectorRun { first: 0, count: 2 },
        SectorRun { first: 5, count: 1 },
    ];
    check(
        Decision::Torn { keep, errno: None },
        r#""action":"torn","keep":[{"first":0,"count":2},{"first":5,"count":1}],"errno":null"#,
    );
    let torn = Decision::Torn {
        keep: Vec::new(),
        errno: Some(Errno::EIO),
    };
    check(torn, r#""action":"torn","keep":[],"errno":5"#);
}

fn power_cut(survive: Survival, tear_bytes: u32, then: Then) -> Decision {
    Decision::PowerCut {
        survive,
        seed: 7,
        tear_bytes,
        then,
    }
}

#[test]
fn a_power_cut_is_written_with_all_that_it_follows_from() {
    for (survive, name) in [
        (Survival::None, "none"),
        (Survival::All, "all"),
        (Survival::Prefix, "prefix"),
        (Survival::Random, "random"),
    ] {
        check(
            power_cut(survive, 512, Then::Reset),
            &format!(
                r#""action":"power-cut","survive":"{name}","seed":7,"tear-bytes":512,"then":"reset""#
            ),
        );
    }
    for (then, name) in [(Then::Stop, "stop"), (Then::Quit, "quit")] {
        check(
            power_cut(Survival::None, 1, then),
            &format!(
                r#""action":"power-cut","survive":"none","seed":7,"tear-bytes":1,"then":"{name}""#
            ),
        );
    }
}

#[test]
fn each_operation_has_its_name() {
    use RecordedOperation::{Discard, Flush, Read, Write, WriteZeroes};
    let operations = [Read, Write, Flush, Discard, WriteZeroes];
    let names = r#"["read","write","flush","discard","write-zeroes"]"#;
    assert_eq!(serde_json::to_string(&operations).unwrap(), names);
}

#[test]
fn an_errno_is_one_that_a_system_call_returns() {
    for number in ["0", "-5", "4096"] {
        let line = format!(
            r#"{{"device":"d","ordinal":1,"operation":"read","sector":0,"sectors":0,"id":"r","action":"error","errno":{number},"after":false}}"#
        );
        let error = serde_json::from_str::<Record>(&line).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("{number} is no errno"))
        );
    }
}

#[test]
fn a_line_may_leave_out_the_first_attempt_and_an_errno_that_is_none() {
    let line = r#"{"device":"disk0","ordinal":1,"operation":"write","sector":2048,"sectors":8,"id":"rule","action":"torn","keep":[]}"#;
    let torn = Decision::Torn {
        keep: Vec::new(),
        errno: None,
    };
    assert_eq!(serde_json::from_str::<Record>(line).unwrap(), record(torn));
}

#[test]
fn an_invalid_line_is_refused() {
    let good = record(power_cut(Survival::None, 512, Then::Reset));
    let line = serde_json::to_string(&good).unwrap();
    for (what, with) in [
        (r#""tear-bytes":512"#, r#""tear-bytes":0"#),
        (r#""tear-bytes":512"#, r#""tear-bytes":1024"#),
        (r#""tear-bytes":512"#, r#""tear-bytes":48"#),
        (r#""ordinal":1"#, r#""ordinal":-1"#),
        (r#""ordinal":1"#, r#""ordinal":18446744073709551616"#),
        (r#""power-cut""#, r#""explode""#),
        (r#""survive":"none","#, ""),
    ] {
        let bad = line.replace(what, with);
        assert_ne!(bad, line);
        assert!(serde_json::from_str::<Record>(&bad).is_err(), "{bad}");
    }
}

fn change() -> impl Strategy<Value = Change> {
    let overwrite = (any::<u64>(), any::<u64>(), any::<Vec<u8>>());
    prop_oneof![
        any::<Vec<u64>>().prop_map(Change::Flip),
        overwrite.prop_map(|(offset, length, pattern)| Change::Overwrite {
            offset,
            length,
            pattern
        }),
    ]
}

fn runs() -> impl Strategy<Value = Vec<SectorRun>> {
    let run = (any::<u64>(), any::<u64>()).prop_map(|(first, count)| SectorRun { first, count });
    prop::collection::vec(run, 0..9)
}

/// Any decision that a line can have.
pub(super) fn decision() -> impl Strategy<Value = Decision> {
    let errno = || (1..4096_i32).prop_map(Errno);
    let survive = prop::sample::select(vec![
        Survival::None,
        Survival::All,
        Survival::Prefix,
        Survival::Random,
    ]);
    let then = prop::sample::select(vec![Then::Reset, Then::Stop, Then::Quit]);
    prop_oneof![
        (errno(), any::<bool>()).prop_map(|(errno, after)| Decision::Error { errno, after }),
        any::<u64>().prop_map(|microseconds| Decision::Delay { microseconds }),
        Just(Decision::Hang),
        change().prop_map(|change| Decision::Corrupt { change }),
        (runs(), prop::option::of(errno()))
            .prop_map(|(keep, errno)| Decision::Torn { keep, errno }),
        Just(Decision::Drop),
        any::<u64>().prop_map(|to_sector| Decision::Misdirect { to_sector }),
        any::<String>().prop_map(|new_state| Decision::SetState { new_state }),
        Just(Decision::Stop),
        (survive, any::<u64>(), 0_u32..10, then).prop_map(|(survive, seed, shift, then)| {
            Decision::PowerCut {
                survive,
                seed,
                tear_bytes: 1 << shift,
                then,
            }
        }),
    ]
}

proptest! {
    #[test]
    fn a_written_record_is_read_back(
        decision in decision(),
        numbers in any::<(u64, u32, u64, u64)>(),
        names in any::<(String, String)>(),
    ) {
        let written = Record {
            device: names.0,
            ordinal: numbers.0,
            attempt: numbers.1,
            sector: numbers.2,
            sectors: numbers.3,
            id: names.1,
            ..record(decision)
        };
        let line = serde_json::to_string(&written).unwrap();
        prop_assert!(!line.contains('\n'));
        prop_assert_eq!(serde_json::from_str::<Record>(&line).unwrap(), written);
    }
}
