//! Reproducible chance: seeds, fault logs, and their replay.

use std::fs;
use std::time::Instant;

use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::{Value, json};

use super::{Rig, disk, step_by_step};
use crate::bare::{image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    the_same_seeds_give_the_same_run_and_others_another,
    a_replayed_log_gives_the_same_run_without_rules,
    every_decision_of_a_log_can_be_replayed,
    a_log_records_the_attempt_at_which_a_rule_fired,
    a_log_of_other_requests_is_not_replayed,
];

const SECTORS: usize = 2048;

/// The results of a run, on guest and host.
#[derive(Debug, PartialEq)]
struct Observations {
    log: Vec<u8>,
    /// The guest's statuses and checksums.
    reports: Vec<[u64; 3]>,
    /// Number of times that the machine stopped.
    stops: usize,
    image: Vec<u8>,
}

/// A guest that executes these steps, bursts or single requests, in a machine that is continued after each stop for an
/// error.
fn run(
    context: &Context,
    steps: &[&str],
    rules: &[Value],
    options: &[&str],
) -> Result<Observations, Failure> {
    let (image, log) = (image(context, "disk", 1, SECTORS)?, context.path("log"));
    let plan = Plan::new(context, &step_by_step(steps))?;
    let plan = plan.disk(&image, "id=d0,werror=stop,rerror=report");
    let log_option = log.display().to_string();
    let plan = plan.options(&["--fault-log", &log_option]).options(options);
    let mut rig = Rig::start(plan)?;
    for rule in rules {
        rig.add(rule.clone())?;
    }
    let (mut reports, mut stops) = (Vec::new(), 0);
    for index in 0..steps.len() {
        rig.go()?;
        stops += goes_on(&mut rig, index + 1)?;
        let done = rig.done()?;
        check_eq!(done.number("doubled")?, 0);
        reports.push([
            done.number("ok")?,
            done.number("ioerr")?,
            done.number("sum")?,
        ]);
    }
    rig.machine.report("choose")?;
    rig.go()?;
    rig.ends_well()?;
    Ok(Observations {
        log: fs::read(log)?,
        reports,
        stops,
        image: fs::read(image)?,
    })
}

/// Continues the machine until the guest's report number `reports`, and fails requests that hang. Returns the number of
/// stops.
fn goes_on(rig: &mut Rig, reports: usize) -> Result<usize, Failure> {
    let deadline = Instant::now() + SOON;
    let mut stops = 0;
    loop {
        // A client sees the state change after the guest sees the end.
        if rig
            .machine
            .machine
            .serial()
            .text()
            .matches(" done ")
            .count()
            >= reports
        {
            return Ok(stops);
        }
        check!(Instant::now() < deadline, "the guest does not get on");
        if rig.simply("query-status")?["running"] == false {
            // Drain first: all failing requests have failed, and are held together.
            rig.client.stop()?;
            rig.client.cont()?;
            stops += 1;
        }
        if rig.hanging()? > 0 {
            rig.execute(
                "block-fault-release",
                json!({ "device": "d0", "how": "fail" }),
            )?;
        }
    }
}

/// Hundreds of reads and writes, in an order that only the driver decides. Flushes come alone: where an error stops the
/// machine, timing decides which later requests have started.
const STEPS: [&str; 12] = [
    "burst 0 write 60 0 8 5",
    "burst 0 read 60 0 8",
    "flush 0",
    "flush 0",
    "flush 0",
    "burst 0 write 60 480 4 6",
    "flush 0",
    "flush 0",
    "burst 0 read 60 480 8",
    "zero 0 0 100 50 400 10",
    "discard 0 0 800 32",
    "burst 0 read 30 0 16",
];

/// Rules that leave as much as possible to chance.
fn rules(seed: u64) -> Vec<Value> {
    let rule = |number: u64, probability: f64, mut members: Value| {
        members["id"] = json!(format!("rule {number}"));
        members["seed"] = json!(seed + number);
        members["probability"] = json!(probability);
        members
    };
    vec![
        rule(
            1,
            0.2,
            json!({
                "action": "delay", "percentiles": [
                    { "percentile": 50, "microseconds": 100 },
                    { "percentile": 100, "microseconds": 3000 },
                ],
            }),
        ),
        rule(
            2,
            0.1,
            json!({
                "action": "delay", "min-microseconds": 0, "max-microseconds": 2000,
            }),
        ),
        rule(3, 0.3, json!({ "action": "corrupt", "flip-bits": 3 })),
        rule(4, 0.3, json!({ "action": "torn", "keep": "random" })),
        rule(
            5,
            0.2,
            json!({ "operations": ["flush", "write"], "action": "drop" }),
        ),
        rule(
            6,
            0.4,
            json!({
                "operations": ["read", "flush"], "action": "error", "errno": "EPERM",
            }),
        ),
    ]
}

fn the_same_seeds_give_the_same_run_and_others_another(context: &Context) -> Result<(), Failure> {
    let one = run(context, &STEPS, &rules(100), &[])?;
    let lines = one.log.split(|byte| *byte == b'\n').count();
    check!(lines > 100, "only {lines} lines in the log");
    let ids = |id: &str| String::from_utf8_lossy(&one.log).contains(&format!("\"{id}\""));
    for number in 1..=6 {
        check!(ids(&format!("rule {number}")), "rule {number} never fired");
    }
    let same = run(context, &STEPS, &rules(100), &[])?;
    check!(same.log == one.log, "the same seeds made another log");
    check_eq!(same.reports, one.reports);
    check!(same.image == one.image, "the same seeds made another image");
    let other = run(context, &STEPS, &rules(200), &[])?;
    check!(other.log != one.log, "other seeds made the same log");
    check!(other.image != one.image, "other seeds made the same image");
    Ok(())
}

