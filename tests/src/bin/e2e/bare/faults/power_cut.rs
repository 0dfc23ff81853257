//! Power cuts of disks without a volatile cache: requests in flight are done or lost.

use std::fs;

use faultvisor_tests::bare::{Plan, content};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, disk, rig, step_by_step};
use crate::bare::{check_state, image};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    the_seed_decides_which_requests_in_flight_are_performed,
    a_power_cut_rule_fires_at_exactly_its_request,
    requests_lost_by_a_power_cut_are_held_if_errors_stop_the_machine,
    after_a_power_cut_the_machine_is_reset,
    after_a_power_cut_the_program_ends,
    the_power_of_a_stopped_machine_can_fail_too,
    all_disks_of_a_machine_lose_their_power_together,
];

const COUNT: usize = 40;
const SECTORS: usize = 1024;

/// Which of the burst's writes are on the disk. Fails if one is there in part, or if anything else differs.
fn written(path: &std::path::Path) -> Result<Vec<usize>, Failure> {
    let image = fs::read(path)?;
    let (old, new) = (content(1, 0, SECTORS), content(5, 0, SECTORS));
    let mut written = Vec::new();
    for write in 0..SECTORS / 8 {
        let at = write * 4096..(write + 1) * 4096;
        if write < COUNT && image[at.clone()] == new[at.clone()] {
            written.push(write);
        } else {
            check!(
                image[at.clone()] == old[at],
                "write {write} is neither done nor lost"
            );
        }
    }
    Ok(written)
}

fn burst() -> String {
    format!("burst 0 write {COUNT} 0 8 5")
}

/// A machine whose writes alternately hang and are delayed.
fn on_their_way(context: &Context, options: &str) -> Result<Rig, Failure> {
    let script = step_by_step(&[&burst(), "read 0 0 8"]);
    let mut rig = rig(context, &script, SECTORS, options)?;
    for write in (0..COUNT).step_by(2) {
        rig.add(json!({ "operations": ["write"], "sector": write * 8, "action": "hang" }))?;
    }
    rig.add(json!({
        "operations": ["write"], "action": "delay", "microseconds": 3_600_000_000_u64,
    }))?;
    rig.go()?;
    rig.wait_for_hanging(COUNT / 2)?;
    for _ in 0..COUNT {
        rig.injected()?;
    }
    rig.simply("block-fault-clear")?;
    Ok(rig)
}

/// Cuts the power, and checks the event.
fn cut(rig: &mut Rig, seed: u64, then: &str) -> Result<(), Failure> {
    let answer = rig.execute("block-power-cut", json!({ "seed": seed, "then": then }))?;
    check_eq!(answer, json!({}));
    check_eq!(
        rig.event("BLOCK_POWER_CUT")?.data,
        json!({ "device": "d0", "survive": "none", "seed": seed, "writes": 0, "sectors": 0 })
    );
    Ok(())
}

fn the_seed_decides_which_requests_in_flight_are_performed(
    context: &Context,
) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for (seed, aio) in [(1, "io_uring"), (1, "threads"), (2, "io_uring")] {
        let mut rig = on_their_way(context, &format!("werror=report,aio={aio}"))?;
        cut(&mut rig, seed, "stop")?;
        rig.event("STOP")?;
        check_state(&rig.client, "paused", "")?;
        check_eq!(rig.hanging()?, 0);
        rig.release(json!({}), 0)?;
        let done = written(&disk(context))?;
        check!((10..=30).contains(&done.len()), "{done:?} are done");
        // The guest receives no completion of them.
        rig.cont()?;
        rig.done()?.expect(0, COUNT as u64, 0)?;
        for _ in 0..COUNT {
            let error = rig.event("BLOCK_IO_ERROR")?.data["reason"].take();
            check_eq!(error, json!("Input/output error"));
        }
        rig.is_quiet()?;
        rig.go()?;
        rig.done()?.expect(1, 0, 0)?;
        rig.go()?;
        rig.ends_well()?;
        check_eq!(written(&disk(context))?, done);
        runs.push(done);
    }
    check_eq!(runs[0], runs[1]);
    check!(
        runs[0] != runs[2],
        "another seed has done the same: {:?}",
        runs[2]
    );
    Ok(())
}

