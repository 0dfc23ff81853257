//! Hanging requests, and other operations meanwhile.

use std::fs;

use faultvisor_tests::bare::content;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, disk, rig, step_by_step};
use crate::bare::check_state;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    requests_stay_hanging_when_their_rule_is_removed,
    a_release_selects_requests,
    hanging_requests_do_not_delay_a_stop_and_end_only_after_cont,
    a_hanging_request_beyond_the_new_end_fails_unperformed,
    hundreds_of_hanging_requests_on_four_queues_each_complete_once,
];

/// The writes' first sector, length and number.
pub(super) const FIRST: u64 = 100;
pub(super) const LENGTH: u64 = 8;
pub(super) const COUNT: usize = 10;

pub(super) const SECTORS: usize = 4096;

/// A machine whose guest starts its burst of writes.
pub(super) fn begins(context: &Context, after: &[&str], rules: &[Value]) -> Result<Rig, Failure> {
    let burst = format!("start 0 write {COUNT} {FIRST} {LENGTH} 5");
    let script = step_by_step(&[&[burst.as_str()], after].concat());
    let script = script.replacen("setup 0", "setup 0 queues=2", 1);
    let mut rig = rig(context, &script, SECTORS, "num-queues=4,werror=report")?;
    for rule in rules {
        rig.add(rule.clone())?;
    }
    rig.go()?;
    for _ in 0..COUNT {
        rig.injected()?;
    }
    Ok(rig)
}

/// A machine where all [`COUNT`] writes hang.
pub(super) fn all_hang(context: &Context, after: &[&str]) -> Result<Rig, Failure> {
    let hangs = json!({ "id": "hangs", "operations": ["write"], "action": "hang" });
    let mut rig = begins(context, after, &[hangs])?;
    check_eq!(rig.hanging()?, COUNT);
    Ok(rig)
}

/// Fails unless exactly these writes of the burst are on the disk.
pub(super) fn check_written(context: &Context, writes: &[usize]) -> Result<(), Failure> {
    let mut expected = content(1, 0, SECTORS);
    for write in writes {
        let first = FIRST + u64::try_from(*write)? * LENGTH;
        let data = content(5, first, usize::try_from(LENGTH)?);
        expected[usize::try_from(first)? * 512..][..data.len()].copy_from_slice(&data);
    }
    let image = fs::read(disk(context))?;
    check!(image == expected, "the image is not as {writes:?} make it");
    Ok(())
}

fn requests_stay_hanging_when_their_rule_is_removed(context: &Context) -> Result<(), Failure> {
    // The hanging requests have the first queue to themselves.
    let after = ["queue 0 1\nread 0 0 8", "queue 0 0\nwait 0"];
    let mut rig = all_hang(context, &after)?;
    rig.remove("hangs")?;
    let (class, desc) = rig.refused("block-fault-remove", &json!({ "id": "hangs" }))?;
    check_eq!(
        (class.as_str(), desc.as_str()),
        ("GenericError", "There is no rule 'hangs'")
    );
    check_eq!(rig.hanging()?, COUNT);
    rig.simply("block-fault-clear")?;
    let faults = rig.faults()?;
    check_eq!(faults["rules"], json!([]));
    for (index, hanging) in faults["hanging"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let sector = FIRST + u64::try_from(index)? * LENGTH;
        let expected = json!({
            "ordinal": index + 1, "id": "hangs", "operation": "write", "sector": sector,
            "sectors": LENGTH,
        });
        check_eq!(*hanging, expected);
    }
    // Other requests are served meanwhile.
    rig.go()?;
    rig.done()?.expect(1, 0, 0)?;
    check_written(context, &[])?;
    rig.release(json!({ "id": "hangs" }), COUNT)?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64, 0, 0)?;
    let all: Vec<usize> = (0..COUNT).collect();
    check_written(context, &all)?;
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}

fn a_release_selects_requests(context: &Context) -> Result<(), Failure> {
    let burst = format!("burst 0 write {COUNT} {FIRST} {LENGTH} 5");
    let mut rig = rig(context, &step_by_step(&[&burst]), SECTORS, "werror=report")?;
    let hang = |id: &str, write: u64| json!({ "id": id, "action": "hang", "sector": FIRST + write * LENGTH });
    for (id, write) in [("a", 0), ("b", 3), ("a too", 5), ("c", 7), ("d", 9)] {
        rig.add(hang(id, write))?;
    }
    rig.go()?;
    rig.wait_for_hanging(5)?;
    // Ordinals count from 1.
    rig.release(json!({ "id": "b", "ordinal": 1 }), 0)?;
    rig.release(json!({ "id": "a" }), 1)?;
    rig.release(json!({ "id": "a" }), 0)?;
    rig.release(json!({ "ordinal": 4, "id": "b", "how": "complete" }), 1)?;
    rig.release(json!({ "ordinal": 6, "how": "fail", "errno": "EROFS" }), 1)?;
    let left = rig.faults()?["hanging"].take();
    check_eq!(left[0]["id"], json!("c"));
    check_eq!(left[1]["ordinal"], json!(10));
    rig.release(json!({ "how": "fail" }), 2)?;
    rig.release(json!({}), 0)?;
    rig.done()?.expect(7, 3, 0)?;
    let events = rig.client.take_events()?.into_iter();
    let errors: Vec<Value> = events
        .filter(|event| event.name == "BLOCK_IO_ERROR")
        .map(|event| event.data["reason"].clone())
        .collect();
    let io = "Input/output error";
    check_eq!(
        errors,
        [json!("Read-only file system"), json!(io), json!(io)]
    );
    rig.go()?;
    rig.ends_well()?;
    check_written(context, &[0, 1, 2, 4, 6, 8])
}

