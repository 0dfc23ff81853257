//! Busy guests, whose every read is checked, under concurrent commands of a client.

use std::time::Instant;

use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{BlockPowerCutArguments, BlockPowerCutSurvive, BlockPowerCutThen};
use serde_json::json;

use super::{Rig, step_by_step};
use crate::bare::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    rules_can_be_added_and_removed_under_load,
    a_guest_does_not_notice_repeated_stops,
    repeated_power_cuts_lose_only_what_they_report,
    repeated_power_cuts_leave_no_state_behind,
];

const COUNT: u64 = 8_000;

/// A machine whose guest has started a storm.
fn storm(context: &Context, options: &str) -> Result<Rig, Failure> {
    let script = step_by_step(&[&format!("storm 0 0 4 {COUNT} 128 77")]);
    let disk = image(context, "disk", 1, 4 * usize::try_from(COUNT)?)?;
    let plan = Plan::new(context, &script)?;
    let mut rig = Rig::start(plan.disk(&disk, &format!("id=d0,{options}")))?;
    rig.go()?;
    rig.machine.report("storming")?;
    Ok(rig)
}

/// Repeats `act` until the storm is over. Returns the number of times.
fn until_over(
    rig: &mut Rig,
    mut act: impl FnMut(&mut Rig) -> Result<(), Failure>,
) -> Result<usize, Failure> {
    let deadline = Instant::now() + SOON;
    let mut rounds = 0;
    while !rig.machine.machine.serial().text().contains(" stormed ") {
        check!(Instant::now() < deadline, "the guest does not get on");
        act(rig)?;
        rig.forget_events()?;
        rounds += 1;
    }
    Ok(rounds)
}

fn rules_can_be_added_and_removed_under_load(context: &Context) -> Result<(), Failure> {
    let mut rig = storm(context, "werror=report,rerror=report")?;
    // None of these has an effect visible to the guest, except on timing.
    let hangs = json!({ "id": "hangs", "probability": 0.1, "count": 20, "action": "hang" });
    let waits = json!({
        "id": "waits", "probability": 0.1, "action": "delay", "max-microseconds": 500,
        "min-microseconds": 0,
    });
    let rounds = until_over(&mut rig, |rig| {
        rig.add(hangs.clone())?;
        rig.add(waits.clone())?;
        rig.remove("waits")?;
        rig.remove("hangs")?;
        rig.execute("block-fault-release", json!({ "device": "d0" }))?;
        Ok(())
    })?;
    check!(rounds > 3, "the guest was too fast: {rounds} rounds");
    rig.machine.report("stormed")?.expect(COUNT, 0, 0)?;
    check_eq!(rig.hanging()?, 0);
    check_eq!(rig.faults()?["rules"], json!([]));
    rig.go()?;
    rig.ends_well()
}

fn a_guest_does_not_notice_repeated_stops(context: &Context) -> Result<(), Failure> {
    for aio in ["io_uring", "threads"] {
        let mut rig = storm(context, &format!("werror=stop,rerror=stop,aio={aio}"))?;
        for rule in [
            json!({ "probability": 0.05, "action": "delay", "microseconds": 200 }),
            json!({ "probability": 0.02, "action": "hang" }),
            json!({ "probability": 0.01, "action": "error", "errno": "EIO" }),
            json!({ "probability": 0.01, "action": "error", "errno": "EIO", "after": true }),
            json!({
                "operations": ["write"], "probability": 0.01, "action": "torn", "keep": "random",
                "errno": "ENOSPC",
            }),
            json!({ "probability": 0.005, "action": "stop" }),
        ] {
            rig.add(rule)?;
        }
        until_over(&mut rig, |rig| {
            rig.execute("block-fault-release", json!({ "device": "d0" }))?;
            if rig.simply("query-status")?["running"] == false {
                rig.client.cont()?;
            }
            Ok(())
        })?;
        rig.machine.report("stormed")?.expect(COUNT, 0, 0)?;
        let faults = rig.faults()?;
        let rules = faults["rules"].as_array().into_iter().flatten();
        check!(
            rules.clone().count() == 6 && rules.clone().all(|rule| rule["hits"] != json!(0)),
            "a rule has not fired: {faults}"
        );
        rig.go()?;
        rig.ends_well()?;
    }
    Ok(())
}

fn repeated_power_cuts_lose_only_what_they_report(context: &Context) -> Result<(), Failure> {
    // With a volatile cache that keeps everything, and without one.
    for options in ["aio=io_uring", "aio=threads", "volatile-cache=on"] {
        let mut rig = storm(context, &format!("werror=report,rerror=report,{options}"))?;
        // Something is always in flight.
        rig.add(json!({ "probability": 0.1, "action": "delay", "microseconds": 2000 }))?;
        let mut seed = 0;
        let cuts = until_over(&mut rig, |rig| {
            seed += 1;
            rig.client.block_power_cut(&BlockPowerCutArguments {
                survive: Some(BlockPowerCutSurvive::All),
                seed: Some(seed),
                then: Some(BlockPowerCutThen::Stop),
                ..BlockPowerCutArguments::new()
            })?;
            rig.client.wait_for_event("STOP")?;
            rig.client.cont()?;
            Ok(())
        })?;
        check!(cuts > 3, "the guest was too fast: {cuts} cuts");
        let stormed = rig.machine.report("stormed")?;
        let failed = stormed.number("ioerr")?;
        stormed.expect(COUNT - failed, failed, 0)?;
        check!(failed > 0, "nothing was on its way, with {options}");
        rig.go()?;
        rig.ends_well()?;
    }
    Ok(())
}

fn repeated_power_cuts_leave_no_state_behind(context: &Context) -> Result<(), Failure> {
    let mut rig = storm(context, "volatile-cache=on")?;
    for seed in 0..10 {
        rig.client.block_power_cut(&BlockPowerCutArguments {
            survive: Some(BlockPowerCutSurvive::Random),
            tear_bytes: Some(32),
            seed: Some(seed),
            ..BlockPowerCutArguments::new()
        })?;
        rig.event("BLOCK_POWER_CUT")?;
        rig.event("RESET")?;
        rig.machine.report("choose")?;
        rig.go()?;
        rig.machine.report("storming")?;
    }
    rig.machine.report("stormed")?.expect(COUNT, 0, 0)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}
