//! Discards and zeroes: their effects on the image's contents and allocation.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use faultvisor_tests::bare::{BareMachine, Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;
use super::statistics::{check_numbers, go, statistics};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    discards_deallocate_exactly_their_ranges,
    zeroed_ranges_stay_allocated_unless_the_driver_sets_unmap,
    invalid_ranges_fail_are_counted_and_have_no_effect,
    a_range_may_be_as_long_as_the_device_says_and_no_longer,
    requests_of_features_not_negotiated_are_unsupported,
];

const SECTORS: usize = 4096;

/// VIRTIO_BLK_F_DISCARD and VIRTIO_BLK_F_WRITE_ZEROES.
const DISCARD: u64 = 1 << 13;
const WRITE_ZEROES: u64 = 1 << 14;

/// Allocated sectors of a file.
fn space(path: &Path) -> Result<u64, Failure> {
    Ok(fs::metadata(path)?.blocks())
}

/// An image without holes, and its allocated sectors.
fn full(context: &Context) -> Result<(std::path::PathBuf, u64), Failure> {
    let disk = image(context, "disk", 1, SECTORS)?;
    // A file system may delay allocation until then.
    File::open(&disk)?.sync_all()?;
    let space = space(&disk)?;
    Ok((disk, space))
}

/// Waits until the first disk is set up; skips the test if its host cannot punch holes.
fn set_up(machine: &mut BareMachine) -> Result<(), Failure> {
    let setup = machine.report("setup")?;
    check_eq!(setup.number("status")?, 0xf);
    let offered = setup.number("offered")?;
    check!(offered & WRITE_ZEROES != 0, "{}", setup.line);
    if offered & DISCARD == 0 {
        return Err(Failure::skip("this file system makes no holes"));
    }
    Ok(())
}

/// Fails unless the image is unchanged except for these sectors, which are zero.
fn check_zeroed(disk: &Path, ranges: &[(usize, usize)]) -> Result<(), Failure> {
    let mut expected = content(1, 0, SECTORS);
    for (first, sectors) in ranges {
        expected[first * 512..(first + sectors) * 512].fill(0);
    }
    check!(fs::read(disk)? == expected, "the image has other bytes");
    Ok(())
}

