//! A disk's statistics are exact.

use std::fs::File;
use std::path::PathBuf;

use faultvisor_tests::bare::{BareMachine, Plan};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{BlockErrorAction, IoOperationType};
use serde_json::{Value, json};

use super::{image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    every_request_is_counted_once_by_its_result,
    a_flush_that_fails_is_counted_as_one_and_is_an_error_of_writing,
    the_statistics_of_a_storm_add_up_while_clients_query_them,
    each_disk_has_a_node_for_its_image,
];

/// The statistics of the first disk.
pub(super) fn statistics(client: &Client) -> Result<Value, Failure> {
    let answer = client.execute("query-blockstats")?;
    Ok(answer[0]["stats"].clone())
}

/// Fails unless these counters have these values, and all others except times are zero.
pub(super) fn check_numbers(stats: &Value, expected: &[(&str, u64)]) -> Result<(), Failure> {
    let members = stats.as_object().into_iter().flatten();
    for (name, value) in members.filter(|(name, value)| value.is_u64() && !name.ends_with("_ns")) {
        let found = expected.iter().find(|(expected, _)| expected == name);
        let number = found.map_or(0, |(_, number)| *number);
        check!(*value == number, "{name} is {value}, not {number}: {stats}");
    }
    check!(
        expected.iter().all(|(name, _)| stats[*name].is_u64()),
        "a member is missing: {stats}"
    );
    Ok(())
}

/// Lets the guest go on.
pub(super) fn go(machine: &mut BareMachine) -> Result<(), Failure> {
    Ok(machine.machine.console().type_text("c")?)
}

fn every_request_is_counted_once_by_its_result(context: &Context) -> Result<(), Failure> {
    for aio in ["io_uring", "threads"] {
        let disk = image(context, aio, 1, 256)?;
        // Valid requests, then invalid ones; then one that the host refuses; then one that it refuses and that is
        // retried.
        let script = "setup 0\nchoose\n\
                      burst 0 read 7 0 8\nburst 0 write 5 64 4 9\nburst 0 flush 3\nid 0\n\
                      read 0 256 1\nread 0 0x7fffffffffffff 1\nwrite 0 255 2 1\nchoose\n\
                      write 0 120 8 1\nread 0 200 8\nchoose\nwrite 0 100 8 7\nchoose\nexit off";
        let options = format!("id=d0,aio={aio},werror=report");
        let mut machine = Plan::new(context, script)?.disk(&disk, &options).start()?;
        machine.report("choose")?;
        let client = machine.client()?;
        let stats = statistics(&client)?;
        check_numbers(&stats, &[])?;
        check_eq!(stats.get("idle_time_ns"), None);
        check_eq!(stats["timed_stats"], json!([]));
        check_eq!(stats["account_failed"], json!(true));
        check_eq!(stats["account_invalid"], json!(true));

        go(&mut machine)?;
        machine.report("choose")?;
        let mut expected = vec![
            ("rd_operations", 7),
            ("rd_bytes", 7 * 8 * 512),
            ("wr_operations", 5),
            ("wr_bytes", 5 * 4 * 512),
            ("wr_highest_offset", (64 + 5 * 4) * 512),
            ("flush_operations", 3),
            ("invalid_rd_operations", 2),
            ("invalid_wr_operations", 1),
        ];
        let stats = statistics(&client)?;
        check_numbers(&stats, &expected)?;
        for name in ["rd", "wr", "flush"] {
            let time = &stats[format!("{name}_total_time_ns")];
            check!(time.as_u64() > Some(0), "{name} took {time} ns");
        }
        check!(stats["idle_time_ns"].is_u64(), "no idle time: {stats}");

        // Writes fail beyond sector 110, and reads beyond sector 150.
        limit_file_size(&machine.machine, Some(110 * 512))?;
        File::options()
            .write(true)
            .open(&disk)?
            .set_len(150 * 512)?;
        go(&mut machine)?;
        machine.report("choose")?;
        expected.extend([("failed_wr_operations", 1), ("failed_rd_operations", 1)]);
        check_numbers(&statistics(&client)?, &expected)?;

        // A successful one, at a higher offset than any before.
        go(&mut machine)?;
        machine.report("choose")?;
        expected[2].1 += 1;
        expected[3].1 += 8 * 512;
        expected[4].1 = 108 * 512;
        check_numbers(&statistics(&client)?, &expected)?;
        go(&mut machine)?;
        machine.ends_well()?;
    }
    Ok(())
}