fn hanging_requests_do_not_delay_a_stop_and_end_only_after_cont(
    context: &Context,
) -> Result<(), Failure> {
    let mut rig = all_hang(context, &["wait 0"])?;
    rig.go()?;
    // It is answered although ten requests have not ended.
    rig.stop()?;
    check_eq!(rig.hanging()?, COUNT);
    rig.cont()?;
    rig.stop()?;
    rig.release(json!({ "ordinal": 3 }), 1)?;
    rig.release(json!({ "ordinal": 4, "how": "complete" }), 1)?;
    rig.release(json!({ "ordinal": 5, "how": "fail" }), 1)?;
    check_eq!(rig.hanging()?, COUNT - 3);
    // A `stop` without effect, then a query: the disk's thread has had time to proceed if it could.
    rig.client.stop()?;
    rig.is_quiet()?;
    let stats = rig.simply("query-blockstats")?[0]["stats"].take();
    check_eq!(
        (&stats["wr_operations"], &stats["failed_wr_operations"]),
        (&json!(0), &json!(0))
    );
    check_written(context, &[])?;
    rig.cont()?;
    rig.event("BLOCK_IO_ERROR")?;
    rig.stop()?;
    check_written(context, &[2])?;
    rig.cont()?;
    rig.release(json!({}), COUNT - 3)?;
    rig.done()?.expect(COUNT as u64 - 1, 1, 0)?;
    rig.go()?;
    rig.ends_well()?;
    check_written(context, &[0, 1, 2, 5, 6, 7, 8, 9])
}

fn a_hanging_request_beyond_the_new_end_fails_unperformed(
    context: &Context,
) -> Result<(), Failure> {
    let mut rig = all_hang(context, &["wait 0"])?;
    let resize = |rig: &mut Rig, sectors: u64| {
        rig.execute(
            "block_resize",
            json!({ "device": "d0", "size": sectors * 512 }),
        )
    };
    // The resize does not wait for them. The end is in the middle of the sixth.
    let left = FIRST + 5 * LENGTH + 4;
    resize(&mut rig, left)?;
    check_eq!(rig.hanging()?, COUNT);
    rig.release(json!({ "ordinal": 1 }), 1)?;
    rig.release(json!({ "ordinal": 6 }), 1)?;
    rig.event("BLOCK_IO_ERROR")?;
    rig.release(json!({ "ordinal": 7, "how": "complete" }), 1)?;
    let error = rig.event("BLOCK_IO_ERROR")?;
    check_eq!(error.data["reason"], json!("Input/output error"));
    let end = fs::metadata(disk(context))?.len();
    check_eq!(end, left * 512);
    // After growing again, the rest succeeds.
    resize(&mut rig, SECTORS as u64)?;
    rig.release(json!({}), COUNT - 3)?;
    rig.go()?;
    rig.done()?.expect(COUNT as u64 - 2, 2, 0)?;
    check_state(&rig.client, "running", "")?;
    rig.go()?;
    rig.ends_well()?;
    let mut expected = content(1, 0, SECTORS);
    expected[usize::try_from(left)? * 512..].fill(0);
    for write in [0, 1, 2, 3, 4, 7, 8, 9] {
        let first = FIRST + write * LENGTH;
        let data = content(5, first, 8);
        expected[usize::try_from(first)? * 512..][..data.len()].copy_from_slice(&data);
    }
    check!(fs::read(disk(context))? == expected, "other bytes");
    Ok(())
}

fn hundreds_of_hanging_requests_on_four_queues_each_complete_once(
    context: &Context,
) -> Result<(), Failure> {
    const EACH: usize = 100;
    let mut steps = String::new();
    for queue in 0..4 {
        let first = 8 * EACH * queue;
        steps.push_str(&format!(
            "queue 0 {queue}\nstart 0 write {EACH} {first} 8 5\n"
        ));
    }
    for queue in 0..4 {
        steps.push_str(&format!("queue 0 {queue}\nwait 0\n"));
    }
    let script = format!("setup 0 queues=4\nchoose\n{steps}choose\nexit off");
    for aio in ["io_uring", "threads"] {
        let options = format!("num-queues=4,aio={aio},werror=report");
        let mut rig = rig(context, &script, SECTORS, &options)?;
        rig.add(json!({ "operations": ["write"], "action": "hang" }))?;
        rig.go()?;
        rig.wait_for_hanging(4 * EACH)?;
        check_eq!(
            rig.simply("query-blockstats")?[0]["stats"]["wr_operations"],
            json!(0)
        );
        // Some requests fail among those that are performed.
        for ordinal in [1, 150, 250, 400] {
            rig.release(json!({ "ordinal": ordinal, "how": "fail" }), 1)?;
        }
        rig.release(json!({}), 4 * EACH - 4)?;
        let mut failed = 0;
        for _ in 0..4 {
            let done = rig.done()?;
            let errors = done.number("ioerr")?;
            done.expect(EACH as u64 - errors, errors, 0)?;
            failed += errors;
        }
        check_eq!(failed, 4);
        rig.machine.report("choose")?;
        rig.go()?;
        rig.ends_well()?;
        let (image, old) = (fs::read(disk(context))?, content(1, 0, SECTORS));
        let new = content(5, 0, 4 * 8 * EACH);
        let writes = image
            .chunks(4096)
            .zip(old.chunks(4096))
            .zip(new.chunks(4096));
        let mut left = 0;
        for ((found, old), new) in writes {
            check!(
                found == old || found == new,
                "a write that is neither done nor not"
            );
            left += usize::from(found == old);
        }
        check_eq!(left, 4);
    }
    Ok(())
}
