//! Valid actions, and the errors of invalid ones.

use serde_json::{Value, json};

use super::{DISK, check, given, made};
use crate::block::fault::action::FaultAction;
use crate::block::fault::draw::{Corruption, Delay, Percentile, Tear};
use crate::block::fault::rule::rule;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::{Survival, Then};

#[test]
fn every_action_comes_through() {
    let hour = 3_600_000_000_u64;
    let cases = [
        (
            json!({ "action": "error", "errno": 5 }),
            FaultAction::Error {
                errno: Errno::EIO,
                after: false,
            },
        ),
        (
            json!({ "action": "delay", "microseconds": hour }),
            FaultAction::Delay(Delay::Fixed(hour)),
        ),
        (
            json!({ "action": "delay", "min-microseconds": 0, "max-microseconds": 0 }),
            FaultAction::Delay(Delay::Uniform(0, 0)),
        ),
        (
            json!({ "action": "delay", "percentiles": [
                { "percentile": 0, "microseconds": 10 },
                { "percentile": 100.0, "microseconds": 10 },
            ] }),
            FaultAction::Delay(Delay::Percentiles(vec![
                Percentile {
                    percentile: 0.0,
                    microseconds: 10,
                },
                Percentile {
                    percentile: 100.0,
                    microseconds: 10,
                },
            ])),
        ),
        (
            json!({ "action": "corrupt", "flip-bits": 65536 }),
            FaultAction::Corrupt(Corruption::FlipBits(65536)),
        ),
        (
            json!({ "action": "corrupt", "pattern": "dEadBEef" }),
            FaultAction::Corrupt(Corruption::Overwrite {
                offset: 0,
                length: 4,
                pattern: vec![0xde, 0xad, 0xbe, 0xef],
            }),
        ),
        (
            json!({ "action": "corrupt", "pattern": "00", "offset": 3, "length": 512 }),
            FaultAction::Corrupt(Corruption::Overwrite {
                offset: 3,
                length: 512,
                pattern: vec![0],
            }),
        ),
        (
            json!({ "action": "torn", "keep": "last", "keep-sectors": 2, "errno": "EIO" }),
            FaultAction::Torn {
                tear: Tear::Last(2),
                errno: Some(Errno::EIO),
            },
        ),
        (
            json!({ "action": "torn", "keep": "first", "keep-sectors": 0 }),
            FaultAction::Torn {
                tear: Tear::First(0),
                errno: None,
            },
        ),
        (
            json!({ "action": "misdirect", "to-sector": 127 }),
            FaultAction::Misdirect { to_sector: 127 },
        ),
        (
            json!({ "action": "set-state", "new-state": "broken" }),
            FaultAction::SetState("broken".to_owned()),
        ),
        (json!({ "action": "stop" }), FaultAction::Stop),
        (
            json!({ "action": "power-cut" }),
            FaultAction::PowerCut {
                survival: Survival::None,
                tear_bytes: 512,
                then: Then::Reset,
            },
        ),
        (
            json!({ "action": "power-cut", "survive": "prefix", "tear-bytes": 1, "then": "quit" }),
            FaultAction::PowerCut {
                survival: Survival::Prefix,
                tear_bytes: 1,
                then: Then::Quit,
            },
        ),
    ];
    for (members, action) in cases {
        assert_eq!(made(&members).action, action, "{members}");
    }
}

#[test]
fn an_action_is_refused_what_it_cannot_be_done_to() {
    check(&[
        (
            json!({ "action": "torn", "keep": "random", "operations": ["write", "flush"] }),
            "'torn' can be done to writes, not to 'flush'",
        ),
        (
            json!({ "action": "drop", "operations": ["read"] }),
            "'drop' can be done to everything but reads, not to 'read'",
        ),
        (
            json!({ "action": "misdirect", "to-sector": 0, "operations": ["discard"] }),
            "'misdirect' can be done to reads and writes, not to 'discard'",
        ),
        (
            json!({ "action": "corrupt", "flip-bits": 1, "operations": ["write-zeroes"] }),
            "'corrupt' can be done to reads and writes, not to 'write-zeroes'",
        ),
    ]);
}

