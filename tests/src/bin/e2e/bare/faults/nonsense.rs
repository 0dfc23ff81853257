//! Invalid rules.

use serde_json::{Value, json};

use super::refused::SECTORS;

/// Rules, each with a word that its error must contain.
pub(super) fn senseless() -> Vec<(Value, &'static str)> {
    let error = |errno: Value| json!({ "action": "error", "errno": errno });
    let with = |name: &str, value: Value| {
        let mut rule = json!({ "action": "hang" });
        rule[name] = value;
        rule
    };
    let at = |sector: u64, sectors: u64| json!({ "action": "hang", "sector": sector, "sectors": sectors });
    let delay = |mut members: Value| {
        members["action"] = json!("delay");
        members
    };
    let corrupt = |mut members: Value| {
        members["action"] = json!("corrupt");
        members
    };
    let point = |percentile: f64, microseconds: u64| json!({ "percentile": percentile, "microseconds": microseconds });
    let hour = 3_600_000_000_u64;
    vec![
        (error(json!("ENOTHING")), "errno"),
        (error(json!("eio")), "errno"),
        (error(json!(0)), "errno"),
        (error(json!(-1)), "errno"),
        (error(json!(70_000)), "errno"),
        (error(json!(4096)), "errno"),
        (error(json!(5.5)), "errno"),
        (error(json!(null)), "errno"),
        (error(json!(["EIO"])), "errno"),
        (json!({ "action": "error" }), "errno"),
        (json!({ "action": "misdirect" }), "to-sector"),
        (json!({ "action": "set-state" }), "new-state"),
        (json!({ "action": "torn" }), "keep"),
        (json!({ "action": "torn", "keep": "first" }), "keep-sectors"),
        (json!({ "action": "torn", "keep": "middle" }), "keep"),
        (
            json!({ "action": "torn", "keep": "random", "keep-sectors": 1 }),
            "keep-sectors",
        ),
        (json!({ "action": "delay" }), "delay"),
        (json!({ "action": "corrupt" }), "corrupt"),
        (json!({ "action": "explode" }), "action"),
        (json!({}), "action"),
        (with("probability", json!(1.5)), "probability"),
        (with("probability", json!(-0.1)), "probability"),
        (with("probability", json!("1")), "probability"),
        (with("probability", json!(0)), "never fire"),
        (
            json!({ "operations": ["flush"], "sector": 1, "action": "hang" }),
            "no part of the disk",
        ),
        (
            json!({ "operations": ["flush"], "min-bytes": 1, "action": "hang" }),
            "no bytes",
        ),
        (
            json!({ "min-bytes": 513, "max-bytes": 1023, "action": "hang" }),
            "whole sectors",
        ),
        (
            json!({ "action": "torn", "keep": "last", "keep-sectors": SECTORS }),
            "all of every request",
        ),
        (
            json!({ "action": "set-state", "state": "2", "new-state": "2" }),
            "new-state",
        ),
        (with("count", json!(0)), "count"),
        (with("count", json!(-1)), "count"),
        (with("skip", json!(1.5)), "skip"),
        (with("seed", json!(-1)), "seed"),
        (with("sectors", json!(8)), "sector"),
        (with("id", json!("")), "id"),
        (with("id", json!("x".repeat(128))), "id"),
        (with("id", json!("a\nb")), "id"),
        (with("id", json!(7)), "id"),
        (with("state", json!("")), "state"),
        (with("operations", json!([])), "operations"),
        (with("operations", json!(["read", "read"])), "read"),
        (with("operations", json!(["trim"])), "operations"),
        (with("operations", json!("read")), "operations"),
        (with("colour", json!("red")), "colour"),
        // Members of other actions.
        (with("errno", json!("EIO")), "errno"),
        (with("keep", json!("first")), "keep"),
        (at(SECTORS, 1), "256"),
        (at(SECTORS - 1, 2), "256"),
        (at(0, SECTORS + 1), "256"),
        (at(0, 0), "sectors"),
        (at(u64::MAX, 1), "18446744073709551615"),
        (at(1, u64::MAX), "18446744073709551615"),
        (at(u64::MAX, u64::MAX), "18446744073709551615"),
        (with("sector", json!(1.8e19)), "sector"),
        (
            json!({ "action": "hang", "min-bytes": 2, "max-bytes": 1 }),
            "min-bytes",
        ),
        (
            json!({ "action": "misdirect", "to-sector": SECTORS }),
            "to-sector",
        ),
        (
            json!({ "action": "misdirect", "to-sector": u64::MAX }),
            "to-sector",
        ),
        (delay(json!({ "microseconds": hour + 1 })), "hour"),
        (
            delay(json!({ "microseconds": 1, "min-microseconds": 1 })),
            "delay",
        ),
        (delay(json!({ "min-microseconds": 1 })), "max-microseconds"),
        (
            delay(json!({ "min-microseconds": 2, "max-microseconds": 1 })),
            "min-microseconds",
        ),
        (delay(json!({ "percentiles": [] })), "percentiles"),
        (delay(json!({ "percentiles": [point(50.0, 1)] })), "100"),
        (
            delay(json!({ "percentiles": [point(60.0, 1), point(50.0, 2), point(100.0, 3)] })),
            "percentiles",
        ),
        (corrupt(json!({ "flip-bits": 0 })), "flip-bits"),
        (corrupt(json!({ "flip-bits": 65537 })), "flip-bits"),
        (
            corrupt(json!({ "flip-bits": 1, "pattern": "00" })),
            "corrupt",
        ),
        (corrupt(json!({ "flip-bits": 1, "offset": 1 })), "offset"),
        (corrupt(json!({ "pattern": "" })), "pattern"),
        (corrupt(json!({ "pattern": "abc" })), "pattern"),
        (corrupt(json!({ "pattern": "zz" })), "pattern"),
        (corrupt(json!({ "pattern": "00".repeat(4097) })), "pattern"),
        (corrupt(json!({ "pattern": "00", "length": 0 })), "length"),
        (
            corrupt(json!({ "pattern": "00", "offset": u64::MAX })),
            "offset",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 0 }),
            "tear-bytes",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 3 }),
            "tear-bytes",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 1024 }),
            "tear-bytes",
        ),
        (json!({ "action": "power-cut", "then": "explode" }), "then"),
        (
            json!({ "action": "power-cut", "survive": "some" }),
            "survive",
        ),
    ]
}
