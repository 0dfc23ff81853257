//! The action "stop": the machine stops before a request is performed, as at a breakpoint.

use std::fs;

use faultvisor_tests::bare::content;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::{Rig, disk, rig, step_by_step};
use crate::bare::check_state;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_machine_stops_at_the_nth_write_with_earlier_ones_on_the_disk,
    a_breakpoint_stops_the_machine_at_every_matching_write,
    a_resubmitted_request_is_evaluated_again,
    a_reset_at_a_breakpoint_forgets_the_request,
    quit_at_a_breakpoint_leaves_the_request_unperformed,
];

const COUNT: usize = 60;
const SECTORS: usize = 1024;

/// Fails unless exactly the first `count` of the writes are on the disk.
fn check_written(context: &Context, count: usize) -> Result<(), Failure> {
    let end = count * 8;
    let expected = [content(5, 0, end), content(1, end as u64, SECTORS - end)];
    let image = fs::read(disk(context))?;
    check!(
        image == expected.concat(),
        "the image is not as {count} writes make it"
    );
    Ok(())
}

fn script() -> String {
    step_by_step(&[&format!("burst 0 write {COUNT} 0 8 5")])
}

/// A machine that has stopped at the burst's write after the first `skip`.
fn at_breakpoint(context: &Context, skip: usize, options: &str) -> Result<Rig, Failure> {
    let mut rig = rig(context, &script(), SECTORS, options)?;
    rig.add(json!({
        "id": "here", "operations": ["write"], "skip": skip, "count": 1, "action": "stop",
    }))?;
    rig.go()?;
    check_eq!(rig.injected()?["ordinal"], json!(skip + 1));
    rig.event("STOP")?;
    // Until the writes before it are on the disk.
    rig.client.stop()?;
    Ok(rig)
}

fn a_machine_stops_at_the_nth_write_with_earlier_ones_on_the_disk(
    context: &Context,
) -> Result<(), Failure> {
    for aio in ["io_uring", "threads"] {
        for skip in [0, 1, 7, 8, 9, 31, COUNT - 1] {
            let options = format!("aio={aio},werror=stop");
            let mut rig = at_breakpoint(context, skip, &options)?;
            check_state(&rig.client, "paused", "ok")?;
            check_written(context, skip)?;
            check_eq!(rig.hanging()?, 0);
            rig.cont()?;
            rig.done()?.expect(COUNT as u64, 0, 0)?;
            rig.is_quiet()?;
            let counts = rig.faults()?["rules"][0].take();
            check_eq!(
                (&counts["matches"], &counts["hits"]),
                (&json!(COUNT), &json!(1))
            );
            rig.go()?;
            rig.ends_well()?;
            check_written(context, COUNT)?;
        }
    }
    Ok(())
}

fn a_breakpoint_stops_the_machine_at_every_matching_write(
    context: &Context,
) -> Result<(), Failure> {
    let mut rig = rig(context, &script(), SECTORS, "")?;
    rig.add(json!({ "operations": ["write"], "action": "stop" }))?;
    rig.go()?;
    for number in 0..COUNT {
        check_eq!(rig.injected()?["ordinal"], json!(number + 1));
        rig.event("STOP")?;
        rig.client.stop()?;
        check_written(context, number)?;
        rig.cont()?;
    }
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.go()?;
    rig.ends_well()?;
    check_written(context, COUNT)
}

fn a_resubmitted_request_is_evaluated_again(context: &Context) -> Result<(), Failure> {
    let script = step_by_step(&["write 0 0 8 5"]);
    let mut rig = rig(context, &script, SECTORS, "werror=stop")?;
    // Two errors; then a breakpoint, after which the rules do not match the request again; then the disk.
    rig.add(json!({ "id": "twice", "count": 2, "action": "error", "errno": "ENOSPC" }))?;
    rig.add(json!({ "id": "break", "count": 1, "action": "stop" }))?;
    rig.go()?;
    for _ in 0..2 {
        check_eq!(rig.injected()?["id"], json!("twice"));
        rig.event("BLOCK_IO_ERROR")?;
        rig.event("STOP")?;
        check_state(&rig.client, "io-error", "nospace")?;
        rig.cont()?;
    }
    check_eq!(rig.injected()?["id"], json!("break"));
    rig.event("STOP")?;
    check_state(&rig.client, "paused", "ok")?;
    // Adding a rule here is too late for it, and removing one has no effect.
    rig.simply("block-fault-clear")?;
    rig.add(json!({ "action": "error", "errno": "EIO" }))?;
    rig.cont()?;
    rig.done()?.expect(1, 0, 0)?;
    check_eq!(rig.faults()?["rules"][0]["matches"], json!(0));
    rig.is_quiet()?;
    check_written(context, 1)?;
    rig.go()?;
    rig.ends_well()
}

fn a_reset_at_a_breakpoint_forgets_the_request(context: &Context) -> Result<(), Failure> {
    let mut rig = at_breakpoint(context, 20, "")?;
    rig.simply("system_reset")?;
    rig.event("RESET")?;
    rig.cont()?;
    rig.machine.report("choose")?;
    check_written(context, 20)?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.go()?;
    rig.ends_well()?;
    check_written(context, COUNT)
}

fn quit_at_a_breakpoint_leaves_the_request_unperformed(context: &Context) -> Result<(), Failure> {
    let mut rig = at_breakpoint(context, 20, "")?;
    rig.simply("quit")?;
    rig.ends_well()?;
    check_written(context, 20)
}
