//! A disk's limits, changed while its guest works, and the write threshold.

use std::fs;
use std::time::{Duration, Instant};

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{BlockSetWriteThresholdArguments, BlockWriteThreshold, Error};
use serde_json::{Value, json};

use super::{check_state, image};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    limits_slow_a_running_guest_until_they_are_removed,
    limits_are_shown_as_qemu_shows_them,
    throttled_requests_stay_throttled_after_stop_and_cont,
    a_guest_that_resets_its_disk_while_requests_wait_can_use_it_again,
    a_system_reset_while_requests_wait_forgets_them_and_keeps_the_limits,
    quit_while_requests_wait_ends_the_program,
    disks_of_a_group_share_their_limits,
    invalid_limits_are_refused_in_qemus_words,
    a_write_beyond_the_threshold_is_reported_once_each_time_it_is_set,
];

/// Arguments of `block_set_io_throttle`: these, and no other limit.
fn limits(id: &str, some: &Value) -> Value {
    let mut arguments = json!({
        "id": id, "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0,
    });
    for (name, value) in some.as_object().into_iter().flatten() {
        arguments[name] = value.clone();
    }
    arguments
}

fn limit(client: &Client, id: &str, some: &Value) -> Result<(), Failure> {
    let answer = client.execute_with("block_set_io_throttle", limits(id, some))?;
    check_eq!(answer, json!({}));
    Ok(())
}

fn go(machine: &mut BareMachine) -> Result<(), Failure> {
    Ok(machine.machine.console().type_text("c")?)
}

/// Waits until a disk has completed that many writes.
fn written(client: &Client, disk: usize, count: u64) -> Result<(), Failure> {
    let deadline = Instant::now() + SOON;
    loop {
        let answer = client.execute("query-blockstats")?;
        let done = &answer[disk]["stats"]["wr_operations"];
        if done.as_u64() == Some(count) {
            return Ok(());
        }
        check!(Instant::now() < deadline, "{done} writes, not {count}");
    }
}

const COUNT: usize = 10;
const SECTORS: usize = 8;

/// A guest whose burst of writes, after the first, waits for a limit of one byte per second.
fn waiting(context: &Context, script: &str) -> Result<(BareMachine, Client), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let options = "id=d0,throttling.bps-write=1";
    let mut machine = Plan::new(context, script)?.disk(&disk, options).start()?;
    let client = machine.client()?;
    machine.report("choose")?;
    go(&mut machine)?;
    written(&client, 0, 1)?;
    Ok((machine, client))
}

fn waiting_script(end: &str) -> String {
    format!("setup 0\nchoose\nburst 0 write {COUNT} 0 {SECTORS} 5\n{end}")
}

/// Fails unless exactly the first `count` of the burst's writes are on the disk.
fn check_written(context: &Context, count: usize) -> Result<(), Failure> {
    let end = count * SECTORS;
    let expected = [
        content(5, 0, end),
        content(1, u64::try_from(end)?, 256 - end),
    ];
    check!(
        fs::read(context.path("disk"))? == expected.concat(),
        "the image is not as {count} writes make it"
    );
    Ok(())
}

fn limits_slow_a_running_guest_until_they_are_removed(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let script = "setup 0\nchoose\nburst 0 write 20 0 1 5\nburst 0 read 20 0 8\nchoose\n\
                  burst 0 write 20 0 8 5\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "id=d0").start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    // Three start at once, and each of the others a twentieth of a second after its predecessor.
    limit(&client, "d0", &json!({ "iops_wr": 20 }))?;
    let start = Instant::now();
    go(&mut machine)?;
    machine.report("done")?.expect(20, 0, 0)?;
    let took = start.elapsed();
    check!(took >= Duration::from_millis(850), "it took {took:?}");
    let answer = client.execute("query-blockstats")?;
    let time = answer[0]["stats"]["wr_total_time_ns"].as_u64();
    check!(time >= Some(850_000_000), "waiting is not in {time:?} ns");
    // Reads have no limit.
    machine.report("done")?.expect(20, 0, 0)?;
    machine.report("choose")?;
    limit(&client, "d0", &json!({ "bps_wr": 1 }))?;
    go(&mut machine)?;
    written(&client, 0, 21)?;
    limit(&client, "d0", &json!({ "bps_wr": 1, "iops": 1 }))?;
    written(&client, 0, 22)?;
    limit(&client, "/machine/peripheral/d0/virtio-backend", &json!({}))?;
    machine.report("done")?.expect(20, 0, 0)?;
    machine.ends_well()
}