/// A machine whose power fails at the burst's write after the first 13, and which stops then.
fn at_power_cut(context: &Context, options: &str) -> Result<Rig, Failure> {
    let mut rig = rig(context, &step_by_step(&[&burst()]), SECTORS, options)?;
    rig.add(json!({
        "operations": ["write"], "skip": 13, "count": 1, "seed": 3, "action": "power-cut",
        "then": "stop",
    }))?;
    rig.go()?;
    let fault = rig.injected()?;
    check_eq!(
        (&fault["ordinal"], &fault["action"]),
        (&json!(14), &json!("power-cut"))
    );
    check_eq!(rig.event("BLOCK_POWER_CUT")?.data["seed"], json!(3));
    rig.event("STOP")?;
    let before: Vec<usize> = (0..13).collect();
    check_eq!(written(&disk(context))?, before);
    Ok(rig)
}

fn a_power_cut_rule_fires_at_exactly_its_request(context: &Context) -> Result<(), Failure> {
    for aio in ["io_uring", "threads"] {
        let mut rig = at_power_cut(context, &format!("werror=report,aio={aio}"))?;
        rig.cont()?;
        let done = rig.done()?;
        // The guest may have seen completions of those before it.
        let failed = done.number("ioerr")?;
        check!((1..=14).contains(&failed), "{}", done.line);
        done.expect(COUNT as u64 - failed, failed, 0)?;
        rig.go()?;
        rig.ends_well()?;
        let all_others: Vec<usize> = (0..COUNT).filter(|write| *write != 13).collect();
        check_eq!(written(&disk(context))?, all_others);
    }
    Ok(())
}

fn requests_lost_by_a_power_cut_are_held_if_errors_stop_the_machine(
    context: &Context,
) -> Result<(), Failure> {
    let mut rig = at_power_cut(context, "werror=stop")?;
    rig.cont()?;
    rig.event("BLOCK_IO_ERROR")?;
    let mut event = rig.client.next_event()?;
    while event.name == "BLOCK_IO_ERROR" {
        event = rig.client.next_event()?;
    }
    check_eq!(event.name, json!("STOP"));
    check_state(&rig.client, "io-error", "failed")?;
    rig.client.stop()?;
    rig.forget_events()?;
    rig.cont()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()?;
    check_eq!(written(&disk(context))?.len(), COUNT);
    Ok(())
}

fn after_a_power_cut_the_machine_is_reset(context: &Context) -> Result<(), Failure> {
    let mut rig = on_their_way(context, "werror=report")?;
    cut(&mut rig, 5, "reset")?;
    rig.event("RESET")?;
    rig.machine.report("choose")?;
    let done = written(&disk(context))?;
    check_state(&rig.client, "running", "")?;
    // By a rule, and by default.
    rig.add(json!({ "operations": ["read"], "count": 1, "action": "power-cut" }))?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    check!(done.len() < COUNT, "all were done");
    rig.go()?;
    check_eq!(rig.injected()?["operation"], json!("read"));
    check_eq!(rig.event("BLOCK_POWER_CUT")?.data["survive"], json!("none"));
    rig.event("RESET")?;
    rig.machine.report("choose")?;
    check_eq!(rig.faults()?["rules"][0]["hits"], json!(1));
    for _ in 0..2 {
        rig.go()?;
        rig.done()?;
    }
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}

fn after_a_power_cut_the_program_ends(context: &Context) -> Result<(), Failure> {
    let mut rig = on_their_way(context, "werror=report")?;
    cut(&mut rig, 5, "quit")?;
    rig.ends_well()?;
    let first = written(&disk(context))?;
    // The same with a rule: the same seed and requests give the same result.
    let mut rig = on_their_way(context, "werror=report,num-queues=2")?;
    rig.simply("quit")?;
    rig.ends_well()?;
    check_eq!(written(&disk(context))?.len(), 0);
    let disk_path = image(context, "disk", 1, SECTORS)?;
    let script = format!(
        "setup 0 queues=2\nchoose\nstart 0 write {COUNT} 0 8 5\nqueue 0 1\nchoose\nflush 0\nexit off"
    );
    let plan = Plan::new(context, &script)?.options(&["--no-reboot"]);
    let mut rig = Rig::start(plan.disk(&disk_path, "id=d0,num-queues=2"))?;
    rig.add(json!({ "operations": ["write"], "action": "hang" }))?;
    rig.add(json!({ "operations": ["flush"], "seed": 5, "action": "power-cut", "then": "reset" }))?;
    rig.go()?;
    rig.wait_for_hanging(COUNT)?;
    rig.go()?;
    // With --no-reboot, a reset ends the program.
    rig.client.wait_for_event("BLOCK_POWER_CUT")?;
    rig.ends_well()?;
    check_eq!(written(&disk_path)?, first);
    Ok(())
}

