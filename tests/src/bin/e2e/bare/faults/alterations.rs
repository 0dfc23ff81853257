//! Altered requests, at the limits of a rule's members.

use std::fs;
use std::path::Path;

use faultvisor_tests::bare::{Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, disk, rig, step_by_step};
use crate::bare::{check_event, image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_request_misdirected_beyond_the_end_fails_without_effect,
    an_alteration_ends_with_the_data,
    torn_writes_keep_their_beginning_or_their_end,
    the_log_records_each_of_many_torn_writes,
    an_error_of_the_host_takes_precedence_over_an_injected_one,
    an_altered_write_beyond_the_threshold_is_reported,
];

const SECTORS: usize = 1024;

/// Runs one guest step under one rule; returns its checksum.
fn one(rig: &mut Rig, rule: &Value, fails: bool) -> Result<u64, Failure> {
    rig.add(rule.clone())?;
    rig.go()?;
    let fails = u64::from(fails);
    let done = rig.done()?;
    done.expect(1 - fails, fails, 0)
        .map_err(|failure| Failure::new(format!("{rule}: {failure:?}")))?;
    rig.injected()?;
    rig.simply("block-fault-clear")?;
    done.number("sum")
}

fn a_request_misdirected_beyond_the_end_fails_without_effect(
    context: &Context,
) -> Result<(), Failure> {
    let steps = ["write 0 0 8 5", "read 0 0 8", "write 0 0 8 5", "read 0 0 8"];
    let mut rig = rig(context, &step_by_step(&steps), SECTORS, "werror=report")?;
    let to = |sector: usize| json!({ "action": "misdirect", "to-sector": sector });
    for operation in ["write", "read"] {
        one(&mut rig, &to(SECTORS - 7), true)?;
        let data = [
            ("operation", json!(operation)),
            ("reason", json!("Input/output error")),
        ];
        check_event(&rig.event("BLOCK_IO_ERROR")?, "BLOCK_IO_ERROR", &data)?;
    }
    rig.stop()?;
    check!(
        fs::read(disk(context))? == content(1, 0, SECTORS),
        "something was written"
    );
    rig.cont()?;
    one(&mut rig, &to(SECTORS - 8), false)?;
    let last = u64::try_from(SECTORS - 8)?;
    check_eq!(
        one(&mut rig, &to(SECTORS - 8), false)?,
        pattern::sum(&content(5, 0, 8))
    );
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()?;
    let expected = [content(1, 0, SECTORS - 8), content(5, 0, 8)].concat();
    check!(fs::read(disk(context))? == expected, "not at sector {last}");
    Ok(())
}

fn an_alteration_ends_with_the_data(context: &Context) -> Result<(), Failure> {
    for cache in ["writeback", "none"] {
        let steps = [
            "read 0 0 1",
            "write 0 8 1 5",
            "read 0 0 1",
            "read 0 0 8",
            "write 0 16 8 5",
        ];
        let script = step_by_step(&steps);
        let mut rig = rig(context, &script, SECTORS, &format!("cache={cache}"))?;
        let all = json!({ "action": "corrupt", "flip-bits": 65536 });
        let inverted = |data: Vec<u8>| -> Vec<u8> { data.iter().map(|byte| !byte).collect() };
        let sector = inverted(content(1, 0, 1));
        check_eq!(one(&mut rig, &all, false)?, pattern::sum(&sector));
        one(&mut rig, &all, false)?;
        let overwrite = |offset: u64, length: u64| {
            json!({
                "action": "corrupt", "pattern": "aabb", "offset": offset, "length": length,
            })
        };
        check_eq!(
            one(&mut rig, &overwrite(512, 4), false)?,
            pattern::sum(&content(1, 0, 1))
        );
        let mut end = content(1, 0, 8);
        end[4093..].copy_from_slice(&[0xaa, 0xbb, 0xaa]);
        check_eq!(
            one(&mut rig, &overwrite(4093, 32 << 20), false)?,
            pattern::sum(&end)
        );
        one(&mut rig, &overwrite(0, 32 << 20), false)?;
        rig.is_quiet()?;
        rig.go()?;
        rig.ends_well()?;
        let mut expected = content(1, 0, SECTORS);
        expected[8 * 512..9 * 512].copy_from_slice(&inverted(content(5, 8, 1)));
        for pair in expected[16 * 512..24 * 512].chunks_mut(2) {
            pair.copy_from_slice(&[0xaa, 0xbb]);
        }
        check!(
            fs::read(disk(context))? == expected,
            "other bytes, with cache={cache}"
        );
    }
    Ok(())
}

