//! The guest's reads and writes match the image.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use faultvisor_tests::bare::{self, Plan, SOON, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::fs::OFlags;
use serde_json::json;

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    reads_and_writes_match_the_image,
    the_serial_is_the_disks_name_for_the_guest,
    a_full_queue_completes_each_request_once,
    a_driver_without_indirect_descriptors_or_event_index_works,
    two_disks_keep_their_data_apart,
    a_read_only_disk_refuses_writes_and_keeps_its_bytes,
    a_request_beyond_the_end_fails_alone,
    a_storm_leaves_the_expected_data,
    each_cache_mode_keeps_the_data_and_is_shown,
    requests_use_the_requested_engine_and_the_log_names_it,
];

fn reads_and_writes_match_the_image(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let script = "setup 0\nread 0 0 64\nwrite 0 100 32 9\nflush 0\nread 0 100 32\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    let setup = machine.report("setup")?;
    check_eq!(
        (setup.number("status")?, setup.number("sectors")?),
        (0xf, 256)
    );
    let read = machine.report("done")?;
    read.expect(1, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(1, 0, 64)));
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    let read = machine.report("done")?;
    check_eq!(read.number("sum")?, pattern::sum(&content(9, 100, 32)));
    machine.ends_well()?;
    let mut expected = content(1, 0, 256);
    expected[100 * 512..132 * 512].copy_from_slice(&content(9, 100, 32));
    check!(fs::read(&disk)? == expected, "the image has other bytes");
    Ok(())
}

fn the_serial_is_the_disks_name_for_the_guest(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    for serial in ["D1", "exactly-20-bytes-now"] {
        let plan = Plan::new(context, "setup 0\nid 0\nexit off")?;
        let mut machine = plan.disk(&disk, &format!("serial={serial}")).start()?;
        let report = machine.report("id")?;
        check_eq!((report.number("ok")?, report.text("text")), (1, serial));
        machine.ends_well()?;
    }
    Ok(())
}

fn a_full_queue_completes_each_request_once(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 3, 256 * 8)?;
    let script =
        "setup 0\nburst 0 read 256 0 8\nburst 0 write 256 0 8 4\nburst 0 flush 256\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    let read = machine.report("done")?;
    read.expect(256, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(3, 0, 256 * 8)));
    machine.report("done")?.expect(256, 0, 0)?;
    machine.report("done")?.expect(256, 0, 0)?;
    machine.ends_well()?;
    check!(
        fs::read(&disk)? == content(4, 0, 256 * 8),
        "the image has other bytes"
    );
    Ok(())
}

fn a_driver_without_indirect_descriptors_or_event_index_works(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 3, 4096)?;
    // VERSION_1 alone: without FLUSH, each write is durable by itself.
    let script = "setup 0 features=0x100000000 size=128\nburst 0 write 40 8 8 6\nburst 0 read 40 8 8\n\
                  setup 0 features=0x120000200\nstorm 0 0 4 500 60 11\n\
                  setup 0 features=0x110000200\nstorm 0 0 4 500 200 12\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    machine.report("done")?.expect(40, 0, 0)?;
    let read = machine.report("done")?;
    check_eq!(read.number("sum")?, pattern::sum(&content(6, 8, 320)));
    for _ in 0..2 {
        machine.report("stormed")?.expect(500, 0, 0)?;
    }
    machine.ends_well()
}

fn two_disks_keep_their_data_apart(context: &Context) -> Result<(), Failure> {
    let disks = [image(context, "a", 1, 1024)?, image(context, "b", 2, 1024)?];
    let script =
        "setup 0\nsetup 1\nstart 0 write 100 0 8 21\nburst 1 write 100 8 8 22\nwait 0\nexit off";
    let plan = Plan::new(context, script)?;
    let mut machine = plan
        .disk(&disks[0], "id=a")
        .disk(&disks[1], "id=b")
        .start()?;
    machine.report("done")?.expect(100, 0, 0)?;
    machine.report("done")?.expect(100, 0, 0)?;
    machine.ends_well()?;
    let (a, b) = (fs::read(&disks[0])?, fs::read(&disks[1])?);
    check!(
        a[..800 * 512] == content(21, 0, 800),
        "the first disk's bytes"
    );
    check!(
        a[800 * 512..] == content(1, 800, 224),
        "the first disk's rest"
    );
    check!(
        b[8 * 512..808 * 512] == content(22, 8, 800),
        "the second disk's bytes"
    );
    check!(b[..8 * 512] == content(2, 0, 8), "the second disk's start");
    Ok(())
}

