//! Requests that are held while the machine is stopped for an error.

use std::fs;
use std::time::Instant;

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content};
use faultvisor_tests::client::{Client, Event};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::injection::{self, Held};
use super::resize::{check_size, resize};
use super::{check_event, check_state, image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    hundreds_of_held_requests_are_resubmitted_in_order_and_complete_once,
    a_guest_that_resets_its_disk_while_requests_are_held_can_use_it_again,
    a_system_reset_while_requests_are_held_forgets_them,
    quit_while_requests_are_held_ends_the_program,
    requests_held_on_four_queues_are_all_answered_once,
    a_system_reset_while_four_queues_are_held_forgets_them,
    quit_while_four_queues_are_held_ends_the_program,
    a_disk_that_grows_performs_its_held_requests_afterwards,
    a_held_write_beyond_the_end_of_a_shrunk_disk_fails_unperformed,
    cont_waits_for_requests_in_flight_on_another_disk,
];

const COUNT: usize = 250;
const FIRST: usize = 100;

/// Sectors of the disk.
const SECTORS: u64 = 4096;

/// A machine that has stopped after errors of its burst of writes.
fn stopped(context: &Context, script: &str) -> Result<(BareMachine, Client), Failure> {
    let disk = image(context, "disk", 1, usize::try_from(SECTORS)?)?;
    let plan = Plan::new(context, script)?.disk(&disk, "id=d0,werror=stop,num-queues=4");
    let mut machine = plan.environment("FAULTVISOR_LOG", "info").start()?;
    let client = machine.client()?;
    machine.report("choose")?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    machine.machine.console().type_text("c")?;
    Ok((machine, client))
}

/// Continues until all requests are held in the same stop, and returns the number of errors until then. The disk takes
/// none after the first error of a run, so that it needs some runs to take all.
fn hold_all(client: &Client, count: usize) -> Result<usize, Failure> {
    const RUNS: usize = 100;
    let mut total = 0;
    for _ in 0..RUNS {
        let before = errors_until(client, "STOP")?;
        check!(before > 0, "STOP came before the error that it is about");
        client.cont()?;
        let errors = before + errors_until(client, "RESUME")?;
        total += errors;
        if errors == count {
            errors_and_stop(client, count)?;
            return Ok(total + count);
        }
    }
    Err(Failure::new("the disk does not take all requests"))
}

/// The number of errors until another event.
fn errors_until(client: &Client, name: &str) -> Result<usize, Failure> {
    let mut errors = 0;
    loop {
        let event = client.next_event()?;
        if event.name == name {
            return Ok(errors);
        }
        if event.name == "BLOCK_IO_ERROR" {
            errors += 1;
        }
    }
}

/// Waits for that many errors and for STOP.
fn errors_and_stop(client: &Client, count: usize) -> Result<(), Failure> {
    let (mut errors, mut stopped) = (0, false);
    while errors < count || !stopped {
        let event = client.next_event()?;
        if event.name == "STOP" {
            check!(errors > 0, "STOP came before the error that it is about");
            stopped = true;
        } else if event.name == "BLOCK_IO_ERROR" {
            check_eq!(event.data["action"], "stop");
            errors += 1;
        }
    }
    Ok(())
}

/// The first sectors of the writes that the program reports as failed.
fn failed_sectors(machine: &BareMachine, count: usize) -> Result<Vec<u64>, Failure> {
    let deadline = Instant::now() + SOON;
    let sector = |line: &str| -> Option<u64> {
        let (_, rest) = line.split_once("write at sector ")?;
        rest.split(' ').next()?.parse().ok()
    };
    let (mut sectors, mut index) = (Vec::new(), 0);
    while sectors.len() < count {
        let line = machine.machine.messages().line(index, deadline)?;
        sectors.extend(sector(&line.text));
        index += 1;
    }
    Ok(sectors)
}

