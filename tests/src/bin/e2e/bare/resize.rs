//! `block_resize`: its effects on the guest, the image and clients.

use std::fs::{self, File};

use faultvisor_tests::bare::{Plan, content, pattern};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::statistics::{go, statistics};
use super::{image, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_is_notified_that_its_disk_has_grown_and_uses_it,
    a_guest_is_notified_that_its_disk_has_shrunk_and_cannot_exceed_it,
    a_disk_under_load_changes_its_size_between_requests,
    a_disk_is_resized_while_the_machine_is_stopped,
    an_invalid_size_is_refused_without_effect,
];

/// Resizes the disk to that many sectors.
pub(super) fn resize(client: &Client, device: &str, sectors: u64) -> Result<(), Failure> {
    let arguments = json!({ "device": device, "size": sectors * 512 });
    let answer = client.execute_with("block_resize", arguments)?;
    check_eq!(answer, json!({}));
    Ok(())
}

/// Fails unless image and monitor agree on the first disk's sectors.
pub(super) fn check_size(context: &Context, client: &Client, sectors: u64) -> Result<(), Failure> {
    let size = json!(sectors * 512);
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["image"]["virtual-size"], size);
    let nodes = client.execute("query-named-block-nodes")?;
    check_eq!(nodes[0]["image"]["virtual-size"], size);
    check_eq!(json!(fs::metadata(context.path("disk"))?.len()), size);
    Ok(())
}

fn a_guest_is_notified_that_its_disk_has_grown_and_uses_it(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    for aio in ["io_uring", "threads"] {
        fs::write(&disk, content(1, 0, 64))?;
        let script = "setup 0\nread 0 64 1\nregister 0 0xfc\nregister 0 0x60 0\nchoose\nchanged 0\n\
                      read 0 60 36\nwrite 0 96 32 9\nread 0 96 32\nread 0 128 1\nexit off";
        let plan = Plan::new(context, script)?.disk(&disk, &format!("id=d0,aio={aio}"));
        let mut machine = plan.start()?;
        check_eq!(machine.report("setup")?.number("sectors")?, 64);
        machine.report("done")?.expect(0, 1, 0)?;
        let generation = machine.report("register")?.number("value")?;
        let interrupt = machine.report("register")?.number("value")?;
        check_eq!(interrupt & 2, 0);
        machine.report("choose")?;
        let client = machine.client()?;
        check_size(context, &client, 64)?;
        resize(&client, "d0", 128)?;
        check_size(context, &client, 128)?;
        go(&mut machine)?;
        let changed = machine.report("changed")?;
        check_eq!(changed.number("sectors")?, 128);
        check_eq!(changed.number("left")?, 0);
        check!(
            changed.number("generation")? != generation,
            "the generation is the old one: {}",
            changed.line
        );
        let mut expected = content(1, 60, 4);
        expected.resize(36 * 512, 0);
        let read = machine.report("done")?;
        read.expect(1, 0, 0)?;
        check_eq!(read.number("sum")?, pattern::sum(&expected));
        machine.report("done")?.expect(1, 0, 0)?;
        let read = machine.report("done")?;
        check_eq!(read.number("sum")?, pattern::sum(&content(9, 96, 32)));
        machine.report("done")?.expect(0, 1, 0)?;
        machine.ends_well()?;
        let mut expected = content(1, 0, 64);
        expected.resize(96 * 512, 0);
        expected.extend(content(9, 96, 32));
        check!(fs::read(&disk)? == expected, "the image has other bytes");
    }
    Ok(())
}

fn a_guest_is_notified_that_its_disk_has_shrunk_and_cannot_exceed_it(
    context: &Context,
) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let script = "setup 0\nchoose\nchanged 0\nread 0 24 8\nread 0 31 2\nwrite 0 32 1 5\n\
                  choose\nchanged 0\nread 0 24 16\nchoose\nexit off";
    let plan = Plan::new(context, script)?.disk(&disk, "id=d0");
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    resize(&client, "d0", 32)?;
    check_size(context, &client, 32)?;
    go(&mut machine)?;
    let first = machine.report("changed")?;
    check_eq!(first.number("sectors")?, 32);
    let read = machine.report("done")?;
    read.expect(1, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(1, 24, 8)));
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("done")?.expect(0, 1, 0)?;
    machine.report("choose")?;
    let stats = statistics(&client)?;
    check_eq!(stats["invalid_rd_operations"], 1);
    check_eq!(stats["invalid_wr_operations"], 1);
    // The truncated data is gone.
    resize(&client, "d0", 64)?;
    go(&mut machine)?;
    let second = machine.report("changed")?;
    check!(
        second.number("generation")? != first.number("generation")?,
        "the generation is the old one: {}",
        second.line
    );
    let read = machine.report("done")?;
    let mut expected = content(1, 24, 8);
    expected.resize(16 * 512, 0);
    check_eq!(read.number("sum")?, pattern::sum(&expected));
    machine.report("choose")?;
    // A size of zero is valid.
    resize(&client, "d0", 0)?;
    check_size(context, &client, 0)?;
    go(&mut machine)?;
    machine.ends_well()
}