fn discards_deallocate_exactly_their_ranges(context: &Context) -> Result<(), Failure> {
    let (disk, before) = full(context)?;
    let script = "setup 0\ndiscard 0 0 1024 512 2048 1024 4088 8\nread 0 1020 8\nchoose\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "id=d0").start()?;
    set_up(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    let read = machine.report("done")?;
    let mut edge = content(1, 1020, 8);
    edge[4 * 512..].fill(0);
    check_eq!(read.number("sum")?, pattern::sum(&edge));
    machine.report("choose")?;
    check_eq!(before - space(&disk)?, 512 + 1024 + 8);
    let stats = statistics(&machine.client()?)?;
    let discarded = [
        ("unmap_operations", 1),
        ("unmap_bytes", (512 + 1024 + 8) * 512),
        ("rd_operations", 1),
        ("rd_bytes", 8 * 512),
    ];
    check_numbers(&stats, &discarded)?;
    go(&mut machine)?;
    machine.ends_well()?;
    check_zeroed(&disk, &[(1024, 512), (2048, 1024), (4088, 8)])
}

fn zeroed_ranges_stay_allocated_unless_the_driver_sets_unmap(
    context: &Context,
) -> Result<(), Failure> {
    let (disk, before) = full(context)?;
    let script = "setup 0\nzero 0 0 1024 512 7 2\nchoose\nzero 0 1 2048 1024\nread 0 2040 16\n\
                  choose\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "id=d0").start()?;
    set_up(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("choose")?;
    check_eq!(space(&disk)?, before);
    go(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    let read = machine.report("done")?;
    let mut edge = content(1, 2040, 16);
    edge[8 * 512..].fill(0);
    check_eq!(read.number("sum")?, pattern::sum(&edge));
    machine.report("choose")?;
    check_eq!(before - space(&disk)?, 1024);
    let stats = statistics(&machine.client()?)?;
    let zeroed = [
        ("wr_operations", 2),
        ("wr_bytes", (512 + 2 + 1024) * 512),
        ("wr_highest_offset", 3072 * 512),
        ("rd_operations", 1),
        ("rd_bytes", 16 * 512),
    ];
    check_numbers(&stats, &zeroed)?;
    go(&mut machine)?;
    machine.ends_well()?;
    check_zeroed(&disk, &[(7, 2), (1024, 512), (2048, 1024)])
}

fn invalid_ranges_fail_are_counted_and_have_no_effect(context: &Context) -> Result<(), Failure> {
    let (disk, before) = full(context)?;
    // A valid range beside one past the end; far past it; none at all; more than a request may have.
    let bad = [
        "0 8 4095 2".to_owned(),
        "4096 1".to_owned(),
        format!("{} 8", u64::MAX),
        String::new(),
        "0 1 ".repeat(33),
    ];
    let steps = |kind: &str| -> String {
        let lines = bad.iter().map(|ranges| format!("{kind} 0 0 {ranges}\n"));
        lines.collect()
    };
    // Unknown flags: for a discard any flag, for zeroes any but the first.
    let unknown = "discard 0 1 0 8\nzero 0 2 0 8\nzero 0 0x80000000 0 8\n";
    let script = format!(
        "setup 0\n{}{}{unknown}choose\nexit off",
        steps("discard"),
        steps("zero")
    );
    let mut machine = Plan::new(context, &script)?.disk(&disk, "id=d0").start()?;
    set_up(&mut machine)?;
    for _ in 0..2 * bad.len() {
        machine.report("done")?.expect(0, 1, 0)?;
    }
    for _ in 0..3 {
        machine.report("done")?.expect(0, 0, 1)?;
    }
    machine.report("choose")?;
    let stats = statistics(&machine.client()?)?;
    let invalid = [
        ("invalid_unmap_operations", 5),
        ("invalid_wr_operations", 5),
    ];
    check_numbers(&stats, &invalid)?;
    go(&mut machine)?;
    machine.ends_well()?;
    check_eq!(space(&disk)?, before);
    check_zeroed(&disk, &[])
}

fn a_range_may_be_as_long_as_the_device_says_and_no_longer(
    context: &Context,
) -> Result<(), Failure> {
    // Sparse, and larger than the limit.
    let disk = context.path("large");
    File::create(&disk)?.set_len(5 << 30)?;
    // max_discard_sectors and max_discard_seg, and their counterparts for zeroes.
    let script = "setup 0\nregister 0 0x124\nregister 0 0x128\nregister 0 0x130\nregister 0 0x134\n\
                  choose\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    set_up(&mut machine)?;
    let mut limits = [0; 4];
    for limit in &mut limits {
        *limit = machine.report("register")?.number("value")?;
    }
    machine.report("choose")?;
    go(&mut machine)?;
    machine.ends_well()?;
    let [discard, discards, zero, zeroes] = limits;
    check_eq!((discards, zeroes), (32, 32));
    check!(
        discard.max(zero) < 5 << 21,
        "{limits:?} for a disk of 5 GiB"
    );
    let script = format!(
        "setup 0\ndiscard 0 0 8 {discard}\nzero 0 1 8 {zero}\ndiscard 0 0 8 {}\nzero 0 1 8 {}\nexit off",
        discard + 1,
        zero + 1
    );
    let mut machine = Plan::new(context, &script)?.disk(&disk, "").start()?;
    set_up(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.ends_well()
}

fn requests_of_features_not_negotiated_are_unsupported(context: &Context) -> Result<(), Failure> {
    let (disk, _) = full(context)?;
    let requests = "discard 0 0 0 8\nzero 0 1 0 8\n";
    // Offered, but not negotiated; withheld; invalid.
    for (options, setup) in [
        ("", "setup 0 features=0x130000200"),
        ("discard=off,write-zeroes=off", "setup 0"),
        ("discard=ignore,write-zeroes=off", "setup 0"),
        ("readonly=on", "setup 0"),
    ] {
        let script = format!("{setup}\n{requests}read 0 0 8\nexit off");
        let mut machine = Plan::new(context, &script)?.disk(&disk, options).start()?;
        let offered = machine.report("setup")?.number("offered")?;
        let withheld = offered & (DISCARD | WRITE_ZEROES) == 0;
        check!(withheld != options.is_empty(), "{options}: {offered:#x}");
        machine.report("done")?.expect(0, 0, 1)?;
        machine.report("done")?.expect(0, 0, 1)?;
        machine.report("done")?.expect(1, 0, 0)?;
        machine.ends_well()?;
    }
    // One without the other.
    let script = format!("setup 0\n{requests}choose\nexit off");
    let plan = Plan::new(context, &script)?.disk(&disk, "discard=off");
    let mut machine = plan.start()?;
    let offered = machine.report("setup")?.number("offered")?;
    check_eq!(offered & (DISCARD | WRITE_ZEROES), WRITE_ZEROES);
    machine.report("done")?.expect(0, 0, 1)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("choose")?;
    let stats = machine.client()?.execute("query-blockstats")?;
    check_eq!(stats[0]["stats"]["invalid_unmap_operations"], 0);
    go(&mut machine)?;
    machine.ends_well()?;
    check_zeroed(&disk, &[(0, 8)])
}
