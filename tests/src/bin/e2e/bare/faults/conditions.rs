//! Conditions of rules.

use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, rig, step_by_step};
use crate::bare::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_rule_matches_its_sectors_and_no_others,
    a_rule_honours_skip_and_count,
    a_disk_fails_for_a_while_and_recovers,
    rules_are_evaluated_in_order_until_one_decides,
    a_rule_matches_by_length,
    rules_fire_with_their_probability,
    a_rule_of_one_disk_does_not_affect_another,
    a_rule_can_be_added_before_the_guest_starts,
];

/// A guest that executes these steps one by one; those that fail are marked.
fn plays(context: &Context, steps: &[(&str, bool)], rules: &[Value]) -> Result<Rig, Failure> {
    let script: Vec<&str> = steps.iter().map(|(step, _)| *step).collect();
    let mut rig = rig(
        context,
        &step_by_step(&script),
        256,
        "rerror=report,werror=report",
    )?;
    for rule in rules {
        rig.add(rule.clone())?;
    }
    for (step, fails) in steps {
        rig.go()?;
        let done = rig.done()?;
        let fails = u64::from(*fails);
        done.expect(1 - fails, fails, 0)
            .map_err(|failure| Failure::new(format!("{step}: {failure:?}")))?;
    }
    Ok(rig)
}

/// Matches and hits of each rule.
fn counts(rig: &mut Rig) -> Result<Vec<(u64, u64)>, Failure> {
    let faults = rig.faults()?;
    let rules = faults["rules"].as_array().into_iter().flatten();
    let number = |value: &Value| value.as_u64().unwrap_or(u64::MAX);
    Ok(rules
        .map(|rule| (number(&rule["matches"]), number(&rule["hits"])))
        .collect())
}

fn a_rule_matches_its_sectors_and_no_others(context: &Context) -> Result<(), Failure> {
    let steps = [
        ("read 0 92 8", false),
        ("read 0 93 8", true),
        ("read 0 99 1", false),
        ("read 0 100 1", true),
        ("read 0 103 1", true),
        ("read 0 107 1", true),
        ("read 0 108 8", false),
        ("read 0 80 64", true),
        ("write 0 100 8 5", false),
        // The second range; then its neighbours on both sides.
        ("discard 0 0 0 8 100 1 200 8", true),
        ("discard 0 0 92 8 108 8", false),
        ("zero 0 0 107 2", true),
        ("zero 0 0 108 2", false),
        ("flush 0", false),
        // The last sector and the first.
        ("write 0 254 1 5", false),
        ("write 0 255 1 5", true),
        ("write 0 240 16 5", true),
        ("write 0 0 1 5", true),
        ("write 0 1 1 5", false),
    ];
    let rules = [
        json!({
            "id": "some", "operations": ["read", "discard", "write-zeroes", "flush"],
            "sector": 100, "sectors": 8, "action": "error", "errno": "EIO",
        }),
        json!({
            "id": "last", "operations": ["write"], "sector": 255, "action": "error", "errno": 5,
        }),
        json!({
            "id": "first", "operations": ["write"], "sector": 0, "action": "error", "errno": 5,
        }),
    ];
    let mut rig = plays(context, &steps, &rules)?;
    check_eq!(counts(&mut rig)?, [(7, 7), (2, 2), (1, 1)]);
    let faults = rig.faults()?;
    check_eq!(faults["rules"][1]["rule"]["sectors"], json!(1));
    rig.go()?;
    rig.ends_well()
}

fn a_rule_honours_skip_and_count(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["burst 0 write 10 0 8 5", "burst 0 write 10 0 8 5"]);
    let mut rig = rig(context, &script, 256, "werror=report")?;
    rig.add(json!({
        "id": "some", "operations": ["write"], "skip": 2, "count": 3, "action": "error",
        "errno": "EIO",
    }))?;
    rig.go()?;
    rig.done()?.expect(7, 3, 0)?;
    // The last match is in the second burst.
    rig.add(json!({
        "id": "late", "operations": ["write"], "skip": 9, "count": 1, "action": "error",
        "errno": "EIO",
    }))?;
    rig.go()?;
    rig.done()?.expect(9, 1, 0)?;
    check_eq!(counts(&mut rig)?, [(20, 3), (10, 1)]);
    let mut ordinals = Vec::new();
    while let Some(fault) = rig.injected.try_recv()? {
        ordinals.push(fault.ordinal);
    }
    check_eq!(ordinals, [3, 4, 5, 20]);
    rig.go()?;
    rig.ends_well()
}