/// Replays a run's log, without rules and without their causes.
fn repeat(
    context: &Context,
    steps: &[&str],
    first: &Observations,
) -> Result<Observations, Failure> {
    let log = context.path("first log");
    fs::write(&log, &first.log)?;
    run(
        context,
        steps,
        &[],
        &["--fault-replay", &log.display().to_string()],
    )
}

fn a_replayed_log_gives_the_same_run_without_rules(context: &Context) -> Result<(), Failure> {
    let first = run(context, &STEPS, &rules(700), &[])?;
    check!(first.stops > 0, "no flush has failed");
    let again = repeat(context, &STEPS, &first)?;
    check!(again.log == first.log, "another log");
    check_eq!(again.reports, first.reports);
    check!(again.image == first.image, "another image");
    Ok(())
}

fn every_decision_of_a_log_can_be_replayed(context: &Context) -> Result<(), Failure> {
    let fates = [
        json!({ "action": "error", "errno": "ENOSPC" }),
        json!({ "action": "error", "errno": "ETIME", "after": true }),
        json!({ "action": "delay", "microseconds": 1000 }),
        json!({ "action": "hang" }),
        json!({ "action": "corrupt", "flip-bits": 9 }),
        json!({ "action": "corrupt", "pattern": "0123456789abcdef", "offset": 3, "length": 1000 }),
        json!({ "action": "torn", "keep": "first", "keep-sectors": 3 }),
        json!({ "action": "torn", "keep": "last", "keep-sectors": 3, "errno": "EIO" }),
        json!({ "action": "torn", "keep": "random" }),
        json!({ "action": "drop" }),
        json!({ "action": "misdirect", "to-sector": 1024 }),
        json!({ "action": "set-state", "new-state": "other" }),
        json!({ "action": "stop" }),
        json!({ "action": "power-cut", "survive": "prefix", "tear-bytes": 64, "then": "stop" }),
    ];
    let (mut rules, mut steps) = (Vec::new(), Vec::new());
    for (index, mut fate) in fates.into_iter().enumerate() {
        fate["operations"] = json!(["write"]);
        fate["count"] = json!(1);
        fate["sector"] = json!(index * 8);
        fate["seed"] = json!(index);
        rules.push(fate);
        steps.push(format!("write 0 {} 8 5", index * 8));
        steps.push(format!("read 0 {} 8", index * 8));
    }
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let first = run(context, &steps, &rules, &[])?;
    let lines = first
        .log
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    check_eq!(lines.count(), rules.len());
    let again = repeat(context, &steps, &first)?;
    check!(again.log == first.log, "another log");
    check_eq!(again, first);
    Ok(())
}

fn a_log_records_the_attempt_at_which_a_rule_fired(context: &Context) -> Result<(), Failure> {
    // The host refuses the first attempt; a rule added then, the second.
    let script = step_by_step(&["write 0 100 8 5"]);
    let first_log = context.path("first log");
    let mut logs = Vec::new();
    for is_repeated in [false, true] {
        let (image, log) = (image(context, "disk", 1, 256)?, context.path("log"));
        let plan = Plan::new(context, &script)?.disk(&image, "id=d0,werror=stop");
        let mut plan = plan.options(&["--fault-log", &log.display().to_string()]);
        if is_repeated {
            plan = plan.options(&["--fault-replay", &first_log.display().to_string()]);
        }
        let mut rig = Rig::start(plan)?;
        limit_file_size(&rig.machine.machine, Some(50 * 512))?;
        rig.go()?;
        check_eq!(
            rig.event("BLOCK_IO_ERROR")?.data["reason"],
            json!("File too large")
        );
        rig.event("STOP")?;
        limit_file_size(&rig.machine.machine, None)?;
        if !is_repeated {
            rig.add(json!({ "id": "then", "count": 1, "action": "error", "errno": "EROFS" }))?;
        }
        rig.cont()?;
        check_eq!(rig.injected()?["ordinal"], json!(1));
        let reason = rig.event("BLOCK_IO_ERROR")?.data["reason"].take();
        check_eq!(reason, json!("Read-only file system"));
        rig.event("STOP")?;
        rig.cont()?;
        rig.done()?.expect(1, 0, 0)?;
        rig.is_quiet()?;
        rig.go()?;
        rig.ends_well()?;
        fs::copy(&log, &first_log)?;
        logs.push(fs::read(&log)?);
    }
    let record: Value = serde_json::from_slice(&logs[0])?;
    check_eq!(record["attempt"], json!(1));
    check_eq!(logs[0], logs[1]);
    Ok(())
}

fn a_log_of_other_requests_is_not_replayed(context: &Context) -> Result<(), Failure> {
    let error = json!({ "operations": ["read"], "action": "error", "errno": "EIO" });
    let steps = ["read 0 0 8", "read 0 8 8", "read 0 16 8"];
    let first = run(context, &steps, &[error], &[])?;
    check_eq!(
        first.reports.iter().filter(|report| report[1] == 1).count(),
        3
    );
    // The second differs, and the third equals the first.
    let steps = ["read 0 0 8", "read 0 8 4", "read 0 16 8"];
    let again = repeat(context, &steps, &first)?;
    let failed: Vec<u64> = again.reports.iter().map(|report| report[1]).collect();
    check_eq!(failed, [1, 0, 1]);
    check!(
        fs::read(disk(context))? == first.image,
        "the image has changed"
    );
    Ok(())
}