fn limits_are_shown_as_qemu_shows_them(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let options = "id=d0,throttling.iops-read=100,throttling.iops-read-max=200,\
                   throttling.iops-read-max-length=3,iops_size=4096,group=slow";
    let plan = Plan::new(context, "choose\nexit off")?.disk(&disk, options);
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let all = |info: &Value| -> Value {
        let members = info.as_object().into_iter().flatten();
        let limits = members.filter(|(name, value)| {
            let is_one = name.starts_with("bps") || name.starts_with("iops") || *name == "group";
            is_one && **value != json!(0)
        });
        limits
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let shown = |expected: Value| -> Result<(), Failure> {
        let disks = client.execute("query-block")?;
        check_eq!(all(&disks[0]["inserted"]), expected);
        let nodes = client.execute("query-named-block-nodes")?;
        check_eq!(all(&nodes[0]), json!({}));
        Ok(())
    };
    shown(json!({
        "iops_rd": 100, "iops_rd_max": 200, "iops_rd_max_length": 3, "iops_size": 4096,
        "group": "slow",
    }))?;
    let other = machine.client()?;
    limit(&other, "d0", &json!({ "bps": 1024, "bps_max": 2048 }))?;
    shown(json!({ "bps": 1024, "bps_max": 2048, "bps_max_length": 1, "group": "slow" }))?;
    limit(
        &other,
        "d0",
        &json!({ "bps_rd": 1, "bps_wr": 2, "group": "other" }),
    )?;
    shown(json!({ "bps_rd": 1, "bps_wr": 2, "group": "other" }))?;
    limit(&other, "d0", &json!({}))?;
    shown(json!({}))?;
    limit(&other, "d0", &json!({ "iops": 5 }))?;
    shown(json!({ "iops": 5, "group": "d0" }))?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn throttled_requests_stay_throttled_after_stop_and_cont(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = waiting(context, &waiting_script("exit off"))?;
    client.stop()?;
    check_state(&client, "paused", "ok")?;
    // Without limits they may start, but not while the machine is stopped.
    limit(&client, "d0", &json!({}))?;
    written(&client, 0, 1)?;
    limit(&client, "d0", &json!({ "bps_wr": 1 }))?;
    client.cont()?;
    written(&client, 0, 2)?;
    client.stop()?;
    check_written(context, 2)?;
    client.cont()?;
    limit(&client, "d0", &json!({}))?;
    let count = u64::try_from(COUNT)?;
    machine.report("done")?.expect(count, 0, 0)?;
    machine.ends_well()?;
    check_written(context, COUNT)
}

fn a_guest_that_resets_its_disk_while_requests_wait_can_use_it_again(
    context: &Context,
) -> Result<(), Failure> {
    let script = format!(
        "setup 0\nchoose\nstart 0 write {COUNT} 0 {SECTORS} 5\nchoose\nreset 0\nsetup 0\n\
         read 0 0 8\nchoose\nwrite 0 100 8 1\nexit off"
    );
    let (mut machine, client) = waiting(context, &script)?;
    machine.report("choose")?;
    go(&mut machine)?;
    check_eq!(machine.report("reset")?.number("status")?, 0);
    machine.report("done")?.expect(1, 0, 0)?;
    // No waiting request is left.
    limit(&client, "d0", &json!({}))?;
    machine.report("choose")?;
    go(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()?;
    check_written(context, 1)
}

fn a_system_reset_while_requests_wait_forgets_them_and_keeps_the_limits(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = waiting(context, &waiting_script("exit off"))?;
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    machine.report("choose")?;
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["bps_wr"], json!(1));
    limit(&client, "d0", &json!({}))?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()?;
    check_written(context, 1)
}

fn quit_while_requests_wait_ends_the_program(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = waiting(context, &waiting_script("exit off"))?;
    client.quit()?;
    machine.ends_well()?;
    check_written(context, 1)
}

fn disks_of_a_group_share_their_limits(context: &Context) -> Result<(), Failure> {
    let disks = [image(context, "a", 1, 64)?, image(context, "b", 1, 64)?];
    let script = "setup 0\nsetup 1\nchoose\nstart 0 write 10 0 1 5\nstart 1 write 10 0 1 5\n\
                  choose\nexit off";
    let plan = Plan::new(context, script)?
        .disk(&disks[0], "id=a,throttling.group=both,iops=1")
        .disk(&disks[1], "id=b");
    let mut machine = plan.start()?;
    let client = machine.client()?;
    machine.report("choose")?;
    limit(&client, "b", &json!({ "iops": 20, "group": "both" }))?;
    let shown = client.execute("query-block")?;
    for disk in 0..2 {
        let medium = &shown[disk]["inserted"];
        check_eq!(
            (&medium["iops"], &medium["group"]),
            (&json!(20), &json!("both"))
        );
    }
    let start = Instant::now();
    go(&mut machine)?;
    written(&client, 0, 10)?;
    written(&client, 1, 10)?;
    let took = start.elapsed();
    check!(took >= Duration::from_millis(850), "it took {took:?}");
    // One disk leaves, and the other is not affected.
    limit(&client, "a", &json!({}))?;
    let shown = client.execute("query-block")?;
    check_eq!(shown[0]["inserted"]["iops"], json!(0));
    check_eq!(shown[1]["inserted"]["iops"], json!(20));
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

/// Fails unless a command is refused with this class and this description.
fn check_refused(
    client: &Client,
    command: &str,
    arguments: Value,
    (class, desc): (&str, &str),
) -> Result<(), Failure> {
    match client.execute_with(command, arguments) {
        Err(Error::Command {
            class: c, desc: d, ..
        }) => {
            check_eq!((c.name(), d.as_str()), (class, desc));
            Ok(())
        }
        other => Err(Failure::new(format!("{command}: {other:?}"))),
    }
}

fn invalid_limits_are_refused_in_qemus_words(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let plan = Plan::new(context, "choose\nexit off")?.disk(&disk, "id=d0");
    let mut machine = plan.start()?;
    let client = machine.client()?;
    let command = "block_set_io_throttle";
    let refused = |id: &str, some: Value, class, desc: &str| {
        check_refused(&client, command, limits(id, &some), (class, desc))
    };
    let generic = "GenericError";
    let one = "Need exactly one of 'device' and 'id'";
    refused("d0", json!({ "device": "d0" }), generic, one)?;
    refused(
        "d1",
        json!({ "bps": -1 }),
        "DeviceNotFound",
        "Device 'd1' not found",
    )?;
    let range = "bps/iops/max values must be within [0, 1000000000000000]";
    refused("d0", json!({ "bps": -1 }), generic, range)?;
    refused(
        "d0",
        json!({ "iops": 1_000_000_000_000_001i64 }),
        generic,
        range,
    )?;
    let together =
        "bps/iops/max total values and read/write values cannot be used at the same time";
    refused("d0", json!({ "bps": 1, "bps_rd": 1 }), generic, together)?;
    let without = "bps_max/iops_max require corresponding bps/iops values";
    refused("d0", json!({ "iops_max": 1 }), generic, without)?;
    let lower = "bps_max/iops_max cannot be lower than bps/iops";
    refused("d0", json!({ "iops": 2, "iops_max": 1 }), generic, lower)?;
    let length = "the burst length cannot be 0";
    refused(
        "d0",
        json!({ "iops": 2, "iops_max_length": 0 }),
        generic,
        length,
    )?;
    let rate = "burst length set without burst rate";
    refused(
        "d0",
        json!({ "iops": 2, "iops_max_length": 2 }),
        generic,
        rate,
    )?;
    let size = "iops size requires an iops value to be set";
    refused("d0", json!({ "bps": 2, "iops_size": 512 }), generic, size)?;
    let missing = json!({ "device": "d0", "bps": 0 });
    let desc = "Parameter 'bps_rd' is missing";
    check_refused(&client, command, missing, (generic, desc))?;
    let threshold = json!({ "node-name": "d1", "write-threshold": 1 });
    let unknown = (generic, "Device 'd1' not found");
    check_refused(&client, "block-set-write-threshold", threshold, unknown)?;
    let shown = client.execute("query-block")?;
    check_eq!(shown[0]["inserted"].get("group"), None);
    // QEMU's deprecated name.
    let mut arguments = limits("", &json!({ "device": "d0", "bps": 7 }));
    if let Some(members) = arguments.as_object_mut() {
        members.remove("id");
    }
    client.execute_with(command, arguments)?;
    let shown = client.execute("query-block")?;
    check_eq!(shown[0]["inserted"]["bps"], json!(7));
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn a_write_beyond_the_threshold_is_reported_once_each_time_it_is_set(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 256)?;
    let script = "setup 0\nchoose\nwrite 0 0 8 5\nread 0 100 8\nchoose\n\
                  burst 0 write 10 4 8 5\nchoose\nwrite 0 100 1 5\nchoose\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "id=d0").start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let marks = client.get_block_write_threshold_event()?;
    let set = |client: &Client, offset: u64| {
        client.block_set_write_threshold(&BlockSetWriteThresholdArguments {
            node_name: "d0".to_owned(),
            write_threshold: offset,
        })
    };
    let shown = |client: &Client| -> Result<Value, Failure> {
        let nodes = client.execute("query-named-block-nodes")?;
        let disks = client.execute("query-block")?;
        check_eq!(
            disks[0]["inserted"]["write_threshold"],
            nodes[0]["write_threshold"]
        );
        Ok(nodes[0]["write_threshold"].clone())
    };
    set(&client, 4096)?;
    check_eq!(shown(&client)?, json!(4096));
    go(&mut machine)?;
    // Up to the threshold, and a read beyond it.
    machine.report("done")?.expect(1, 0, 0)?;
    machine.report("done")?.expect(1, 0, 0)?;
    check_eq!(shown(&client)?, json!(4096));
    check_eq!(marks.try_recv()?, None);
    go(&mut machine)?;
    machine.report("done")?.expect(10, 0, 0)?;
    check_eq!(shown(&client)?, json!(0));
    let heard = |amount: u64, threshold: u64| -> Result<(), Failure> {
        let told = marks.try_recv()?.map(|occurrence| occurrence.data);
        let expected = BlockWriteThreshold {
            node_name: "d0".to_owned(),
            amount_exceeded: amount,
            write_threshold: threshold,
        };
        check_eq!(told, Some(expected));
        check_eq!(marks.try_recv()?, None);
        Ok(())
    };
    heard(4 * 512, 4096)?;
    set(&client, 512)?;
    set(&client, 0)?;
    check_eq!(shown(&client)?, json!(0));
    set(&client, 1)?;
    machine.report("choose")?;
    go(&mut machine)?;
    machine.report("done")?.expect(1, 0, 0)?;
    check_eq!(shown(&client)?, json!(0));
    heard(101 * 512 - 1, 1)?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}