fn a_read_only_disk_refuses_writes_and_keeps_its_bytes(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 5, 64)?;
    let script = "setup 0\nwrite 0 0 8 9\nread 0 0 8\nexit off";
    let mut machine = Plan::new(context, script)?
        .disk(&disk, "readonly=on")
        .start()?;
    let setup = machine.report("setup")?;
    check!(
        setup.number("offered")? & 1 << 5 != 0,
        "VIRTIO_BLK_F_RO is not offered"
    );
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()?;
    check!(
        fs::read(&disk)? == content(5, 0, 64),
        "the image has changed"
    );
    Ok(())
}

fn a_request_beyond_the_end_fails_alone(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 5, 64)?;
    let script = "setup 0\nburst 0 read 9 0 8\nburst 0 write 2 60 4 8\nread 0 0x7fffffffffffff 1\nwrite 0 0xffffffffffffffff 2 1\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    machine.report("done")?.expect(8, 1, 0)?;
    machine.report("done")?.expect(1, 1, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.ends_well()?;
    check_eq!(fs::metadata(&disk)?.len(), 64 * 512);
    Ok(())
}

fn a_storm_leaves_the_expected_data(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 5, 2000 * 4)?;
    let script = "setup 0\nstorm 0 0 4 2000 128 77\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    machine.report("stormed")?.expect(2000, 0, 0)?;
    machine.ends_well()?;
    check_storm(&fs::read(&disk)?, 77, 5, 2000, 4)
}

fn each_cache_mode_keeps_the_data_and_is_shown(context: &Context) -> Result<(), Failure> {
    for (cache, direct, no_flush) in [
        ("writeback", false, false),
        ("unsafe", false, true),
        ("none", true, false),
    ] {
        let disk = image(context, cache, 5, 500 * 4)?;
        if direct && !has_direct_io(&disk) {
            return Err(Failure::skip("the file system here has no direct I/O"));
        }
        for aio in ["threads", "io_uring"] {
            bare::image(&disk, 5, 500 * 4)?;
            let script = "setup 0\nstorm 0 0 4 500 128 78\nflush 0\nchoose\nexit off";
            let options = format!("cache={cache},aio={aio}");
            let mut machine = Plan::new(context, script)?.disk(&disk, &options).start()?;
            machine.report("stormed")?.expect(500, 0, 0)?;
            machine.report("done")?.expect(1, 0, 0)?;
            machine.report("choose")?;
            let client = machine.client()?;
            let disks = client.execute("query-block")?;
            let shown = json!({ "writeback": true, "direct": direct, "no-flush": no_flush });
            check_eq!(disks[0]["inserted"]["cache"], shown);
            machine.machine.console().type_text("c")?;
            machine.ends_well()?;
            check_storm(&fs::read(&disk)?, 78, 5, 500, 4)?;
        }
    }
    Ok(())
}

/// Whether a file can be opened with direct I/O.
fn has_direct_io(path: &Path) -> bool {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
    fs::File::options()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .is_ok()
}

fn requests_use_the_requested_engine_and_the_log_names_it(
    context: &Context,
) -> Result<(), Failure> {
    for (aio, line) in [
        ("threads", "requests are carried out by threads"),
        ("io_uring", "requests go through io_uring"),
    ] {
        let disk = image(context, aio, 5, 1000 * 4)?;
        let script = "setup 0\nstorm 0 0 4 1000 128 77\nburst 0 flush 200\nexit off";
        let plan = Plan::new(context, script)?.environment("FAULTVISOR_LOG", "info");
        let mut machine = plan.disk(&disk, &format!("id=d0,aio={aio}")).start()?;
        machine.report("stormed")?.expect(1000, 0, 0)?;
        machine.report("done")?.expect(200, 0, 0)?;
        machine.ends_well()?;
        check_storm(&fs::read(&disk)?, 77, 5, 1000, 4)?;
        let deadline = machine.machine.started() + SOON;
        let log = machine.machine.messages().wait_for_end(deadline);
        let log = log.map_err(|_| Failure::new("the log does not end"))?;
        let said = log.matches("disk 'd0': requests ").count();
        check!(
            said == 1 && log.contains(line),
            "the log of {aio} says: {log}"
        );
    }
    Ok(())
}

/// Fails unless an image with the pattern of `before` holds the writes of the storm of `seed`.
pub fn check_storm(
    image: &[u8],
    seed: u64,
    before: u64,
    count: u64,
    sectors: usize,
) -> Result<(), Failure> {
    for (index, bytes) in (0..count).zip(image.chunks(sectors * 512)) {
        let written = pattern::storm(seed, index) == pattern::Storm::Write;
        let seed = if written { seed } else { before };
        let sector = index * sectors as u64;
        check!(
            bytes == content(seed, sector, sectors),
            "the bytes of request {index}, written: {written}"
        );
    }
    Ok(())
}