#[test]
fn an_invalid_delay_is_refused() {
    let choice = "'delay' needs one of 'microseconds', 'min-microseconds' with \
                  'max-microseconds', and 'percentiles'";
    let delay = |mut members: Value| {
        members["action"] = json!("delay");
        members
    };
    let points = |points: &[(f64, u64)]| {
        let point = |&(percentile, microseconds): &(f64, u64)| json!({ "percentile": percentile, "microseconds": microseconds });
        delay(json!({ "percentiles": points.iter().map(point).collect::<Vec<_>>() }))
    };
    check(&[
        (delay(json!({})), choice),
        (
            delay(json!({ "microseconds": 1, "max-microseconds": 2 })),
            choice,
        ),
        (
            delay(json!({ "microseconds": 1, "percentiles": [] })),
            choice,
        ),
        (
            delay(json!({ "min-microseconds": 1, "percentiles": [] })),
            choice,
        ),
        (
            delay(json!({ "min-microseconds": 5 })),
            "'max-microseconds' is missing, and 'min-microseconds' is 5",
        ),
        (
            delay(json!({ "max-microseconds": 5 })),
            "'min-microseconds' is missing, and 'max-microseconds' is 5",
        ),
        (
            delay(json!({ "min-microseconds": 5, "max-microseconds": 4 })),
            "'min-microseconds' is 5, which is more than 'max-microseconds', 4",
        ),
        (
            delay(json!({ "microseconds": 3_600_000_001_u64 })),
            "'microseconds' is 3600000001, which is more than an hour",
        ),
        (
            delay(json!({ "min-microseconds": 5, "max-microseconds": u64::MAX })),
            "'max-microseconds' is 18446744073709551615, which is more than an hour",
        ),
        (points(&[]), "'percentiles' is empty"),
        (
            points(&[(50.0, 1), (50.0, 2)]),
            "'percentiles[1].percentile' is 50, which is not more than that before, 50",
        ),
        (
            points(&[(100.5, 1)]),
            "'percentiles[0].percentile' is 100.5, which is not from 0 to 100",
        ),
        (
            points(&[(-0.5, 1)]),
            "'percentiles[0].percentile' is -0.5, which is not from 0 to 100",
        ),
        (
            points(&[(50.0, 1), (99.9, 2)]),
            "'percentiles[1].percentile' is 99.9, which is the last one and not 100",
        ),
        (
            points(&[(50.0, 5), (100.0, 4)]),
            "'percentiles[1].microseconds' is 4, which is less than those before, 5",
        ),
        (
            points(&[(100.0, 3_600_000_001)]),
            "'percentiles[0].microseconds' is 3600000001, which is more than an hour",
        ),
    ]);
}

#[test]
fn an_invalid_corruption_is_refused() {
    let corrupt = |mut members: Value| {
        members["action"] = json!("corrupt");
        members
    };
    let pattern = |pattern: &str| corrupt(json!({ "pattern": pattern }));
    check(&[
        (
            corrupt(json!({})),
            "'corrupt' needs one of 'flip-bits' and 'pattern'",
        ),
        (
            corrupt(json!({ "flip-bits": 1, "pattern": "00" })),
            "'corrupt' needs one of 'flip-bits' and 'pattern'",
        ),
        (
            corrupt(json!({ "flip-bits": 0 })),
            "'flip-bits' is 0, which is not from 1 to 65536",
        ),
        (
            corrupt(json!({ "flip-bits": 65537 })),
            "'flip-bits' is 65537, which is not from 1 to 65536",
        ),
        (
            corrupt(json!({ "flip-bits": 1, "offset": 5 })),
            "'offset' is 5, which goes with 'pattern' and not with 'flip-bits'",
        ),
        (
            corrupt(json!({ "flip-bits": 1, "length": 5 })),
            "'length' is 5, which goes with 'pattern' and not with 'flip-bits'",
        ),
        (pattern(""), "'pattern' is empty"),
        (
            pattern("abc"),
            "'pattern' is 'abc', which has an odd number of digits",
        ),
        (pattern("0x"), "'pattern' is '0x', which is not hexadecimal"),
        (
            pattern(&"ä".repeat(50)),
            &format!(
                "'pattern' is '{}…', which is not hexadecimal",
                "ä".repeat(40)
            ),
        ),
        (
            pattern(&"00".repeat(4097)),
            "'pattern' has 4097 bytes, which is more than 4096",
        ),
        (
            corrupt(json!({ "pattern": "00", "length": 0 })),
            "'length' is 0, which is not from 1 to 33554432",
        ),
        (
            corrupt(json!({ "pattern": "00", "length": 33_554_433 })),
            "'length' is 33554433, which is not from 1 to 33554432",
        ),
        (
            corrupt(json!({ "pattern": "00", "offset": u64::MAX })),
            "'offset' is 18446744073709551615, which is behind the end of every request",
        ),
    ]);
    assert!(rule(&given(&pattern(&"00".repeat(4096))), DISK).is_ok());
}

#[test]
fn an_action_with_an_invalid_member_is_refused() {
    check(&[
        (
            json!({ "action": "error", "errno": 0 }),
            "'errno' is 0, which is not from 1 to 4095",
        ),
        (
            json!({ "action": "torn", "keep": "first" }),
            "'keep-sectors' is missing, and 'keep' is 'first'",
        ),
        (
            json!({ "action": "torn", "keep": "last" }),
            "'keep-sectors' is missing, and 'keep' is 'last'",
        ),
        (
            json!({ "action": "torn", "keep": "random", "keep-sectors": 4 }),
            "'keep-sectors' is 4, which does not go with 'keep' as 'random'",
        ),
        (
            json!({ "action": "torn", "keep": "random", "errno": 4096 }),
            "'errno' is 4096, which is not from 1 to 4095",
        ),
        (
            json!({ "action": "misdirect", "to-sector": 128 }),
            "'to-sector' is 128, which is not on the disk, which has 128",
        ),
        (
            json!({ "action": "set-state", "new-state": "" }),
            "'new-state' is empty",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 3 }),
            "'tear-bytes' is 3, which is not a power of two from 1 to 512",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 0 }),
            "'tear-bytes' is 0, which is not a power of two from 1 to 512",
        ),
        (
            json!({ "action": "power-cut", "tear-bytes": 1024 }),
            "'tear-bytes' is 1024, which is not a power of two from 1 to 512",
        ),
    ]);
}
