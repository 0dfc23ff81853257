//! Ends and restarts of guests and machines while requests hang or are delayed.

use std::fs;

use faultvisor_tests::bare::content;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::hanging::{COUNT, FIRST, LENGTH, SECTORS, all_hang, begins, check_written};
use super::{Rig, disk};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_that_resets_its_disk_while_requests_hang_can_use_it_again,
    a_system_reset_while_requests_hang_forgets_them,
    a_system_reset_while_requests_are_delayed_forgets_them,
    a_machine_ends_at_once_while_requests_hang,
];

/// A machine where every second write hangs, and the others are delayed by an hour.
fn half_hang(context: &Context, after: &[&str]) -> Result<Rig, Failure> {
    let hangs = |write: u64| json!({ "operations": ["write"], "sector": FIRST + write * LENGTH, "action": "hang" });
    let mut rules: Vec<Value> = (0..COUNT as u64).step_by(2).map(hangs).collect();
    rules.push(json!({
        "operations": ["write"], "action": "delay", "microseconds": 3_600_000_000_u64,
    }));
    let mut rig = begins(context, after, &rules)?;
    check_eq!(rig.hanging()?, COUNT / 2);
    rig.simply("block-fault-clear")?;
    Ok(rig)
}

fn a_guest_that_resets_its_disk_while_requests_hang_can_use_it_again(
    context: &Context,
) -> Result<(), Failure> {
    let after = ["reset 0", "setup 0", "read 0 0 8", "write 0 0 8 5"];
    let mut rig = half_hang(context, &after)?;
    rig.go()?;
    check_eq!(rig.machine.report("reset")?.number("status")?, 0);
    check_eq!(rig.hanging()?, 0);
    rig.go()?;
    check_eq!(rig.machine.report("setup")?.number("status")?, 0xf);
    rig.go()?;
    rig.done()?.expect(1, 0, 0)?;
    rig.release(json!({}), 0)?;
    rig.go()?;
    rig.done()?.expect(1, 0, 0)?;
    rig.go()?;
    rig.ends_well()?;
    let mut expected = content(1, 0, SECTORS);
    expected[..8 * 512].copy_from_slice(&content(5, 0, 8));
    check!(
        fs::read(disk(context))? == expected,
        "a forgotten write was done"
    );
    Ok(())
}

fn a_system_reset_while_requests_hang_forgets_them(context: &Context) -> Result<(), Failure> {
    let mut rig = all_hang(context, &["wait 0"])?;
    for is_stopped in [false, true] {
        if is_stopped {
            rig.stop()?;
            rig.release(json!({}), COUNT)?;
        }
        rig.simply("system_reset")?;
        rig.event("RESET")?;
        check_eq!(rig.hanging()?, 0);
        // The rules belong to the disk, not to the guest.
        check_eq!(rig.faults()?["rules"][0]["hits"], json!(COUNT));
        if is_stopped {
            rig.cont()?;
        }
        rig.machine.report("choose")?;
        check_written(context, &[])?;
        if !is_stopped {
            rig.remove("hangs")?;
            rig.add(json!({ "id": "again", "operations": ["write"], "action": "hang" }))?;
            rig.go()?;
            rig.wait_for_hanging(COUNT)?;
            // Ordinals continue.
            check_eq!(rig.faults()?["hanging"][0]["ordinal"], json!(COUNT + 1));
            for _ in 0..COUNT {
                rig.injected()?;
            }
        }
    }
    rig.simply("block-fault-clear")?;
    rig.go()?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.go()?;
    rig.ends_well()
}

fn a_system_reset_while_requests_are_delayed_forgets_them(
    context: &Context,
) -> Result<(), Failure> {
    let mut rig = half_hang(context, &["wait 0"])?;
    rig.simply("system_reset")?;
    rig.event("RESET")?;
    check_eq!(rig.hanging()?, 0);
    rig.machine.report("choose")?;
    check_written(context, &[])?;
    rig.go()?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.go()?;
    rig.ends_well()
}

fn a_machine_ends_at_once_while_requests_hang(context: &Context) -> Result<(), Failure> {
    for way in ["quit", "the guest", "quit while stopped"] {
        let mut rig = half_hang(context, &[])?;
        match way {
            "the guest" => rig.machine.machine.console().type_text("o")?,
            "quit" => drop(rig.simply("quit")?),
            _ => {
                rig.stop()?;
                rig.release(json!({}), COUNT / 2)?;
                rig.simply("quit")?;
            }
        }
        rig.ends_well()?;
        // The reset did not wait for it.
        let messages = rig.machine.machine.messages();
        check_eq!(messages.text().matches("in flight").count(), 0);
        check_written(context, &[])?;
    }
    Ok(())
}
