//! Delayed requests, by a rule alone and with limits.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use faultvisor_tests::bare::{SOON, content};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, disk, rig, step_by_step};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_delayed_request_is_overtaken_by_others,
    a_delay_that_expires_while_stopped_ends_at_cont,
    a_delayed_request_is_evaluated_by_later_rules,
    a_delay_comes_after_the_wait_for_a_disks_limits,
    rules_are_evaluated_after_throttling,
];

const SECTORS: usize = 256;

/// The first disk's statistics.
fn count(rig: &mut Rig, name: &str) -> Result<u64, Failure> {
    let stats = rig.simply("query-blockstats")?;
    let count = stats[0]["stats"][name].as_u64();
    count.ok_or_else(|| Failure::new(format!("no {name}")))
}

/// Waits until a counter reaches that value.
fn wait_for(rig: &mut Rig, name: &str, expected: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + SOON;
    loop {
        let found = count(rig, name)?;
        if found == expected {
            return Ok(());
        }
        let is_in_time = Instant::now() < deadline;
        check!(
            found < expected && is_in_time,
            "{name} is {found}, not {expected}"
        );
    }
}

fn a_delayed_request_is_overtaken_by_others(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["start 0 write 10 0 8 5", "reset 0"]);
    let mut rig = rig(context, &script, SECTORS, "")?;
    // The third, for ever.
    rig.add(json!({
        "operations": ["write"], "skip": 2, "count": 1, "action": "delay",
        "microseconds": 3_600_000_000_u64,
    }))?;
    rig.go()?;
    wait_for(&mut rig, "wr_operations", 9)?;
    check_eq!(rig.injected()?["ordinal"], json!(3));
    check_eq!(rig.hanging()?, 0);
    rig.stop()?;
    let mut expected = content(1, 0, SECTORS);
    expected[..80 * 512].copy_from_slice(&content(5, 0, 80));
    expected[16 * 512..24 * 512].copy_from_slice(&content(1, 16, 8));
    check!(fs::read(disk(context))? == expected, "not those nine");
    rig.cont()?;
    // Its rule's removal does not end it, and neither a release nor a reset waits for it.
    rig.simply("block-fault-clear")?;
    rig.release(json!({}), 0)?;
    rig.go()?;
    rig.machine.report("reset")?;
    rig.go()?;
    rig.ends_well()?;
    check!(
        fs::read(disk(context))? == expected,
        "the delayed one was done"
    );
    Ok(())
}

fn a_delay_that_expires_while_stopped_ends_at_cont(context: &Context) -> Result<(), Failure> {
    const DELAY: Duration = Duration::from_millis(150);
    let mut rig = rig(
        context,
        &step_by_step(&["burst 0 write 10 0 8 5"]),
        SECTORS,
        "",
    )?;
    rig.add(json!({
        "operations": ["write"], "action": "delay", "microseconds": DELAY.as_micros(),
    }))?;
    rig.go()?;
    for _ in 0..10 {
        rig.injected()?;
    }
    rig.stop()?;
    // On a slow machine some may have completed before.
    let before = count(&mut rig, "wr_operations")?;
    let image = fs::read(disk(context))?;
    // No event announces an end that does not come.
    thread::sleep(2 * DELAY);
    rig.client.stop()?;
    check_eq!(count(&mut rig, "wr_operations")?, before);
    check!(
        fs::read(disk(context))? == image,
        "a write was done while the machine was stopped"
    );
    rig.cont()?;
    rig.done()?.expect(10, 0, 0)?;
    rig.go()?;
    rig.ends_well()?;
    let mut expected = content(1, 0, SECTORS);
    expected[..80 * 512].copy_from_slice(&content(5, 0, 80));
    check!(fs::read(disk(context))? == expected, "other bytes");
    Ok(())
}