fn hundreds_of_held_requests_are_resubmitted_in_order_and_complete_once(
    context: &Context,
) -> Result<(), Failure> {
    let script = format!("setup 0\nchoose\nburst 0 write {COUNT} {FIRST} 8 5\nexit off");
    let (mut machine, client) = stopped(context, &script)?;
    let total = hold_all(&client, COUNT)?;
    check_state(&client, "io-error", "failed")?;
    // The last round failed in about the order of submission. Several threads work on it, and any may be late with
    // one; a wrong order would displace requests by a third of all places on average.
    let failed = failed_sectors(&machine, total)?;
    let mut distance = 0;
    for (place, sector) in failed[total - COUNT..].iter().enumerate() {
        let submitted = (usize::try_from(*sector)? - FIRST) / 8;
        distance += place.abs_diff(submitted);
    }
    check!(
        distance < COUNT * COUNT / 8,
        "the order of submission is lost: {failed:?}"
    );
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    machine
        .report("done")?
        .expect(u64::try_from(COUNT)?, 0, 0)?;
    machine.ends_well()?;
    let written = fs::read(context.path("disk"))?;
    let (first, end) = (FIRST * 512, (FIRST + 8 * COUNT) * 512);
    check!(
        written[first..end] == content(5, u64::try_from(FIRST)?, 8 * COUNT),
        "other bytes"
    );
    Ok(())
}

fn a_guest_that_resets_its_disk_while_requests_are_held_can_use_it_again(
    context: &Context,
) -> Result<(), Failure> {
    const ROUNDS: usize = 40;
    // The machine stops shortly after the first error: the later the reset, the more is held.
    let rounds: String = (0..ROUNDS)
        .map(|round| {
            let cycles = round * 30_000;
            format!("start 0 write 200 100 8 5\ndelay {cycles}\nreset 0\nsetup 0\nread 0 0 8\n")
        })
        .collect();
    let script = format!("setup 0\nchoose\n{rounds}choose\nread 0 0 8\nexit off");
    let (mut machine, client) = stopped(context, &script)?;
    let deadline = Instant::now() + SOON;
    while machine.machine.serial().text().matches(" choose").count() < 2 {
        check!(Instant::now() < deadline, "the guest does not get on");
        client.cont()?;
    }
    for _ in 0..ROUNDS {
        check_eq!(machine.report("reset")?.number("status")?, 0);
        check_eq!(machine.report("setup")?.number("status")?, 0xf);
        machine.report("done")?.expect(1, 0, 0)?;
    }
    // No held request is left to be submitted, although it would succeed now.
    limit_file_size(&machine.machine, None)?;
    client.stop()?;
    client.cont()?;
    machine.report("choose")?;
    machine.machine.console().type_text("c")?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()?;
    let image = fs::read(context.path("disk"))?;
    check!(image == content(1, 0, 4096), "the image has changed");
    Ok(())
}

