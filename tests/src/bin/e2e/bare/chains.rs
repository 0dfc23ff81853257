//! Invalid chains and queues. Each gets the status that the standard prescribes, or DEVICE_NEEDS_RESET, and the disk
//! works after a reset.

use faultvisor_tests::bare::{Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_chain_with_a_place_for_a_status_gets_one,
    a_chain_that_cannot_be_answered_needs_a_reset,
    an_invalid_queue_needs_a_reset,
];

/// After each case the disk is set up again, and a read must succeed.
const AFTER: &str = "setup 0\nread 0 3 2\n";

fn run(context: &Context, cases: &[(&str, String)]) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let script: String = cases
        .iter()
        .map(|(_, steps)| format!("{steps}{AFTER}"))
        .collect();
    let mut machine = Plan::new(context, &format!("{script}exit off"))?
        .disk(&disk, "")
        .start()?;
    for (name, steps) in cases {
        let told = |error: Failure| match error {
            Failure::Failed(why) => Failure::new(format!("{name}: {why}")),
            skipped @ Failure::Skipped(_) => skipped,
        };
        if steps.contains("broken") {
            let report = machine.report("broken").map_err(told)?;
            let (status, interrupt) = (report.number("status")?, report.number("interrupt")?);
            check!(status == 0x4f, "{name}: status {status:#x}");
            check!(
                interrupt & 2 != 0,
                "{name}: no interrupt for the configuration change"
            );
            check!(report.number("used")? == 0, "{name}: the chain was used");
        } else {
            let report = machine.report("used").map_err(told)?;
            let expected = steps.rsplit("# ").next().unwrap_or_default().trim();
            let seen = format!("{} {}", report.number("status")?, report.number("length")?);
            check!(
                seen == expected,
                "{name}: status and length {seen}, not {expected}"
            );
        }
        let read = machine.report("done").map_err(told)?;
        read.expect(1, 0, 0).map_err(told)?;
        check_eq!(read.number("sum")?, pattern::sum(&content(1, 3, 2)));
    }
    machine.ends_well()
}

/// A case: the contents of the queue's table and of the indirect table, and the expected result.
///
/// A descriptor is `ADDRESS LENGTH FLAGS NEXT`; flags are 1 for a successor, 2 for device-writable, 4 for indirect.
fn case(request: &str, table: &[&str], entries: &[&str], end: &str) -> String {
    let mut steps = format!("setup 0\nheader 0 {request}\n");
    for (name, descriptors) in [("table", table), ("entries", entries)] {
        for (index, descriptor) in descriptors.iter().enumerate() {
            steps.push_str(&format!("descriptor 0 {name} {index} {descriptor}\n"));
        }
    }
    steps.push_str("offer 0 0\nkick 0\n");
    match end {
        "broken" => steps.push_str("broken 0\n"),
        status_and_length => steps.push_str(&format!("used 0\n# {status_and_length}\n")),
    }
    steps
}

const HEADER: &str = "header 16 1 1";
const STATUS: &str = "status 1 2 0";
const READ: &str = "0 3";
const WRITE: &str = "1 3";
/// 1 TiB: an address beyond memory.
const NOWHERE: u64 = 1 << 40;

fn a_chain_with_a_place_for_a_status_gets_one(context: &Context) -> Result<(), Failure> {
    let nowhere = format!("{NOWHERE} 512 3 2");
    let cases = [
        (
            "a whole read",
            case(READ, &[HEADER, "data 512 3 2", STATUS], &[], "0 513"),
        ),
        (
            "an unknown request",
            case("99 0", &[HEADER, STATUS], &[], "2 1"),
        ),
        (
            "a discard, not offered",
            case("11 0", &[HEADER, "data 16 1 2", STATUS], &[], "2 1"),
        ),
        (
            "half a sector",
            case(READ, &[HEADER, "data 256 3 2", STATUS], &[], "1 1"),
        ),
        (
            "a sector and a byte",
            case(WRITE, &[HEADER, "data 513 1 2", STATUS], &[], "1 1"),
        ),
        (
            "a buffer that is no memory",
            case(READ, &[HEADER, &nowhere, STATUS], &[], "1 1"),
        ),
        (
            "a read of what it may not write",
            case(READ, &[HEADER, "data 512 1 2", STATUS], &[], "1 1"),
        ),
        (
            "a write of what it may not read",
            case(WRITE, &[HEADER, "data 512 3 2", STATUS], &[], "1 1"),
        ),
        (
            "a sector past the end",
            case("0 64", &[HEADER, "data 512 3 2", STATUS], &[], "1 1"),
        ),
        (
            "the last sector and one more",
            case("0 63", &[HEADER, "data 1024 3 2", STATUS], &[], "1 1"),
        ),
        (
            "a sector that overflows",
            case(
                "0 0xffffffffffffffff",
                &[HEADER, "data 512 3 2", STATUS],
                &[],
                "1 1",
            ),
        ),
        (
            "a header in two pieces",
            case(
                READ,
                &["header 7 1 1", "header+7 9 1 2", "data 512 3 3", STATUS],
                &[],
                "0 513",
            ),
        ),
        (
            "data and status in one piece",
            case(READ, &[HEADER, "header+0x600 513 2 0"], &[], "0 513"),
        ),
        (
            "data in many pieces",
            case(
                READ,
                &[
                    HEADER,
                    "data 1 3 2",
                    "data+1 510 3 3",
                    "data+511 1 3 4",
                    STATUS,
                ],
                &[],
                "0 513",
            ),
        ),
        (
            "a name in a short buffer",
            case("8 0", &[HEADER, "data 4 3 2", STATUS], &[], "0 5"),
        ),
        (
            "an indirect chain",
            case(
                READ,
                &["entries 48 4 0"],
                &[HEADER, "data 512 3 2", STATUS],
                "0 513",
            ),
        ),
        (
            "a table longer than its chain",
            case(
                READ,
                &["entries 160 4 0"],
                &[HEADER, "data 512 3 2", STATUS],
                "0 513",
            ),
        ),
    ];
    run(context, &cases)
}

