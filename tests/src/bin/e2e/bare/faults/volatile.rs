//! Power cuts of disks with a volatile cache: writes that no flush made durable survive as requested.

use std::fs;
use std::path::Path;

use faultvisor_tests::bare::{Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::matrix::convert;
use super::{Rig, disk, step_by_step};
use crate::bare::image;
use crate::bare::qcow2::check_whole;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    without_the_flush_feature_completed_writes_survive,
    a_restarted_guest_finds_what_survived,
    a_qcow2_image_is_whole_after_a_power_cut,
    an_orderly_end_loses_nothing,
    requests_in_flight_to_a_volatile_cache_are_lost_with_it,
];

pub(super) const SECTORS: usize = 1024;

/// The writes that are not flushed.
pub(super) const FIRST: usize = 100;
pub(super) const LENGTH: usize = 8;
pub(super) const COUNT: usize = 30;

/// A guest that writes and flushes, writes more, and reads everything back.
fn script(setup: &str) -> String {
    let reads = format!("read 0 {FIRST} 64");
    let steps = [
        "write 0 0 8 4",
        "flush 0",
        &format!("burst 0 write {COUNT} {FIRST} {LENGTH} 6"),
        &reads,
        // The steps after the power cut.
        &reads,
    ];
    step_by_step(&steps).replacen("setup 0", setup, 1)
}

/// The contents after all writes.
pub(super) fn all() -> Vec<u8> {
    let mut bytes = flushed();
    let data = content(6, FIRST as u64, COUNT * LENGTH);
    bytes[FIRST * 512..][..data.len()].copy_from_slice(&data);
    bytes
}

/// The contents after the flushed writes only.
pub(super) fn flushed() -> Vec<u8> {
    let mut bytes = content(1, 0, SECTORS);
    bytes[..8 * 512].copy_from_slice(&content(4, 0, 8));
    bytes
}

/// A machine whose guest has written, and read back.
fn has_written(rig: &mut Rig) -> Result<(), Failure> {
    for step in 0..4 {
        rig.go()?;
        let done = rig.done()?;
        done.expect(if step == 2 { COUNT as u64 } else { 1 }, 0, 0)?;
        if step == 3 {
            let written = content(6, FIRST as u64, 64);
            check_eq!(done.number("sum")?, pattern::sum(&written));
        }
    }
    Ok(())
}

pub(super) fn start(context: &Context, setup: &str) -> Result<Rig, Failure> {
    let disk = image(context, "disk", 1, SECTORS)?;
    let plan = Plan::new(context, &script(setup))?;
    let mut rig = Rig::start(plan.disk(&disk, "id=d0,volatile-cache=on,werror=report"))?;
    has_written(&mut rig)?;
    Ok(rig)
}

/// The writes and sectors that were lost.
pub(super) fn lost(image: &[u8]) -> (usize, usize) {
    let all = all();
    let (mut writes, mut sectors) = (0, 0);
    for write in 0..COUNT {
        let first = FIRST + write * LENGTH;
        let lost = (first..first + LENGTH)
            .filter(|sector| image[sector * 512..][..512] != all[sector * 512..][..512])
            .count();
        writes += usize::from(lost > 0);
        sectors += lost;
    }
    (writes, sectors)
}

/// Everything is intact, except the unflushed writes, each byte of which is old or new.
pub(super) fn check_is_sound(image: &[u8]) -> Result<(), Failure> {
    let (old, new) = (flushed(), all());
    let bytes = image.iter().zip(old.iter().zip(&new));
    let other = bytes
        .enumerate()
        .find(|(_, (found, (old, new)))| found != old && found != new);
    check!(other.is_none(), "a byte that nobody has written: {other:?}");
    Ok(())
}

/// Number of new bytes from the first write on, if only old ones follow them.
pub(super) fn prefix(image: &[u8]) -> Result<usize, Failure> {
    let (old, new) = (flushed(), all());
    let (from, to) = (FIRST * 512, (FIRST + COUNT * LENGTH) * 512);
    let same = |what: &[u8], from: usize| {
        let pairs = image[from..to].iter().zip(&what[from..to]);
        pairs.take_while(|(found, what)| found == what).count()
    };
    let length = same(&new, from);
    check!(
        from + length + same(&old, from + length) == to,
        "something survived behind what was lost"
    );
    Ok(length)
}

fn without_the_flush_feature_completed_writes_survive(context: &Context) -> Result<(), Failure> {
    // Without VIRTIO_BLK_F_FLUSH, every write is durable when it completes. The guest cannot send a flush.
    let disk = image(context, "disk", 1, SECTORS)?;
    let steps = [
        "write 0 0 8 4",
        &format!("burst 0 write {COUNT} {FIRST} {LENGTH} 6"),
    ];
    let script = step_by_step(&steps).replacen("setup 0", "setup 0 features=0x130000000", 1);
    let plan = Plan::new(context, &script)?;
    let mut rig = Rig::start(plan.disk(&disk, "id=d0,volatile-cache=on"))?;
    for count in [1, COUNT as u64] {
        rig.go()?;
        rig.done()?.expect(count, 0, 0)?;
    }
    rig.execute("block-power-cut", json!({ "then": "quit" }))?;
    let event = rig.event("BLOCK_POWER_CUT")?.data.take();
    check_eq!(
        (&event["writes"], &event["sectors"]),
        (&json!(0), &json!(0))
    );
    check!(event["seed"].is_u64(), "no seed: {event}");
    rig.ends_well()?;
    check!(fs::read(&disk)? == all(), "something was lost");
    Ok(())
}

