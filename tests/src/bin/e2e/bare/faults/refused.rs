//! Invalid rules and commands: one clear error, and no change of state.

use faultvisor_tests::bare::SOON;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::nonsense::senseless;
use super::{Rig, of_d0, rig, step_by_step};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    an_invalid_rule_is_refused_without_effect,
    invalid_commands_are_refused,
    the_number_of_rules_is_limited_to_ten_thousand,
];

pub(super) const SECTORS: u64 = 256;

/// "query-block-faults" of a disk without rules.
fn nothing() -> Value {
    json!({ "device": "d0", "state": "1", "rules": [], "hanging": [] })
}

fn an_invalid_rule_is_refused_without_effect(context: &Context) -> Result<(), Failure> {
    let mut rig = small(context)?;
    for (rule, word) in senseless() {
        let shown: String = rule.to_string().chars().take(200).collect();
        let (class, desc) = rig.refused("block-fault-add", &of_d0(rule))?;
        check!(class == "GenericError", "{shown}: {class}: {desc}");
        check!(desc.contains(word), "{shown}: {desc}");
        check!(desc.len() < 200, "{shown}: {desc}");
        check_eq!(rig.faults()?, nothing());
    }
    let unknown = json!({ "device": "d9", "id": "x", "action": "hang" });
    let (class, desc) = rig.refused("block-fault-add", &unknown)?;
    check_eq!(
        (class.as_str(), desc.as_str()),
        ("DeviceNotFound", "Device 'd9' not found")
    );
    let (class, desc) = rig.refused("block-fault-add", &json!({ "action": "hang" }))?;
    check_eq!(class, "GenericError");
    check!(desc.contains("device"), "{desc}");
    check_eq!(rig.faults()?, nothing());
    // The name is free for one rule.
    rig.add(json!({ "id": "x", "operations": ["flush"], "action": "hang" }))?;
    let (class, desc) = rig.refused(
        "block-fault-add",
        &of_d0(json!({ "id": "x", "action": "stop" })),
    )?;
    check_eq!(class, "GenericError");
    check!(desc.contains("'x'"), "{desc}");
    let faults = rig.faults()?;
    check_eq!(faults["rules"].as_array().map(Vec::len), Some(1));
    check_eq!(faults["rules"][0]["rule"]["action"], json!("hang"));
    // None of that affects the guest.
    rig.go()?;
    rig.done()?.expect(1, 0, 0)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}

fn small(context: &Context) -> Result<Rig, Failure> {
    let script = step_by_step(&["write 0 0 8 5"]);
    rig(context, &script, usize::try_from(SECTORS)?, "")
}

fn invalid_commands_are_refused(context: &Context) -> Result<(), Failure> {
    let mut rig = small(context)?;
    let release = "block-fault-release";
    let generic = "GenericError";
    let not_found = "DeviceNotFound";
    let long = "x".repeat(128);
    for (command, arguments, expected, word) in [
        (release, json!({ "device": "d9" }), not_found, "d9"),
        (release, json!({}), generic, "device"),
        (
            release,
            json!({ "device": "d0", "how": "melt" }),
            generic,
            "how",
        ),
        (
            release,
            json!({ "device": "d0", "ordinal": -1 }),
            generic,
            "ordinal",
        ),
        (
            release,
            json!({ "device": "d0", "how": "perform", "errno": "EIO" }),
            generic,
            "errno",
        ),
        (
            release,
            json!({ "device": "d0", "how": "complete", "errno": 5 }),
            generic,
            "errno",
        ),
        (
            release,
            json!({ "device": "d0", "errno": 5 }),
            generic,
            "errno",
        ),
        (
            release,
            json!({ "device": "d0", "how": "fail", "errno": 0 }),
            generic,
            "errno",
        ),
        (
            release,
            json!({ "device": "d0", "how": "fail", "errno": "ENOTHING" }),
            generic,
            "errno",
        ),
        (
            "block-fault-remove",
            json!({ "id": "none" }),
            generic,
            "none",
        ),
        ("block-fault-remove", json!({}), generic, "id"),
        (
            "block-fault-clear",
            json!({ "device": "d9" }),
            not_found,
            "d9",
        ),
        (
            "block-fault-set-state",
            json!({ "device": "d9", "state": "1" }),
            not_found,
            "d9",
        ),
        (
            "block-fault-set-state",
            json!({ "device": "d0", "state": "" }),
            generic,
            "state",
        ),
        (
            "block-fault-set-state",
            json!({ "device": "d0", "state": long }),
            generic,
            "state",
        ),
        (
            "block-power-cut",
            json!({ "tear-bytes": 7 }),
            generic,
            "tear-bytes",
        ),
        (
            "block-power-cut",
            json!({ "survive": "some" }),
            generic,
            "survive",
        ),
        (
            "block-power-cut",
            json!({ "then": "explode" }),
            generic,
            "then",
        ),
        ("block-power-cut", json!({ "seed": -1 }), generic, "seed"),
        (
            "get-block-fault-injected-event",
            json!({ "device": "d9" }),
            not_found,
            "d9",
        ),
    ] {
        let (class, desc) = rig.refused(command, &arguments)?;
        check!(class == expected, "{command} {arguments}: {class}: {desc}");
        check!(desc.contains(word), "{command} {arguments}: {desc}");
        check_eq!(rig.faults()?, nothing());
    }
    // Nothing to release is no error.
    rig.release(json!({}), 0)?;
    rig.release(json!({ "id": "never was", "ordinal": 9 }), 0)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.done()?.expect(1, 0, 0)?;
    rig.go()?;
    rig.ends_well()
}

fn the_number_of_rules_is_limited_to_ten_thousand(context: &Context) -> Result<(), Failure> {
    const MOST: u64 = 10_000;
    let mut rig = small(context)?;
    // Faster than one command at a time.
    let mut client = rig.machine.wire_client()?;
    client.negotiate(SOON)?;
    // The guest's request meets the last of all rules.
    let rule = |number: u64| {
        let is_last = number == MOST - 1;
        let sector = if is_last {
            7
        } else {
            8 + number % (SECTORS - 8)
        };
        json!({ "device": "d0", "sector": sector, "action": "error", "errno": "EIO" })
    };
    let numbers: Vec<u64> = (0..MOST).collect();
    for some in numbers.chunks(100) {
        for number in some {
            let add = json!({ "execute": "block-fault-add", "arguments": rule(*number) });
            client.send(&add.to_string())?;
        }
        for number in some {
            let answer = client.next_message("answer", SOON)?;
            let id = json!(format!("fault{}", number + 1));
            check!(answer["return"]["id"] == id, "{answer} is not {id}");
        }
    }
    let one_more = json!({ "device": "d0", "id": "one more", "action": "hang" });
    let (class, desc) = rig.refused("block-fault-add", &one_more)?;
    check_eq!(class, "GenericError");
    check!(desc.contains("10000"), "{desc}");
    let rules = rig.faults()?["rules"].as_array().map(Vec::len);
    check_eq!(rules, Some(10_000));
    rig.go()?;
    rig.event("BLOCK_FAULT_INJECTED")?;
    rig.done()?.expect(0, 1, 0)?;
    rig.remove("fault77")?;
    rig.add(json!({ "id": "one more", "action": "hang" }))?;
    rig.simply("block-fault-clear")?;
    check_eq!(rig.faults()?, nothing());
    rig.go()?;
    rig.ends_well()
}