fn a_chain_that_cannot_be_answered_needs_a_reset(context: &Context) -> Result<(), Failure> {
    let nowhere = |rest: &str| format!("{NOWHERE} {rest}");
    let whole = [HEADER, "data 512 3 2", STATUS];
    let cases = [
        ("no status", case(READ, &["header 16 0 0"], &[], "broken")),
        (
            "an empty status",
            case(READ, &[HEADER, "status 0 2 0"], &[], "broken"),
        ),
        (
            "half a header",
            case(READ, &["header 8 1 1", STATUS], &[], "broken"),
        ),
        (
            "no header",
            case(READ, &["data 512 3 1", STATUS], &[], "broken"),
        ),
        (
            "a header that is no memory",
            case(READ, &[&nowhere("16 1 1"), STATUS], &[], "broken"),
        ),
        (
            "a status that is no memory",
            case(READ, &[HEADER, &nowhere("1 2 0")], &[], "broken"),
        ),
        (
            "an address that overflows",
            case(READ, &[HEADER, "0xffffffffffffffff 2 2 0"], &[], "broken"),
        ),
        (
            "a successor that is not there",
            case(READ, &["header 16 1 256"], &[], "broken"),
        ),
        ("a loop", case(READ, &["header 16 1 0"], &[], "broken")),
        (
            "a readable piece after a writable one",
            case(READ, &["status 1 3 1", "header 16 0 0"], &[], "broken"),
        ),
        (
            "a table in a table",
            case(READ, &["entries 16 4 0"], &["entries 16 4 0"], "broken"),
        ),
        (
            "a table with a successor",
            case(READ, &["entries 48 5 1", STATUS], &whole, "broken"),
        ),
        (
            "an empty table",
            case(READ, &["entries 0 4 0"], &whole, "broken"),
        ),
        (
            "a table and a half",
            case(READ, &["entries 24 4 0"], &whole, "broken"),
        ),
        (
            "a table that is no memory",
            case(READ, &[&nowhere("48 4 0")], &[], "broken"),
        ),
        (
            "a table that is too short for its chain",
            case(READ, &["entries 32 4 0"], &whole, "broken"),
        ),
        (
            "a table that was not agreed on",
            case(READ, &["entries 48 4 0"], &whole, "broken").replacen(
                "setup 0",
                "setup 0 features=0x100000000",
                1,
            ),
        ),
    ];
    run(context, &cases)
}

fn an_invalid_queue_needs_a_reset(context: &Context) -> Result<(), Failure> {
    let setup = |options: &str| format!("setup 0 {options}\nbroken 0\n");
    let cases = [
        ("no descriptors", setup("size=0")),
        ("a size that is no power of two", setup("size=100")),
        ("a size that was not offered", setup("size=512")),
        ("a table that is no memory", setup("table=0x10000000000")),
        ("a misaligned table", setup("table=0x400008")),
        ("a misaligned available ring", setup("available=0x401001")),
        ("a used ring at the end of memory", setup("used=0x2fffffc")),
        (
            "a used ring that overflows",
            setup("used=0xfffffffffffffffc"),
        ),
        (
            "an index ahead of the ring",
            "setup 0\navailable 0 257\nkick 0\nbroken 0\n".to_owned(),
        ),
        (
            "an index that ran back",
            "setup 0\navailable 0 65535\nkick 0\nbroken 0\n".to_owned(),
        ),
        (
            "a head that is no descriptor",
            "setup 0\noffer 0 256\nkick 0\nbroken 0\n".to_owned(),
        ),
    ];
    run(context, &cases)
}