fn the_power_of_a_stopped_machine_can_fail_too(context: &Context) -> Result<(), Failure> {
    let mut rig = on_their_way(context, "werror=report")?;
    rig.stop()?;
    rig.release(json!({}), COUNT / 2)?;
    cut(&mut rig, 6, "stop")?;
    rig.is_quiet()?;
    check_state(&rig.client, "paused", "")?;
    let done = written(&disk(context))?;
    check!(!done.is_empty() && done.len() < COUNT, "{done:?} are done");
    // A second cut finds nothing to lose.
    cut(&mut rig, 7, "stop")?;
    check_eq!(written(&disk(context))?, done);
    cut(&mut rig, 8, "reset")?;
    rig.event("RESET")?;
    rig.cont()?;
    rig.machine.report("choose")?;
    check_eq!(written(&disk(context))?, done);
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    rig.go()?;
    rig.go()?;
    rig.ends_well()
}

fn all_disks_of_a_machine_lose_their_power_together(context: &Context) -> Result<(), Failure> {
    let disks = ["a", "b", "c"].map(|name| image(context, name, 1, SECTORS));
    let [a, b, c] = disks;
    let script = format!(
        "setup 0\nsetup 1\nsetup 2 queues=2\nchoose\nstart 1 write {COUNT} 0 8 5\nqueue 2 1\n\
         start 2 write {COUNT} 0 8 5\nchoose\nwrite 0 8 8 9\nchoose\nwait 1\nwait 2\nexit off"
    );
    let plan = Plan::new(context, &script)?.disk(&a?, "id=d0,werror=report");
    let plan = plan
        .disk(&b?, "id=d1,werror=report")
        .disk(&c?, "id=d2,num-queues=2,werror=report");
    let mut rig = Rig::start(plan)?;
    for device in ["d1", "d2"] {
        rig.add(json!({ "device": device, "action": "hang" }))?;
    }
    rig.add(json!({ "seed": 9, "survive": "prefix", "action": "power-cut", "then": "stop" }))?;
    rig.go()?;
    for _ in 0..2 * COUNT {
        rig.event("BLOCK_FAULT_INJECTED")?;
    }
    rig.go()?;
    rig.injected()?;
    let mut cut: Vec<Value> = Vec::new();
    for _ in 0..3 {
        let data = rig.event("BLOCK_POWER_CUT")?.data.take();
        check_eq!(
            (&data["seed"], &data["survive"]),
            (&json!(9), &json!("prefix"))
        );
        cut.push(data["device"].clone());
    }
    // The rule's own disk, at exactly this request.
    check_eq!(cut[0], json!("d0"));
    cut.sort_by_key(Value::to_string);
    check_eq!(cut, ["d0", "d1", "d2"].map(|disk| json!(disk)));
    rig.event("STOP")?;
    // Two disks with the same requests lose different ones.
    let done = [written(&context.path("b"))?, written(&context.path("c"))?];
    let some = 1..COUNT;
    check!(
        done.iter().all(|done| some.contains(&done.len())) && done[0] != done[1],
        "{done:?} are done"
    );
    rig.cont()?;
    rig.done()?.expect(0, 1, 0)?;
    rig.go()?;
    for _ in 0..2 {
        rig.done()?.expect(0, COUNT as u64, 0)?;
    }
    rig.ends_well()?;
    check!(
        fs::read(context.path("a"))? == content(1, 0, SECTORS),
        "the first disk has changed"
    );
    Ok(())
}
