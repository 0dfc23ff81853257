//! Rules that cannot do what they say, and rules that can.

use faultvisor_devices::block::fault::kinds::Kinds;
use faultvisor_schema::{BlockFaultRule, Decode, Path};
use serde_json::{Value, json};

use crate::faults::feasibility::{Doubt, Target, doubts, doubts_together};
use faultvisor_devices::block::fault::rule::{complete, rule};

/// Sectors of the disk.
const DISK: u64 = 128;

fn written(members: &Value) -> BlockFaultRule {
    let mut all = json!({ "device": "disk0", "action": "hang" });
    for (name, value) in members.as_object().unwrap() {
        all[name] = value.clone();
    }
    BlockFaultRule::decode(all, &Path::ROOT).unwrap()
}

fn of(members: &Value, target: &Target) -> Vec<Doubt> {
    let written = written(members);
    let mut given = written.clone();
    complete(&mut given, || "rule".to_owned(), || 1);
    let rule = rule(&given, target.sectors).unwrap();
    doubts(&written, &rule, target)
}

/// The one thing that is refused about a rule.
fn futile(members: &Value, target: &Target) -> String {
    match of(members, target).as_slice() {
        [Doubt::Futile(text)] => text.clone(),
        other => panic!("{members}: {other:?}"),
    }
}

/// The only note about a rule.
fn told(members: &Value, target: &Target) -> String {
    match of(members, target).as_slice() {
        [Doubt::Questionable(text)] => text.clone(),
        other => panic!("{members}: {other:?}"),
    }
}

fn fine(members: &Value, target: &Target) {
    assert_eq!(of(members, target), [], "{members}");
}

#[test]
fn a_power_cut_that_loses_nothing_names_the_key_that_is_missing() {
    let with = Target::of(DISK);
    let without = Target {
        volatile_cache: false,
        ..with.clone()
    };
    let cut = |survive: &str| json!({ "action": "power-cut", "survive": survive });
    let text = "a power cut loses nothing of disk 'disk0': its --drive needs volatile-cache=on";
    for survive in ["none", "prefix", "random"] {
        assert_eq!(told(&cut(survive), &without), text);
        fine(&cut(survive), &with);
    }
    assert_eq!(told(&json!({ "action": "power-cut" }), &without), text);
    fine(&cut("all"), &without);
    let torn = json!({ "action": "power-cut", "survive": "none", "tear-bytes": 64 });
    assert_eq!(
        told(&torn, &with),
        "'tear-bytes' is 64, and no write is torn unless 'survive' is 'prefix' or 'random'"
    );
    fine(
        &json!({ "action": "power-cut", "survive": "prefix", "tear-bytes": 64 }),
        &with,
    );
}

#[test]
fn a_dropped_flush_needs_a_cache_to_lose_something() {
    let with = Target::of(DISK);
    let without = Target {
        volatile_cache: false,
        ..with.clone()
    };
    let drop = json!({ "operations": ["flush"], "action": "drop" });
    fine(&drop, &with);
    let text = "while the host runs, disk 'disk0' loses nothing for want of a flush: its --drive needs volatile-cache=on";
    assert_eq!(told(&drop, &without), text);
    fine(
        &json!({ "operations": ["flush", "write"], "action": "drop" }),
        &without,
    );
    let unsafe_ = Target {
        flushes: false,
        ..without
    };
    let text = "with cache=unsafe a flush does nothing anyway";
    assert_eq!(futile(&drop, &unsafe_), text);
    fine(
        &json!({ "operations": ["flush"], "action": "error", "errno": "EIO" }),
        &unsafe_,
    );
}

#[test]
fn rules_for_requests_that_a_disk_never_has_are_refused_or_noted() {
    let read_only = Target {
        possible: Kinds::READ.with(Kinds::FLUSH),
        ..Target::of(DISK)
    };
    let operations = |operations: &[&str]| json!({ "operations": operations });
    let never = |operation: &str| {
        format!("'operations' has '{operation}', which a disk with readonly=on never has")
    };
    for operation in ["write", "discard", "write-zeroes"] {
        assert_eq!(
            futile(&operations(&[operation]), &read_only),
            never(operation)
        );
    }
    assert_eq!(
        told(&operations(&["read", "write"]), &read_only),
        never("write")
    );
    fine(&operations(&["read", "flush"]), &read_only);
    fine(&json!({}), &read_only);
    let torn = json!({ "action": "torn", "keep": "random" });
    assert_eq!(futile(&torn, &read_only), never("write"));
    let kept = Target {
        possible: Kinds::READ.with(Kinds::WRITE).with(Kinds::FLUSH),
        ..Target::of(DISK)
    };
    let text = "'operations' has 'discard', which the disk never has (discard=ignore, or an image that cannot give \
                space back)";
    assert_eq!(futile(&operations(&["discard"]), &kept), text);
    let text = "'operations' has 'write-zeroes', which the disk never has (write-zeroes=off)";
    assert_eq!(futile(&operations(&["write-zeroes"]), &kept), text);
}

