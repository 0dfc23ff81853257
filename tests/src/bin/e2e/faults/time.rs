//! Slow requests, and machines that stop: the guest waits, and misses nothing.

use std::thread;
use std::time::Duration;

use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::{add, remove_after};
use crate::client::{Client, IO_ERRORS};
use crate::linux::{self, add_disk, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_guest_waits_for_hanging_and_delayed_requests_without_an_error,
    a_machine_continued_at_the_nth_write_performs_all_writes,
];

const MIB: usize = 1 << 20;
/// How long a write hangs.
const HANGS: Duration = Duration::from_secs(5);
/// How long reads are delayed.
const DELAYED: Duration = Duration::from_secs(3);

/// A command, timed by the guest's own clock in hundredths of a second.
fn timed(command: &str) -> String {
    format!(
        "read -r began rest < /proc/uptime; {command} 2> /dev/null; status=$?; \
         read -r ended rest < /proc/uptime; echo $began $ended | tr -d . | (read -r a b; echo $((b - a))); \
         [ $status -eq 0 ]"
    )
}

/// The time that a timed command reports.
fn took(output: &str) -> Result<Duration, Failure> {
    let hundredths: u64 = output.trim().parse()?;
    Ok(Duration::from_millis(hundredths * 10))
}

fn a_guest_waits_for_hanging_and_delayed_requests_without_an_error(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let data = pattern(32, 64 << 10);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let events = [&IO_ERRORS[..], &["BLOCK_FAULT_INJECTED"]].concat();
    let client = Client::hearing(&linux::monitor(context), &events)?;

    let hang = add(
        &client,
        json!({ "device": "disk0", "operations": ["write"], "count": 1, "action": "hang" }),
    )?;
    let write = "dd if=/test/data of=/dev/vda bs=64k seek=16 oflag=direct conv=notrunc";
    guest.begin(&timed(write))?;
    let fired = client.expect("BLOCK_FAULT_INJECTED")?;
    check_eq!(fired["sector"], 2048);
    thread::sleep(HANGS);
    let disks = client.execute("query-block-faults")?;
    check_eq!(disks[0]["hanging"][0]["ordinal"], fired["ordinal"]);
    check_eq!(disks[0]["hanging"][0]["id"], hang.as_str());
    // It is the only request waited for.
    linux::check_bytes(&image, MIB as u64, &vec![0; data.len()])?;
    let released = client.execute_with("block-fault-release", json!({ "device": "disk0" }))?;
    check_eq!(released["released"], 1);
    let waited = took(&guest.succeed()?)?;
    check!(
        waited >= HANGS - Duration::from_millis(100),
        "the guest has waited for {waited:?} only"
    );
    linux::check_bytes(&image, MIB as u64, &data)?;
    remove_after(&client, &hang, 1)?;

    delayed(context, &mut guest, &client)?;
    check_eq!(guest.disk_errors()?, "");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

/// Reads of one place are delayed, and those of another do not wait for them.
fn delayed(context: &Context, guest: &mut GuestShell, client: &Client) -> Result<(), Failure> {
    let microseconds = u64::try_from(DELAYED.as_micros())?;
    let delay = add(
        client,
        json!({ "device": "disk0", "operations": ["read"], "sector": 2048, "sectors": 128,
                "action": "delay", "microseconds": microseconds }),
    )?;
    let slow = timed("dd if=/dev/vda of=/tmp/slow bs=64k skip=16 count=1 iflag=direct");
    let quick = "dd if=/dev/vda of=/dev/null bs=64k count=1 iflag=direct 2> /dev/null";
    guest.run(&format!(
        "({slow}) > /tmp/took && touch /tmp/slow-is-done &"
    ))?;
    let fired = client.expect("BLOCK_FAULT_INJECTED")?;
    check_eq!(fired["id"], delay.as_str());
    guest.run(&format!("{quick} && [ ! -e /tmp/slow-is-done ]"))?;
    let waited = took(&guest.run("wait; cat /tmp/took")?)?;
    check!(
        waited >= DELAYED,
        "a read that is delayed by {DELAYED:?} took {waited:?}"
    );
    guest.run("cmp /tmp/slow /test/data")?;
    remove_after(client, &delay, 1)?;
    let again = timed("dd if=/dev/vda of=/tmp/slow bs=64k skip=16 count=1 iflag=direct");
    let without = took(&guest.run(&again)?)?;
    check!(
        without < waited,
        "without a delay it took {without:?}, with one {waited:?}"
    );
    context.note(&format!(
        "a read took {without:?} without a delay, and {waited:?} with one of {DELAYED:?}"
    ));
    Ok(())
}

fn a_machine_continued_at_the_nth_write_performs_all_writes(
    context: &Context,
) -> Result<(), Failure> {
    const WRITES: usize = 64;
    const BEFORE: usize = 41;
    const BLOCK: usize = 4096;
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let data = pattern(33, WRITES * BLOCK);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let events = [&IO_ERRORS[..], &["BLOCK_FAULT_INJECTED"]].concat();
    let client = Client::hearing(&linux::monitor(context), &events)?;
    let stop = add(
        &client,
        json!({ "device": "disk0", "operations": ["write"], "skip": BEFORE, "count": 1, "action": "stop" }),
    )?;
    guest.begin("dd if=/test/data of=/dev/vda bs=4k oflag=direct conv=notrunc")?;
    let fired = client.expect("BLOCK_FAULT_INJECTED")?;
    check_eq!(fired["sector"], BEFORE * BLOCK / 512);
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "paused");
    // The writes before it are there, and it is not.
    linux::check_bytes(&image, 0, &data[..BEFORE * BLOCK])?;
    let rest = vec![0; (WRITES - BEFORE) * BLOCK];
    linux::check_bytes(&image, (BEFORE * BLOCK) as u64, &rest)?;
    client.cont()?;
    client.expect("RESUME")?;
    guest.succeed()?;
    remove_after(&client, &stop, 1)?;
    check_eq!(guest.disk_errors()?, "");
    guest.run("dd if=/dev/vda bs=4k count=64 iflag=direct 2> /dev/null | cmp - /test/data")?;
    client.quit()?;
    guest.expect_exit(0)?;
    linux::check_bytes(&image, 0, &data)
}
