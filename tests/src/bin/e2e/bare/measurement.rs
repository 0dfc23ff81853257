//! Measurements perform what they count: the bare-metal guest's, in Faultvisor and in QEMU's microvm, where
//! `cargo xtask bench block` compares them.

use std::fs;
use std::path::Path;

use faultvisor_harness::Process;
use faultvisor_tests::bare::{Plan, Report, SOON, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, microvm, packages, tests, tool};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_measurement_writes_and_reads_the_blocks_that_its_seed_says,
    the_guest_starts_in_qemus_microvm_and_measures_the_same,
    a_measurement_without_event_index_completes_each_request_once,
];

const BLOCK: usize = 4096;
const SECTORS: usize = BLOCK / pattern::SECTOR;
const BLOCKS: usize = 128;
const REQUESTS: u64 = 100;
/// The seeds of the image and of the measurements.
const BEFORE: u64 = 1;
const WRITES: u64 = 7;
const READS: u64 = 8;

fn a_measurement_writes_and_reads_the_blocks_that_its_seed_says(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", BEFORE, BLOCKS * SECTORS)?;
    let plan = Plan::new(context, &script())?;
    let mut machine = plan
        .disk(&disk, "cache=none")
        .options(&["--no-reboot"])
        .start()?
        .machine;
    check_measurements(&mut machine, &disk)
}

fn the_guest_starts_in_qemus_microvm_and_measures_the_same(
    context: &Context,
) -> Result<(), Failure> {
    let program = packages::QEMU.program;
    let qemu = tool::find(program).ok_or_else(|| Failure::skip(format!("no {program}")))?;
    let disk = image(context, "disk", BEFORE, BLOCKS * SECTORS)?;
    let initrd = context.path("script");
    fs::write(&initrd, script())?;
    let options = (disk.as_path(), "cache=none,aio=threads");
    let mut command = microvm::command(&qemu, context.bare_guest(), &initrd, 48, options);
    let mut machine = context.start(&mut command)?;
    check_measurements(&mut machine, &disk)
}

fn a_measurement_without_event_index_completes_each_request_once(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", BEFORE, BLOCKS * SECTORS)?;
    // VERSION_1 and FLUSH: neither indirect descriptors nor EVENT_IDX.
    let script =
        "setup 0 features=0x100000200\nmeasure 0 write random 4096 32 count 3000 7\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    machine.report("measured")?.expect(3000, 0, 0)?;
    machine.ends_well()?;
    check!(
        fs::read(&disk)? == written(WRITES, 3000),
        "the image has other bytes"
    );
    Ok(())
}

fn script() -> String {
    format!(
        "setup 0\nmeasure 0 write random {BLOCK} 8 count {REQUESTS} {WRITES}\n\
         measure 0 read random {BLOCK} 1 count {REQUESTS} {READS}\nexit fault\n"
    )
}

/// The image's contents after a measurement.
fn written(seed: u64, requests: u64) -> Vec<u8> {
    let mut expected = content(BEFORE, 0, BLOCKS * SECTORS);
    for place in places(seed, requests) {
        let block = &mut expected[place * BLOCK..][..BLOCK];
        block.copy_from_slice(&content(seed, 0, SECTORS));
        block[..8].copy_from_slice(&((place * SECTORS) as u64).to_le_bytes());
    }
    expected
}

fn places(seed: u64, requests: u64) -> impl Iterator<Item = usize> {
    (0..requests).map(move |index| {
        let place = pattern::place(seed, index, BLOCKS as u64);
        usize::try_from(place).unwrap_or(usize::MAX)
    })
}

fn check_measurements(machine: &mut Process, disk: &Path) -> Result<(), Failure> {
    let mut report = |word: &str| -> Result<Report, Failure> {
        let line = machine
            .console()
            .wait_for_line(&format!(" {word} "), SOON)?;
        Ok(Report::parse(&line.text))
    };
    let expected = written(WRITES, REQUESTS);
    report("measured")?.expect(REQUESTS, 0, 0)?;
    let latencies = report("latencies")?;
    let kicks = latencies.number("kicks")?;
    check!((1..=REQUESTS).contains(&kicks), "{kicks} kicks");

    let read = report("measured")?;
    read.expect(REQUESTS, 0, 0)?;
    let first_word = |place: usize| {
        let bytes = expected[place * BLOCK..].first_chunk().copied();
        u64::from_le_bytes(bytes.unwrap_or_default())
    };
    let sum = places(READS, REQUESTS)
        .map(first_word)
        .fold(0, u64::wrapping_add);
    check_eq!(read.number("sum")?, sum);
    let latencies = report("latencies")?;
    let [p50, p99, longest] =
        ["p50", "p99", "max"].map(|key| latencies.number(key).unwrap_or_default());
    check!(
        0 < p50 && p50 <= p99 && p99 <= longest && longest <= read.number("cycles")?,
        "'{}' after '{}'",
        latencies.line,
        read.line
    );
    machine.expect_exit(0, SOON)?;
    check!(fs::read(disk)? == expected, "the image has other bytes");
    Ok(())
}