fn a_disk_fails_for_a_while_and_recovers(context: &Context) -> Result<(), Failure> {
    let rules = [
        json!({
            "id": "falls", "state": "1", "operations": ["write"], "sector": 200,
            "action": "set-state", "new-state": "down",
        }),
        json!({
            "id": "is down", "state": "down", "operations": ["write"], "action": "error",
            "errno": "EIO",
        }),
        json!({
            "id": "comes up", "state": "down", "operations": ["flush"], "action": "set-state",
            "new-state": "1",
        }),
    ];
    let steps = [
        ("write 0 0 8 5", false),
        ("flush 0", false),
        // The state changes from the next request on.
        ("write 0 200 8 5", false),
        ("write 0 0 8 5", true),
        ("read 0 0 8", false),
        ("write 0 200 8 5", true),
        ("flush 0", false),
        ("write 0 0 8 5", false),
        ("write 0 200 8 5", false),
        ("write 0 0 8 5", true),
    ];
    let mut rig = plays(context, &steps, &rules)?;
    check_eq!(rig.faults()?["state"], json!("down"));
    check_eq!(counts(&mut rig)?, [(2, 2), (3, 3), (1, 1)]);
    // A client can set it, too, and start over.
    let up = json!({ "device": "d0", "state": "1" });
    rig.execute("block-fault-set-state", up)?;
    check_eq!(rig.faults()?["state"], json!("1"));
    let odd = json!({ "device": "d0", "state": "any name" });
    rig.execute("block-fault-set-state", odd)?;
    check_eq!(rig.faults()?["state"], json!("any name"));
    rig.simply("block-fault-clear")?;
    check_eq!(
        rig.faults()?,
        json!({ "device": "d0", "state": "1", "rules": [], "hanging": [] })
    );
    rig.go()?;
    rig.ends_well()
}

fn rules_are_evaluated_in_order_until_one_decides(context: &Context) -> Result<(), Failure> {
    let any = |id: &str, mut members: Value| {
        members["id"] = json!(id);
        members["operations"] = json!(["write"]);
        members
    };
    let rules = [
        any("waits", json!({ "action": "delay", "microseconds": 10 })),
        any(
            "notes",
            json!({ "action": "set-state", "new-state": "noted" }),
        ),
        any(
            "not yet",
            json!({ "state": "noted", "action": "error", "errno": "EIO" }),
        ),
        any(
            "waits again",
            json!({ "action": "delay", "microseconds": 10 }),
        ),
        any(
            "decides",
            json!({ "action": "error", "errno": "EIO", "count": 1 }),
        ),
        any(
            "is not asked",
            json!({ "action": "error", "errno": "ENOSPC" }),
        ),
    ];
    let steps = [("write 0 0 8 5", true), ("write 0 0 8 5", true)];
    let mut rig = plays(context, &steps, &rules)?;
    check_eq!(
        counts(&mut rig)?,
        [(2, 2), (2, 2), (1, 1), (1, 1), (1, 1), (0, 0)]
    );
    for id in ["waits", "notes", "waits again", "decides"] {
        check_eq!(rig.injected()?["id"], json!(id));
    }
    rig.event("BLOCK_IO_ERROR")?;
    for id in ["waits", "notes", "not yet"] {
        check_eq!(rig.injected()?["id"], json!(id));
    }
    rig.event("BLOCK_IO_ERROR")?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}

fn a_rule_matches_by_length(context: &Context) -> Result<(), Failure> {
    let steps = [
        ("read 0 0 1", false),
        ("read 0 0 2", true),
        ("read 0 0 8", true),
        ("read 0 0 9", false),
        // A flush has no length; a request with ranges has their total.
        ("flush 0", true),
        ("zero 0 0 0 1 8 1", false),
        ("zero 0 0 0 1 8 2", true),
    ];
    let rules = [
        json!({
            "id": "reads", "operations": ["read"], "min-bytes": 1024, "max-bytes": 4096,
            "action": "error", "errno": "EIO",
        }),
        json!({ "id": "none", "max-bytes": 0, "action": "error", "errno": "EIO" }),
        json!({
            "id": "zeroes", "operations": ["write-zeroes"], "min-bytes": 1025, "action": "error",
            "errno": "EIO",
        }),
    ];
    let mut rig = plays(context, &steps, &rules)?;
    check_eq!(counts(&mut rig)?, [(2, 2), (1, 1), (1, 1)]);
    rig.go()?;
    rig.ends_well()
}