fn a_flush_that_fails_is_counted_as_one_and_is_an_error_of_writing(
    context: &Context,
) -> Result<(), Failure> {
    // An empty file on a file system that cannot sync.
    let disk = PathBuf::from(format!("/proc/{}/oom_score_adj", std::process::id()));
    for aio in ["io_uring", "threads"] {
        let script = "setup 0\nchoose\nburst 0 flush 3\nchoose\nflush 0\nexit off";
        let options = format!("id=d0,aio={aio},werror=report,file.locking=off");
        let mut machine = Plan::new(context, script)?.disk(&disk, &options).start()?;
        machine.report("choose")?;
        let client = machine.client()?;
        let errors = client.get_block_io_error_event()?;
        go(&mut machine)?;
        machine.report("done")?.expect(0, 3, 0)?;
        machine.report("choose")?;
        let stats = statistics(&client)?;
        check_numbers(&stats, &[("failed_flush_operations", 3)])?;
        check!(
            stats["flush_total_time_ns"].as_u64() > Some(0),
            "no time: {stats}"
        );
        for _ in 0..3 {
            let error = errors.try_recv()?;
            let error = error.ok_or_else(|| Failure::new("not three errors"))?.data;
            check_eq!(error.operation, IoOperationType::Write);
            check_eq!(error.action, BlockErrorAction::Report);
            check_eq!(error.reason, "Invalid argument");
        }
        check_eq!(errors.try_recv()?, None);
        client.quit()?;
        machine.ends_well()?;
    }
    Ok(())
}

fn the_statistics_of_a_storm_add_up_while_clients_query_them(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 4000 * 4)?;
    let script = "setup 0\nchoose\nstorm 0 0 4 4000 128 77\nchoose\nexit off";
    let mut machine = Plan::new(context, script)?.disk(&disk, "").start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    go(&mut machine)?;
    let count = |stats: &Value| {
        ["rd", "wr", "flush"]
            .iter()
            .filter_map(|kind| stats[format!("{kind}_operations")].as_u64())
            .sum::<u64>()
    };
    let mut before = 0;
    for _ in 0..20 {
        let now = count(&statistics(&client)?);
        check!(before <= now && now <= 4000, "{now} after {before}");
        before = now;
    }
    machine.report("stormed")?.expect(4000, 0, 0)?;
    machine.report("choose")?;
    let stats = statistics(&client)?;
    check_eq!(count(&stats), 4000);
    for kind in ["rd", "wr"] {
        let operations = stats[format!("{kind}_operations")]
            .as_u64()
            .unwrap_or_default();
        check_eq!(stats[format!("{kind}_bytes")], json!(operations * 4 * 512));
    }
    go(&mut machine)?;
    machine.ends_well()
}

fn each_disk_has_a_node_for_its_image(context: &Context) -> Result<(), Failure> {
    let disks = [image(context, "a", 1, 8)?, image(context, "b", 1, 16)?];
    let plan = Plan::new(context, "setup 0\nread 0 0 8\nchoose\nexit off")?;
    let plan = plan
        .disk(&disks[0], "id=a")
        .disk(&disks[1], "id=b,readonly=on");
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    let shown = client.execute("query-block")?;
    for arguments in [json!({}), json!({ "flat": true })] {
        let nodes = client.execute_with("query-named-block-nodes", arguments)?;
        let inserted = [&shown[0]["inserted"], &shown[1]["inserted"]];
        check_eq!(nodes, json!(inserted));
    }
    let of_disks = client.execute("query-blockstats")?;
    let arguments = json!({ "query-nodes": true });
    let of_nodes = client.execute_with("query-blockstats", arguments)?;
    for (index, id) in ["a", "b"].into_iter().enumerate() {
        let (disk, node) = (&of_disks[index], &of_nodes[index]);
        check_eq!(disk["device"], json!(id));
        check_eq!(
            disk["qdev"],
            json!(format!("/machine/peripheral/{id}/virtio-backend"))
        );
        check_eq!(disk["node-name"], json!(id));
        check_eq!(node["node-name"], json!(id));
        check!(node.get("device").is_none(), "a node with a device: {node}");
        check_eq!(node["stats"]["rd_bytes"], disk["stats"]["rd_bytes"]);
    }
    check_eq!(of_disks[0]["stats"]["rd_bytes"], json!(8 * 512));
    check_eq!(of_disks[1]["stats"]["rd_bytes"], json!(0));
    go(&mut machine)?;
    machine.ends_well()
}
