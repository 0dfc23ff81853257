//! Valid rules, and the errors of invalid ones.

mod actions;

use std::sync::Arc;

use faultvisor_schema::{BlockFaultRule, Decode, Path};
use serde_json::{Value, json};

use crate::block::fault::action::FaultAction;
use crate::block::fault::engine::{Engine, EngineView};
use crate::block::fault::kinds::Kinds;
use crate::block::fault::rule::{Match, Rule, complete, rule};
use crate::block::model::errno::Errno;

/// Sectors of the disk.
const DISK: u64 = 128;

/// A rule of these members, and what a rule needs besides.
fn given(members: &Value) -> BlockFaultRule {
    let mut all = json!({ "device": "disk0", "action": "hang" });
    for (name, value) in members.as_object().unwrap() {
        all[name] = value.clone();
    }
    let mut given = BlockFaultRule::decode(all, &Path::ROOT).unwrap();
    complete(&mut given, || "rule".to_owned(), || 1);
    given
}

fn made(members: &Value) -> Rule {
    rule(&given(members), DISK).unwrap()
}

fn check(cases: &[(Value, &str)]) {
    for (members, expected) in cases {
        let error = rule(&given(members), DISK).unwrap_err();
        assert_eq!(error.to_string(), *expected, "{members}");
    }
}

#[test]
fn every_condition_comes_through() {
    let made = made(&json!({
        "id": "bad", "seed": 7, "operations": ["read", "discard"], "sector": 100, "sectors": 28,
        "state": "2", "min-bytes": 512, "max-bytes": 4096, "skip": 3, "count": 4,
        "probability": 0.25, "action": "error", "errno": "ENOSPC", "after": true,
    }));
    let matching = Match {
        kinds: Kinds::READ.with(Kinds::DISCARD),
        sectors: Some((100, 28)),
        state: Some("2".to_owned()),
        min_bytes: 512,
        max_bytes: 4096,
        skip: 3,
        count: 4,
        probability: 0.25,
    };
    let action = FaultAction::Error {
        errno: Errno::ENOSPC,
        after: true,
    };
    let expected = Rule {
        id: "bad".to_owned(),
        matching,
        action,
        seed: 7,
    };
    assert_eq!(made, expected);
}

#[test]
fn a_rule_without_conditions_is_about_everything_that_its_action_can_be_done_to() {
    let matching = |members: Value| made(&members).matching;
    assert_eq!(matching(json!({})), Match::all(Kinds::ALL));
    let drop = Kinds::WRITE
        .with(Kinds::FLUSH)
        .with(Kinds::DISCARD)
        .with(Kinds::WRITE_ZEROES);
    assert_eq!(matching(json!({ "action": "drop" })), Match::all(drop));
    let sector = matching(json!({ "sector": 127 }));
    assert_eq!(sector.sectors, Some((127, 1)));
}

#[test]
fn defaults_are_filled_in_and_nothing_else_is_changed() {
    let shown = |members: Value| serde_json::to_value(given(&members)).unwrap();
    let expected = json!({
        "id": "rule", "device": "disk0", "seed": 1, "action": "torn", "keep": "random",
        "operations": ["write"], "sector": 5, "sectors": 1,
    });
    let torn = json!({ "action": "torn", "keep": "random", "sector": 5 });
    assert_eq!(shown(torn), expected);
    let whole = json!({
        "id": "own", "device": "disk0", "seed": 9, "action": "hang",
        "operations": ["flush", "read"], "sector": 5, "sectors": 3,
    });
    assert_eq!(shown(whole.clone()), whole);
}

#[test]
fn an_engine_takes_every_rule() {
    let mut engine = Engine::new("disk0", Arc::new(EngineView::default()));
    engine.add(made(&json!({})), given(&json!({})), Arc::default());
    assert!(!engine.is_idle());
}

#[test]
fn an_invalid_condition_is_refused_by_name() {
    let long = "x".repeat(128);
    check(&[
        (
            json!({ "probability": 1.5 }),
            "'probability' is 1.5, which is not from 0 to 1",
        ),
        (
            json!({ "probability": -1 }),
            "'probability' is -1, which is not from 0 to 1",
        ),
        (
            json!({ "probability": 1e300 }),
            "'probability' is 1e300, which is not from 0 to 1",
        ),
        (
            json!({ "sectors": 4 }),
            "'sector' is missing, and 'sectors' is 4",
        ),
        (
            json!({ "sector": 4, "sectors": 0 }),
            "'sectors' is 0, which is no part of the disk",
        ),
        (
            json!({ "sector": 100, "sectors": 100 }),
            "sectors 100 to 199 are not all on the disk, which has 128",
        ),
        (
            json!({ "sector": 128 }),
            "sector 128 is not on the disk, which has 128",
        ),
        (
            json!({ "sector": u64::MAX, "sectors": u64::MAX }),
            "sectors 18446744073709551615 to 36893488147419103229 are not all on the disk, \
             which has 128",
        ),
        (
            json!({ "min-bytes": 5, "max-bytes": 4 }),
            "'min-bytes' is 5, which is more than 'max-bytes', 4",
        ),
        (json!({ "operations": [] }), "'operations' is empty"),
        (
            json!({ "operations": ["read", "flush", "read"] }),
            "'operations' has 'read' twice",
        ),
        (
            json!({ "count": 0 }),
            "'count' is 0, which lets the rule never fire",
        ),
        (json!({ "id": "" }), "'id' is empty"),
        (
            json!({ "id": long }),
            "'id' has 128 bytes, which is more than 127",
        ),
        (
            json!({ "id": "a\nb" }),
            "'id' is 'a\\nb', which has control characters",
        ),
        (json!({ "state": "" }), "'state' is empty"),
        (
            json!({ "state": "\u{85}" }),
            "'state' is '\\u{85}', which has control characters",
        ),
    ]);
    let mut nan = given(&json!({}));
    nan.probability = Some(f64::NAN);
    let error = rule(&nan, DISK).unwrap_err().to_string();
    assert_eq!(error, "'probability' is NaN, which is not from 0 to 1");
}

#[test]
fn a_rule_without_a_name_or_a_seed_is_refused() {
    let error = |clear: fn(&mut BlockFaultRule)| {
        let mut given = given(&json!({}));
        clear(&mut given);
        rule(&given, DISK).unwrap_err().to_string()
    };
    assert_eq!(error(|given| given.id = None), "'id' is missing");
    assert_eq!(error(|given| given.seed = None), "'seed' is missing");
}