fn rules_fire_with_their_probability(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["burst 0 read 200 0 1"]);
    let mut rig = rig(context, &script, 256, "")?;
    let lucky = |probability: f64, seed: u64| {
        json!({
            "probability": probability, "seed": seed, "operations": ["read"],
            "action": "set-state", "new-state": "1",
        })
    };
    for (probability, seed) in [(1e-300, 1), (1.0, 1), (0.5, 1), (0.5, 2), (0.01, 3)] {
        rig.add(lucky(probability, seed))?;
    }
    rig.go()?;
    rig.done()?.expect(200, 0, 0)?;
    let counts = counts(&mut rig)?;
    check!(
        counts.iter().all(|(matches, _)| *matches == 200),
        "{counts:?}"
    );
    let hits: Vec<u64> = counts.iter().map(|(_, hits)| *hits).collect();
    check_eq!((hits[0], hits[1]), (0, 200));
    // The seed decides which ones, so that they never vary: five standard deviations.
    check!((65..=135).contains(&hits[2]), "{hits:?}");
    check!((65..=135).contains(&hits[3]), "{hits:?}");
    check!(hits[4] <= 10, "{hits:?}");
    rig.go()?;
    rig.ends_well()
}

fn a_rule_of_one_disk_does_not_affect_another(context: &Context) -> Result<(), Failure> {
    let disks = [image(context, "a", 1, 64)?, image(context, "b", 1, 64)?];
    let script = "setup 0\nsetup 1\nchoose\nread 0 0 8\nread 1 0 8\nread 0 0 8\nchoose\nexit off";
    let plan = Plan::new(context, script)?.disk(&disks[0], "id=d0");
    let mut rig = Rig::start(plan.disk(&disks[1], "id=d1"))?;
    let error = json!({ "device": "d1", "id": "of d1", "action": "error", "errno": "EIO" });
    rig.add(error)?;
    let mut other = rig.machine.wire_client()?;
    other.negotiate(SOON)?;
    rig.go()?;
    for fails in [0, 1, 0] {
        rig.done()?.expect(1 - fails, fails, 0)?;
    }
    // The connection to the first disk's faults does not receive it.
    let event = rig.event("BLOCK_FAULT_INJECTED")?;
    check_eq!(event.data["device"], json!("d1"));
    // Each disk counts its own requests.
    check_eq!(event.data["ordinal"], json!(1));
    rig.event("BLOCK_IO_ERROR")?;
    rig.is_quiet()?;
    let all = rig.simply("query-block-faults")?;
    check_eq!(all[0]["rules"], json!([]));
    check_eq!(all[1]["rules"][0]["hits"], json!(1));
    // Only this disk has a rule of that name, and only it loses its rules.
    let again = json!({ "device": "d0", "id": "of d1", "action": "hang" });
    rig.refused("block-fault-add", &again)?;
    rig.execute("block-fault-clear", json!({ "device": "d0" }))?;
    let all = rig.simply("query-block-faults")?;
    check_eq!(all[1]["rules"][0]["rule"]["id"], json!("of d1"));
    rig.execute("block-fault-clear", json!({ "device": "d1" }))?;
    check_eq!(rig.simply("query-block-faults")?[1]["rules"], json!([]));
    // Default events are equal.
    let event = other.wait_for_event("BLOCK_FAULT_INJECTED", SOON)?;
    check_eq!(event.get("tag"), None);
    check_eq!(event["data"]["id"], json!("of d1"));
    rig.go()?;
    rig.ends_well()
}

fn a_rule_can_be_added_before_the_guest_starts(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let plan = Plan::new(context, "setup 0\nread 0 0 8\nread 0 0 8\nexit off")?;
    let mut machine = plan.disk(&disk, "id=d0").options(&["-S"]).start()?;
    let client = machine.client()?;
    // A name that the program might generate next.
    for (id, expected) in [
        (Some("fault1"), "fault1"),
        (None, "fault2"),
        (None, "fault3"),
    ] {
        let mut rule = json!({
            "device": "d0", "skip": 1, "count": 1, "action": "error", "errno": "EIO",
        });
        if let Some(id) = id {
            rule["id"] = json!(id);
        }
        let added = client.execute_with("block-fault-add", rule)?;
        check_eq!(added["id"], json!(expected));
    }
    client.cont()?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.ends_well()
}