#[test]
fn conditions_that_no_request_meets_are_refused() {
    let disk = Target::of(DISK);
    let cases = [
        (
            json!({ "probability": 0 }),
            "'probability' is 0, which lets the rule never fire",
        ),
        (
            json!({ "operations": ["flush"], "sector": 7 }),
            "'operations' has 'flush', which is about no part of the disk, and 'sector' is 7",
        ),
        (
            json!({ "operations": ["flush"], "min-bytes": 1 }),
            "'operations' has 'flush', which has no bytes, and 'min-bytes' is 1",
        ),
        (
            json!({ "operations": ["read"], "min-bytes": 65537 }),
            "'min-bytes' is 65537, which is more than the disk has, 65536",
        ),
        (
            json!({ "min-bytes": 513, "max-bytes": 1023 }),
            "no request has 'min-bytes' 513 to 'max-bytes' 1023: all are of whole sectors",
        ),
        (
            json!({ "min-bytes": u64::MAX }),
            "no request has 'min-bytes' 18446744073709551615 to 'max-bytes' 18446744073709551615: all are of whole \
             sectors",
        ),
        (
            json!({ "action": "corrupt", "pattern": "00", "offset": 65536 }),
            "'offset' is 65536, which is behind the end of every request",
        ),
        (
            json!({ "action": "corrupt", "pattern": "00", "offset": 512, "max-bytes": 512 }),
            "'offset' is 512, which is behind the end of every request",
        ),
        (
            json!({ "action": "torn", "keep": "first", "keep-sectors": 128 }),
            "'keep-sectors' is 128, which is all of every request",
        ),
        (
            json!({ "action": "set-state", "state": "2", "new-state": "2" }),
            "'new-state' is '2', as 'state' is already",
        ),
    ];
    for (members, text) in cases {
        assert_eq!(futile(&members, &disk), text);
    }
    for members in [
        json!({ "probability": 1e-9 }),
        json!({ "min-bytes": 512, "max-bytes": 512 }),
        json!({ "max-bytes": 0 }),
        json!({ "action": "corrupt", "pattern": "00", "offset": 65535 }),
        json!({ "action": "torn", "keep": "last", "keep-sectors": 127 }),
        json!({ "action": "torn", "keep": "first", "keep-sectors": 128, "errno": "EIO" }),
        json!({ "action": "set-state", "new-state": "1" }),
        json!({ "action": "delay", "min-microseconds": 0, "max-microseconds": 1 }),
        json!({ "operations": ["write"], "sector": 7 }),
    ] {
        fine(&members, &disk);
    }
    let both = json!({ "operations": ["write", "flush"], "sector": 7 });
    let text = "'operations' has 'flush', which is about no part of the disk, and 'sector' is 7";
    assert_eq!(told(&both, &disk), text);
    let nothing = json!({ "action": "delay", "microseconds": 0 });
    assert_eq!(told(&nothing, &disk), "a delay of 0 microseconds is none");
}

#[test]
fn a_stop_action_needs_a_monitor() {
    let alone = Target {
        has_monitor: false,
        ..Target::of(DISK)
    };
    let text = "nobody can continue the machine when it has stopped: it has no --qmp";
    assert_eq!(told(&json!({ "action": "stop" }), &alone), text);
    assert_eq!(
        told(&json!({ "action": "power-cut", "then": "stop" }), &alone),
        text
    );
    fine(&json!({ "action": "power-cut", "then": "quit" }), &alone);
    fine(&json!({ "action": "stop" }), &Target::of(DISK));
}

fn together(rules: &[Value]) -> Vec<(usize, String)> {
    let numbered = (0..).zip(rules).map(|(number, members): (usize, _)| {
        let mut given = written(members);
        complete(&mut given, || format!("r{number}"), || 1);
        given
    });
    let rules: Vec<_> = numbered.collect();
    doubts_together(&rules.iter().collect::<Vec<_>>())
}

#[test]
fn an_unreachable_state_is_noted() {
    let to = |from: Option<&str>, to: &str| {
        let mut rule = json!({ "action": "set-state", "new-state": to });
        if let Some(from) = from {
            rule["state"] = json!(from);
        }
        rule
    };
    let in_ = |state: &str| json!({ "state": state });
    assert_eq!(together(&[to(Some("1"), "2"), in_("1"), in_("2")]), []);
    assert_eq!(together(&[to(Some("2"), "3"), to(None, "2"), in_("3")]), []);
    let text = |state: &str| format!("'state' is '{state}', which no rule of the disk leads to");
    assert_eq!(together(&[in_("2")]), [(0, text("2"))]);
    // A way that begins nowhere leads nowhere.
    let circle = together(&[to(Some("2"), "3"), to(Some("3"), "2"), in_("2")]);
    assert_eq!(circle, [(0, text("2")), (1, text("3")), (2, text("2"))]);
    let mut other = to(None, "2");
    other["device"] = json!("disk1");
    assert_eq!(together(&[other, in_("2")]), [(1, text("2"))]);
}

#[test]
fn a_shadowed_rule_is_noted() {
    let hidden = |earlier: Value, later: Value| together(&[earlier, later]);
    let text = "rule 'r0' before it decides about each of its requests";
    for (earlier, later) in [
        (json!({}), json!({ "operations": ["read"] })),
        (
            json!({ "operations": ["read", "write"] }),
            json!({ "operations": ["read"], "count": 1 }),
        ),
        (
            json!({ "sector": 8, "sectors": 8 }),
            json!({ "sector": 9, "operations": ["read"] }),
        ),
        (
            json!({ "min-bytes": 512 }),
            json!({ "min-bytes": 1024, "max-bytes": 2048 }),
        ),
    ] {
        assert_eq!(hidden(earlier, later), [(1, text.to_owned())]);
    }
    for (earlier, later) in [
        (json!({ "count": 1 }), json!({})),
        (json!({ "skip": 1 }), json!({})),
        (json!({ "probability": 0.5 }), json!({})),
        (json!({ "operations": ["read"] }), json!({})),
        (
            json!({ "sector": 8, "sectors": 8 }),
            json!({ "sector": 15, "sectors": 2 }),
        ),
        (json!({ "sector": 8 }), json!({})),
        (json!({ "max-bytes": 512 }), json!({})),
        (json!({ "state": "1" }), json!({})),
        (json!({ "action": "delay", "microseconds": 1 }), json!({})),
        (json!({ "device": "disk1" }), json!({})),
    ] {
        assert_eq!(hidden(earlier, later), []);
    }
}