fn a_restarted_guest_finds_what_survived(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, SECTORS)?;
    let script = format!(
        "setup 0\nchoose\nread 0 {FIRST} 8\nread 0 0 8\nchoose\nwrite 0 0 8 4\nflush 0\n\
         write 0 {FIRST} 8 6\nread 0 {FIRST} 8\nchoose\nflush 0\nexit off"
    );
    let plan = Plan::new(context, &script)?.disk(&disk, "id=d0,volatile-cache=on");
    let mut rig = Rig::start(plan)?;
    let finds = |rig: &mut Rig, seeds: [u64; 2]| -> Result<(), Failure> {
        rig.go()?;
        for (seed, first) in seeds.into_iter().zip([FIRST as u64, 0]) {
            check_eq!(
                rig.done()?.number("sum")?,
                pattern::sum(&content(seed, first, 8))
            );
        }
        Ok(())
    };
    finds(&mut rig, [1, 1])?;
    for (survive, left, lost) in [("none", 1, 1), ("all", 6, 0), ("none", 6, 1)] {
        rig.go()?;
        for _ in 0..4 {
            rig.done()?.expect(1, 0, 0)?;
        }
        // At the flush, before it is performed.
        rig.add(json!({
            "operations": ["flush"], "count": 1, "action": "power-cut", "survive": survive,
        }))?;
        rig.go()?;
        rig.injected()?;
        let event = rig.event("BLOCK_POWER_CUT")?.data.take();
        check_eq!(
            (&event["writes"], &event["sectors"]),
            (&json!(lost), &json!(8 * lost))
        );
        rig.event("RESET")?;
        rig.machine.report("choose")?;
        finds(&mut rig, [left, 4])?;
        rig.simply("block-fault-clear")?;
    }
    rig.simply("quit")?;
    rig.ends_well()
}

fn a_qcow2_image_is_whole_after_a_power_cut(context: &Context) -> Result<(), Failure> {
    let (raw, path) = (
        image(context, "disk", 1, SECTORS)?,
        context.path("disk.qcow2"),
    );
    for (survive, seed) in [("none", 1), ("random", 2), ("prefix", 3), ("all", 4)] {
        convert(&["-O", "qcow2", "-o", "cluster_size=4096"], &raw, &path)?;
        let drive = format!(
            "file={},format=qcow2,id=d0,volatile-cache=on",
            path.display()
        );
        let plan = Plan::new(context, &script("setup 0"))?.options(&["--drive", &drive]);
        let mut rig = Rig::start(plan)?;
        has_written(&mut rig)?;
        let cut = json!({ "survive": survive, "seed": seed, "then": "quit" });
        rig.execute("block-power-cut", cut)?;
        let event = rig.event("BLOCK_POWER_CUT")?.data.take();
        rig.ends_well()?;
        check_whole(&path)?;
        let image = flat(context, &path)?;
        check_is_sound(&image)?;
        let (writes, sectors) = lost(&image);
        check_eq!(
            (&event["writes"], &event["sectors"]),
            (&json!(writes), &json!(sectors))
        );
        match survive {
            "none" => check!(image == flushed(), "something has survived"),
            "all" => check!(image == all(), "something was lost"),
            "prefix" => drop(prefix(&image)?),
            _ => check!(
                sectors > 0 && sectors < COUNT * LENGTH,
                "{sectors} were lost"
            ),
        }
    }
    Ok(())
}

fn flat(context: &Context, path: &Path) -> Result<Vec<u8>, Failure> {
    let flat = context.path("flat");
    convert(&["-O", "raw"], path, &flat)?;
    Ok(fs::read(flat)?)
}

fn an_orderly_end_loses_nothing(context: &Context) -> Result<(), Failure> {
    for way in ["quit", "the guest"] {
        let mut rig = start(context, "setup 0")?;
        if way == "quit" {
            rig.simply("quit")?;
        } else {
            rig.machine.machine.console().type_text("o")?;
        }
        rig.ends_well()?;
        check!(
            fs::read(disk(context))? == all(),
            "{way} has lost something"
        );
    }
    Ok(())
}

fn requests_in_flight_to_a_volatile_cache_are_lost_with_it(
    context: &Context,
) -> Result<(), Failure> {
    let mut left = Vec::new();
    for survive in ["none", "all", "all"] {
        let disk = image(context, "disk", 1, SECTORS)?;
        let burst = format!("burst 0 write {COUNT} {FIRST} {LENGTH} 6");
        let plan = Plan::new(
            context,
            &step_by_step(&["write 0 0 8 4", "flush 0", &burst]),
        )?;
        let mut rig = Rig::start(plan.disk(&disk, "id=d0,volatile-cache=on"))?;
        for _ in 0..2 {
            rig.go()?;
            rig.done()?.expect(1, 0, 0)?;
        }
        rig.add(json!({ "operations": ["write"], "action": "hang" }))?;
        rig.go()?;
        rig.wait_for_hanging(COUNT)?;
        rig.execute(
            "block-power-cut",
            json!({ "survive": survive, "seed": 8, "then": "quit" }),
        )?;
        rig.ends_well()?;
        let image = fs::read(&disk)?;
        check_is_sound(&image)?;
        left.push(COUNT - lost(&image).0);
    }
    check_eq!(left[0], 0);
    check!((5..=25).contains(&left[1]), "{left:?} writes were done");
    check_eq!(left[1], left[2]);
    Ok(())
}