fn a_system_reset_while_requests_are_held_forgets_them(context: &Context) -> Result<(), Failure> {
    let script = format!("setup 0\nchoose\nburst 0 write {COUNT} {FIRST} 8 5\nexit off");
    let (mut machine, client) = stopped(context, &script)?;
    hold_all(&client, COUNT)?;
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    machine.report("choose")?;
    check_state(&client, "running", "ok")?;
    check!(
        fs::read(context.path("disk"))? == content(1, 0, 4096),
        "a forgotten write was done"
    );
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn quit_while_requests_are_held_ends_the_program(context: &Context) -> Result<(), Failure> {
    let script = format!("setup 0\nchoose\nburst 0 write {COUNT} {FIRST} 8 5\nexit off");
    let (mut machine, client) = stopped(context, &script)?;
    errors_and_stop(&client, 1)?;
    client.quit()?;
    machine.ends_well()?;
    check!(
        fs::read(context.path("disk"))? == content(1, 0, 4096),
        "a held write was done"
    );
    Ok(())
}

/// Counts the errors until the machine has stopped and drained.
fn errors_until_stopped(client: &Client) -> Result<usize, Failure> {
    let is_error = |event: &Event| event.name == "BLOCK_IO_ERROR";
    let mut errors = 0;
    loop {
        let event = client.next_event()?;
        errors += usize::from(is_error(&event));
        if event.name == "STOP" {
            break;
        }
    }
    client.stop()?;
    let late = client.take_events()?;
    Ok(errors + late.iter().filter(|event| is_error(event)).count())
}

/// Writes of each of four queues.
const EACH: usize = 100;

/// A machine that has stopped with writes of four queues held: all that each queue was given. They are of 8 sectors
/// each, adjacent from [`FIRST`] on.
fn stopped_with_four_queues(context: &Context) -> Result<(BareMachine, Client), Failure> {
    let mut steps = String::new();
    for queue in 0..4 {
        let first = FIRST + queue * 8 * EACH;
        steps.push_str(&format!(
            "queue 0 {queue}\nstart 0 write {EACH} {first} 8 5\n"
        ));
    }
    for queue in 0..4 {
        steps.push_str(&format!("queue 0 {queue}\nwait 0\n"));
    }
    let script = format!("setup 0 queues=4\nchoose\n{steps}choose\nexit off");
    let (machine, client) = stopped(context, &script)?;
    // The machine stops before the guest has started all of them. Each `cont` takes it a little further.
    let deadline = Instant::now() + SOON;
    loop {
        client.wait_for_event("STOP")?;
        if machine.machine.serial().text().matches(" started ").count() == 4 {
            break;
        }
        check!(Instant::now() < deadline, "the guest does not get on");
        client.cont()?;
    }
    // The machine stops at the first error, and then stops draining the queues: each `cont` adds to the held requests.
    // In the end all of them are held, the last queue's too.
    loop {
        // Answered when nothing is in flight: later errors belong to the next round.
        client.stop()?;
        client.take_events()?;
        client.cont()?;
        let errors = errors_until_stopped(&client)?;
        if errors == 4 * EACH {
            break;
        }
        check!(errors < 4 * EACH, "{errors} errors");
        check!(Instant::now() < deadline, "{errors} are held");
    }
    check_state(&client, "io-error", "failed")?;
    Ok((machine, client))
}

/// Fails unless the image holds the pattern of the writes, and elsewhere its original contents.
fn check_written(context: &Context) -> Result<(), Failure> {
    let mut expected = content(1, 0, usize::try_from(SECTORS)?);
    let written = content(5, u64::try_from(FIRST)?, 4 * 8 * EACH);
    expected[FIRST * 512..][..written.len()].copy_from_slice(&written);
    check!(fs::read(context.path("disk"))? == expected, "other bytes");
    Ok(())
}

/// Each queue's requests have completed once, successfully.
fn check_answers(machine: &mut BareMachine) -> Result<(), Failure> {
    for _ in 0..4 {
        machine.report("done")?.expect(u64::try_from(EACH)?, 0, 0)?;
    }
    machine.report("choose")?;
    machine.machine.console().type_text("c")?;
    machine.ends_well()
}

fn requests_held_on_four_queues_are_all_answered_once(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = stopped_with_four_queues(context)?;
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    check_answers(&mut machine)?;
    check_written(context)
}

fn a_system_reset_while_four_queues_are_held_forgets_them(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = stopped_with_four_queues(context)?;
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    limit_file_size(&machine.machine, None)?;
    client.cont()?;
    machine.report("choose")?;
    check_state(&client, "running", "ok")?;
    let image = fs::read(context.path("disk"))?;
    check!(
        image == content(1, 0, usize::try_from(SECTORS)?),
        "a forgotten write was done"
    );
    // Once more, and now all of it succeeds.
    machine.machine.console().type_text("c")?;
    check_answers(&mut machine)?;
    check_written(context)
}

fn quit_while_four_queues_are_held_ends_the_program(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = stopped_with_four_queues(context)?;
    client.quit()?;
    machine.ends_well()?;
    let image = fs::read(context.path("disk"))?;
    check!(
        image == content(1, 0, usize::try_from(SECTORS)?),
        "a held write was done"
    );
    Ok(())
}

fn a_disk_that_grows_performs_its_held_requests_afterwards(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = stopped_with_four_queues(context)?;
    limit_file_size(&machine.machine, None)?;
    resize(&client, "d0", 2 * SECTORS)?;
    check_size(context, &client, 2 * SECTORS)?;
    check_state(&client, "io-error", "failed")?;
    client.cont()?;
    check_answers(&mut machine)?;
    resize_file(context, SECTORS)?;
    check_written(context)
}

/// Truncates the file to a length, beyond which it must be zero.
fn resize_file(context: &Context, sectors: u64) -> Result<(), Failure> {
    let path = context.path("disk");
    let added = fs::read(&path)?.split_off(usize::try_from(sectors * 512)?);
    check!(
        added.iter().all(|byte| *byte == 0),
        "what was added is not zero"
    );
    fs::File::options()
        .write(true)
        .open(path)?
        .set_len(sectors * 512)?;
    Ok(())
}

fn a_held_write_beyond_the_end_of_a_shrunk_disk_fails_unperformed(
    context: &Context,
) -> Result<(), Failure> {
    /// In the middle of the third queue's writes, and of a write.
    const LEFT: usize = FIRST + 2 * 8 * EACH + 8 * 50 + 4;
    let (mut machine, client) = stopped_with_four_queues(context)?;
    limit_file_size(&machine.machine, None)?;
    let left = u64::try_from(LEFT)?;
    resize(&client, "d0", left)?;
    client.cont()?;
    // Those before the end are done; the others are not, not even in part.
    let mut events = Vec::new();
    while events
        .last()
        .is_none_or(|event: &Event| event.name != "STOP")
    {
        events.push(client.next_event()?);
    }
    client.stop()?;
    events.extend(client.take_events()?);
    let failed = events.iter().filter(|event| event.name == "BLOCK_IO_ERROR");
    let data = [
        ("operation", json!("write")),
        ("action", json!("stop")),
        ("reason", json!("Input/output error")),
    ];
    let mut errors = 0;
    for event in failed {
        check_event(event, "BLOCK_IO_ERROR", &data)?;
        errors += 1;
    }
    check_eq!(errors, EACH + 50);
    check_state(&client, "io-error", "failed")?;
    check_size(context, &client, left)?;
    let mut expected = content(1, 0, LEFT);
    let written = content(5, u64::try_from(FIRST)?, LEFT - 4 - FIRST);
    expected[FIRST * 512..][..written.len()].copy_from_slice(&written);
    check!(fs::read(context.path("disk"))? == expected, "other bytes");
    // With space they succeed, and only then does the guest see completions.
    resize(&client, "d0", SECTORS)?;
    client.cont()?;
    check_answers(&mut machine)?;
    let mut expected = content(1, 0, LEFT);
    expected.resize(usize::try_from(SECTORS * 512)?, 0);
    let written = content(5, u64::try_from(FIRST)?, 4 * 8 * EACH);
    expected[FIRST * 512..][..written.len()].copy_from_slice(&written);
    check!(fs::read(context.path("disk"))? == expected, "other bytes");
    Ok(())
}

/// The first disk fails and stops the machine while a write to the second is in flight, which fails late: its error is
/// reported before the machine continues, not after.
fn cont_waits_for_requests_in_flight_on_another_disk(context: &Context) -> Result<(), Failure> {
    // The first write starts the second disk's I/O thread.
    let script = "setup 0\nsetup 1\nwrite 1 0 8 3\nchoose\nstart 1 write 1 100 8 5\nwrite 0 100 8 5\nwait 1\nexit off";
    let sectors = usize::try_from(SECTORS)?;
    let first = image(context, "first", 1, sectors)?;
    let second = image(context, "second", 2, sectors)?;
    let plan = Plan::new(context, script)?.disk(&first, "id=d0,werror=stop");
    let plan = plan.disk(&second, "id=d1,werror=stop,aio=threads");
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let observer = machine.client()?;
    let mut client = machine.wire_client()?;
    client.negotiate(SOON)?;
    let process = machine.machine.id();
    let held = Held::asleep(process, injection::thread(process, "io-d1")?)?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    machine.machine.console().type_text("c")?;

    observer.wait_for_event("STOP")?;
    client.send(&json!({ "execute": "cont", "id": "go on" }).to_string())?;
    // If `cont` could proceed, it would have been answered before these.
    for _ in 0..100 {
        check_state(&observer, "io-error", "failed")?;
    }
    drop(held);
    let mut seen = Vec::new();
    loop {
        let message = client.next_message("the answer to cont", SOON)?;
        if message["id"] == "go on" {
            check_eq!(message["return"], json!({}));
            break;
        }
        let device = message["data"]["device"].as_str().unwrap_or_default();
        seen.push(format!(
            "{} {device}",
            message["event"].as_str().unwrap_or_default()
        ));
    }
    let expected = ["BLOCK_IO_ERROR d0", "STOP ", "BLOCK_IO_ERROR d1", "RESUME "];
    check_eq!(seen, expected);

    observer.wait_for_event("STOP")?;
    limit_file_size(&machine.machine, None)?;
    observer.cont()?;
    for _ in 0..2 {
        machine.report("done")?.expect(1, 0, 0)?;
    }
    machine.ends_well()
}