fn a_delayed_request_is_evaluated_by_later_rules(context: &Context) -> Result<(), Failure> {
    let fates = [
        json!({ "action": "error", "errno": "EIO" }),
        json!({ "action": "hang" }),
        json!({ "action": "drop" }),
        json!({ "action": "stop" }),
        json!({ "action": "torn", "keep": "first", "keep-sectors": 1 }),
        json!({ "action": "power-cut", "then": "stop" }),
    ];
    let steps: Vec<String> = (0..fates.len())
        .map(|index| format!("write 0 {} 8 5", index * 8))
        .collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut rig = rig(context, &step_by_step(&steps), SECTORS, "werror=report")?;
    for fate in fates {
        let delay = Duration::from_millis(10);
        rig.add(json!({ "action": "delay", "microseconds": delay.as_micros() }))?;
        rig.add(fate.clone())?;
        let start = Instant::now();
        rig.go()?;
        for action in ["delay", fate["action"].as_str().unwrap_or_default()] {
            check_eq!(rig.injected()?["action"], json!(action));
        }
        let fails = match fate["action"].as_str() {
            Some("error") => 1,
            Some("hang") => {
                rig.wait_for_hanging(1)?;
                rig.release(json!({ "how": "fail" }), 1)?;
                1
            }
            Some("stop") => {
                rig.event("STOP")?;
                rig.cont()?;
                0
            }
            Some("power-cut") => {
                rig.event("BLOCK_POWER_CUT")?;
                rig.event("STOP")?;
                rig.cont()?;
                1
            }
            _ => 0,
        };
        rig.done()?.expect(1 - fails, fails, 0)?;
        check!(
            start.elapsed() >= delay,
            "{fate} came after {:?}",
            start.elapsed()
        );
        if fails == 1 {
            rig.event("BLOCK_IO_ERROR")?;
        }
        rig.is_quiet()?;
        rig.simply("block-fault-clear")?;
    }
    rig.go()?;
    rig.ends_well()?;
    let mut expected = content(1, 0, SECTORS);
    for (sector, sectors) in [(24_usize, 8), (32, 1)] {
        let data = content(5, sector as u64, sectors);
        expected[sector * 512..][..data.len()].copy_from_slice(&data);
    }
    check!(fs::read(disk(context))? == expected, "other bytes");
    Ok(())
}

fn a_delay_comes_after_the_wait_for_a_disks_limits(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["burst 0 write 10 0 8 5"]);
    let options = "throttling.iops-write=20";
    let mut rig = rig(context, &script, SECTORS, options)?;
    let delay = Duration::from_millis(250);
    rig.add(json!({ "action": "delay", "microseconds": delay.as_micros() }))?;
    // Three start at once, and each of the others a twentieth of a second after its predecessor.
    let waits = Duration::from_millis(350);
    let start = Instant::now();
    rig.go()?;
    rig.done()?.expect(10, 0, 0)?;
    let took = start.elapsed();
    check!(took >= waits + delay, "it took {took:?}");
    rig.go()?;
    rig.ends_well()
}

fn rules_are_evaluated_after_throttling(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["burst 0 write 10 0 8 5"]);
    let options = "throttling.bps-write=1,werror=stop";
    let mut rig = rig(context, &script, SECTORS, options)?;
    let rules = [
        json!({ "id": "hangs", "skip": 1, "count": 3, "action": "hang" }),
        json!({ "id": "fails", "skip": 4, "count": 1, "action": "error", "errno": "EIO" }),
    ];
    for rule in rules {
        rig.add(rule)?;
    }
    rig.go()?;
    wait_for(&mut rig, "wr_operations", 1)?;
    let matches = |rig: &mut Rig| -> Result<[Value; 2], Failure> {
        let faults = rig.faults()?;
        Ok([0, 1].map(|rule: usize| faults["rules"][rule]["matches"].clone()))
    };
    check_eq!(matches(&mut rig)?, [json!(1), json!(1)]);
    // Waiting and stopped, then without a limit: all at once.
    rig.stop()?;
    let none = json!({
        "id": "d0", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
    });
    rig.execute("block_set_io_throttle", none)?;
    check_eq!(matches(&mut rig)?, [json!(1), json!(1)]);
    rig.cont()?;
    rig.wait_for_hanging(3)?;
    for _ in 0..3 {
        check_eq!(rig.injected()?["id"], json!("hangs"));
    }
    check_eq!(rig.injected()?["id"], json!("fails"));
    rig.event("BLOCK_IO_ERROR")?;
    rig.event("STOP")?;
    rig.release(json!({}), 3)?;
    rig.cont()?;
    rig.done()?.expect(10, 0, 0)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()?;
    let mut expected = content(1, 0, SECTORS);
    expected[..80 * 512].copy_from_slice(&content(5, 0, 80));
    check!(fs::read(disk(context))? == expected, "other bytes");
    Ok(())
}