fn a_disk_under_load_changes_its_size_between_requests(context: &Context) -> Result<(), Failure> {
    const SECTORS: u64 = 4000 * 4;
    let disk = image(context, "disk", 1, 4000 * 4)?;
    let script = "setup 0\nchoose\nstorm 0 0 4 4000 128 77\nchoose\nexit off";
    let plan = Plan::new(context, script)?.disk(&disk, "id=d0");
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    go(&mut machine)?;
    machine.report("storming")?;
    for more in 1..=20 {
        resize(&client, "d0", SECTORS + 8 * more)?;
    }
    machine.report("stormed")?.expect(4000, 0, 0)?;
    check_size(context, &client, SECTORS + 160)?;
    machine.report("choose")?;
    go(&mut machine)?;
    machine.ends_well()
}

fn a_disk_is_resized_while_the_machine_is_stopped(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let script = "setup 0\nchoose\nchanged 0\nread 0 64 8\nexit off";
    let plan = Plan::new(context, script)?.disk(&disk, "id=d0");
    // Even before the machine has run, without a driver to notify.
    let mut machine = plan.options(&["-S"]).start()?;
    let client = machine.client()?;
    resize(&client, "d0", 96)?;
    check_size(context, &client, 96)?;
    client.cont()?;
    check_eq!(machine.report("setup")?.number("sectors")?, 96);
    machine.report("choose")?;
    client.stop()?;
    resize(&client, "d0", 72)?;
    check_size(context, &client, 72)?;
    client.cont()?;
    go(&mut machine)?;
    check_eq!(machine.report("changed")?.number("sectors")?, 72);
    machine.report("done")?.expect(1, 0, 0)?;
    machine.ends_well()
}

fn an_invalid_size_is_refused_without_effect(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 64)?;
    let other = image(context, "other", 2, 64)?;
    let script = "setup 0\nregister 0 0xfc\nchoose\nregister 0 0xfc\nregister 0 0x60 0\n\
                  register 0 0x100\nread 0 64 1\nread 0 0 64\nexit off";
    let plan = Plan::new(context, script)?.disk(&disk, "id=d0");
    let plan = plan.disk(&other, "id=d1,readonly=on");
    let mut machine = plan.start()?;
    let generation = machine.report("register")?.number("value")?;
    machine.report("choose")?;
    let client = machine.client()?;
    limit_file_size(&machine.machine, Some(1 << 20))?;
    let path = disk.display();
    let too_large = format!("Could not resize '{path}': File too large");
    for (arguments, why) in [
        (
            json!({ "device": "d0", "size": -512 }),
            "Parameter 'size' expects a >0 size",
        ),
        (
            json!({ "device": "d0", "size": 1000 }),
            "Parameter 'size' expects a multiple of 512",
        ),
        (
            json!({ "device": "d2", "size": 65536 }),
            "Cannot find device='d2' nor node-name=''",
        ),
        (
            json!({ "node-name": "d2", "size": 65536 }),
            "Cannot find device='' nor node-name='d2'",
        ),
        (
            json!({ "device": "d1", "size": 65536 }),
            "Image is read-only",
        ),
        (json!({ "device": "d0", "size": 2 << 20 }), &*too_large),
        (
            json!({ "device": "d0", "size": i64::MAX / 512 * 512 }),
            &*too_large,
        ),
    ] {
        let refused = client.execute_with("block_resize", arguments.clone());
        let Err(refused) = refused else {
            return Err(Failure::new(format!("{arguments} was done")));
        };
        let refused = refused.to_string();
        check!(
            refused.starts_with("GenericError") && refused.contains(why),
            "{arguments}: '{refused}', not '{why}'"
        );
    }
    check_size(context, &client, 64)?;
    check_eq!(File::open(&other)?.metadata()?.len(), 64 * 512);
    go(&mut machine)?;
    check_eq!(machine.report("register")?.number("value")?, generation);
    check_eq!(machine.report("register")?.number("value")? & 2, 0);
    check_eq!(machine.report("register")?.number("value")?, 64);
    machine.report("done")?.expect(0, 1, 0)?;
    let read = machine.report("done")?;
    check_eq!(read.number("sum")?, pattern::sum(&content(1, 0, 64)));
    machine.ends_well()
}