fn torn_writes_keep_their_beginning_or_their_end(context: &Context) -> Result<(), Failure> {
    let keeps = [
        ("first", 0),
        ("last", 0),
        ("first", 8),
        ("last", 9),
        ("first", 1023),
    ];
    let steps: Vec<String> = (0..keeps.len())
        .map(|index| format!("write 0 {} 8 5", index * 8))
        .collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut rig = rig(context, &step_by_step(&steps), SECTORS, "cache=none")?;
    for (keep, sectors) in keeps {
        let rule = json!({ "action": "torn", "keep": keep, "keep-sectors": sectors });
        one(&mut rig, &rule, false)?;
    }
    rig.go()?;
    rig.ends_well()?;
    let expected = [
        content(1, 0, 16),
        content(5, 16, 24),
        content(1, 40, SECTORS - 40),
    ];
    check!(fs::read(disk(context))? == expected.concat(), "other bytes");
    Ok(())
}

/// Applies the surviving part of each torn write to an image, as the log records it.
fn tear(image: &mut [u8], log: &Path) -> Result<usize, Failure> {
    let log = fs::read_to_string(log)?;
    let number = |value: &Value| usize::try_from(value.as_u64().unwrap_or(u64::MAX));
    for line in log.lines() {
        let record: Value = serde_json::from_str(line)?;
        for run in record["keep"].as_array().into_iter().flatten() {
            let first = number(&record["sector"])? + number(&run["first"])?;
            let data = content(5, first as u64, number(&run["count"])?);
            image[first * 512..][..data.len()].copy_from_slice(&data);
        }
    }
    Ok(log.lines().count())
}

fn the_log_records_each_of_many_torn_writes(context: &Context) -> Result<(), Failure> {
    let burst = step_by_step(&["burst 0 write 80 0 8 5", "burst 0 write 20 640 8 5"]);
    for options in ["aio=io_uring", "aio=threads", "aio=io_uring,cache=none"] {
        let (path, log) = (image(context, "disk", 1, SECTORS)?, context.path("log"));
        let plan =
            Plan::new(context, &burst)?.options(&["--fault-log", &log.display().to_string()]);
        let mut rig = Rig::start(plan.disk(&path, &format!("id=d0,werror=report,{options}")))?;
        rig.add(json!({ "seed": 4, "action": "torn", "keep": "random" }))?;
        rig.go()?;
        rig.done()?.expect(80, 0, 0)?;
        rig.simply("block-fault-clear")?;
        rig.add(json!({ "seed": 4, "action": "torn", "keep": "random", "errno": "EIO" }))?;
        rig.go()?;
        rig.done()?.expect(0, 20, 0)?;
        rig.go()?;
        rig.ends_well()?;
        let mut expected = content(1, 0, SECTORS);
        check_eq!(tear(&mut expected, &log)?, 100);
        check!(fs::read(&path)? == expected, "other bytes, with {options}");
    }
    Ok(())
}

fn an_error_of_the_host_takes_precedence_over_an_injected_one(
    context: &Context,
) -> Result<(), Failure> {
    let steps = ["write 0 100 8 5"; 3];
    let mut rig = rig(context, &step_by_step(&steps), SECTORS, "werror=report")?;
    limit_file_size(&rig.machine.machine, Some(103 * 512))?;
    for rule in [
        json!({ "action": "error", "errno": "EROFS", "after": true }),
        json!({ "action": "torn", "keep": "last", "keep-sectors": 1, "errno": "EROFS" }),
        json!({ "action": "corrupt", "flip-bits": 1 }),
    ] {
        one(&mut rig, &rule, true)?;
        let reason = rig.event("BLOCK_IO_ERROR")?.data["reason"].take();
        check_eq!(reason, json!("File too large"));
    }
    rig.is_quiet()?;
    rig.go()?;
    rig.ends_well()
}

fn an_altered_write_beyond_the_threshold_is_reported(context: &Context) -> Result<(), Failure> {
    let steps = ["write 0 100 8 5"; 3];
    let mut rig = rig(context, &step_by_step(&steps), SECTORS, "werror=report")?;
    let marks = rig.client.get_block_write_threshold_event()?;
    for (rule, is_told) in [
        (json!({ "action": "error", "errno": "EIO" }), false),
        (json!({ "action": "corrupt", "flip-bits": 1 }), true),
        (
            json!({ "action": "error", "errno": "EIO", "after": true }),
            true,
        ),
    ] {
        let mark = json!({ "node-name": "d0", "write-threshold": 512 });
        rig.execute("block-set-write-threshold", mark)?;
        rig.add(rule)?;
        rig.go()?;
        rig.done()?;
        rig.injected()?;
        rig.simply("block-fault-clear")?;
        check_eq!(marks.try_recv()?.is_some(), is_told);
        check_eq!(marks.try_recv()?, None);
        rig.forget_events()?;
    }
    rig.go()?;
    rig.ends_well()
}
