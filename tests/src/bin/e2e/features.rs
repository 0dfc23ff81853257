//! How a stock kernel's driver uses a disk's features: resizing, write cache, queues, block sizes, and discards.

use std::fs;
use std::os::unix::fs::MetadataExt;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, PATIENCE};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use crate::client::Client;
use crate::linux::{self, add_disk, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_running_guest_sees_its_disks_new_size,
    a_guest_switches_its_disks_write_cache,
    a_guest_has_a_queue_for_each_processor_and_sees_the_disks_blocks,
    discarded_space_returns_to_the_host,
];

const MIB: u64 = 1 << 20;

/// Resizes a disk.
fn resize(client: &Client, bytes: u64) -> Result<(), Failure> {
    let arguments = json!({ "device": "disk0", "size": bytes });
    client.execute_with("block_resize", arguments)?;
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["image"]["virtual-size"], bytes);
    Ok(())
}

fn a_running_guest_sees_its_disks_new_size(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    let contents = pattern(1, 4 << 20);
    fs::write(&image, &contents)?;
    let data = pattern(2, 64 << 10);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let wait_for = |mebibytes: u64| {
        let sectors = mebibytes * 2048;
        format!("until [ $(cat /sys/block/vda/size) = {sectors} ]; do sleep 0.1; done")
    };
    guest.run(&wait_for(4))?;
    resize(&client, 8 * MIB)?;
    guest.run(&wait_for(8))?;
    let told = guest.run("dmesg | grep 'vda. new size'")?;
    check!(told.contains("16384 512-byte logical blocks"), "{told}");
    // The new space reads zeroes, and is writable.
    guest.run("cmp -n 1048576 /dev/zero /dev/vda 0 7340032")?;
    guest.run("dd if=/test/data of=/dev/vda bs=64k seek=127 oflag=direct conv=notrunc")?;
    resize(&client, 6 * MIB)?;
    guest.run(&wait_for(6))?;
    let refused = guest.attempt("dd if=/test/data of=/dev/vda bs=64k seek=96 oflag=direct")?;
    check!(refused.status != 0, "a write past the end succeeds");
    guest.run("dd if=/test/data of=/dev/vda bs=64k seek=95 oflag=direct conv=notrunc")?;
    guest.power_off()?;
    guest.expect_exit(0)?;
    check_eq!(fs::metadata(&image)?.len(), 6 * MIB);
    linux::check_bytes(&image, 0, &contents)?;
    linux::check_bytes(&image, 95 << 16, &data)
}

fn a_guest_switches_its_disks_write_cache(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let mut command = linux::command(context)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    add_disk(
        &mut command,
        &other(context)?,
        "format=raw,id=disk1,cache=writethrough",
    );
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let check = |guest: &mut guest_shell::GuestShell, disk: usize, cache: &str| {
        let letter = ["a", "b"][disk];
        for file in ["cache_type", "queue/write_cache"] {
            let seen = guest.run(&format!("cat /sys/block/vd{letter}/{file}"))?;
            check_eq!(seen, cache);
        }
        let disks = client.execute("query-block")?;
        let shown = &disks[disk]["inserted"]["cache"]["writeback"];
        check_eq!(*shown, cache == "write back");
        Ok::<_, Failure>(())
    };
    check(&mut guest, 0, "write back")?;
    check(&mut guest, 1, "write through")?;
    guest.run("echo 'write through' > /sys/block/vda/cache_type")?;
    guest.run("echo 'write back' > /sys/block/vdb/cache_type")?;
    check(&mut guest, 0, "write through")?;
    check(&mut guest, 1, "write back")?;
    guest.run("dd if=/dev/urandom of=/dev/vda bs=64k count=4 conv=fsync")?;
    guest.run("echo 'write back' > /sys/block/vda/cache_type")?;
    check(&mut guest, 0, "write back")?;
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn other(context: &Context) -> Result<std::path::PathBuf, Failure> {
    let path = context.path("other");
    linux::image(&path, 4, b"")?;
    Ok(path)
}

fn a_guest_has_a_queue_for_each_processor_and_sees_the_disks_blocks(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let mut command = linux::command(context)?;
    command.args(["--smp", "2"]);
    let blocks = "logical_block_size=4096,physical_block_size=16384";
    let keys = format!("format=raw,id=disk0,num-queues=4,queue-size=1024,{blocks}");
    add_disk(&mut command, &image, &keys);
    add_disk(
        &mut command,
        &other(context)?,
        "format=raw,id=disk1,discard=off",
    );
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let mut read = |file: &str| guest.run(&format!("cat /sys/block/{file}"));
    check_eq!(read("vda/queue/logical_block_size")?, "4096");
    check_eq!(read("vda/queue/physical_block_size")?, "16384");
    check_eq!(read("vdb/queue/logical_block_size")?, "512");
    check_eq!(read("vdb/queue/physical_block_size")?, "512");
    let discard: u64 = read("vda/queue/discard_max_bytes")?.parse()?;
    check!(discard > 0, "no discards");
    check_eq!(read("vdb/queue/discard_max_bytes")?, "0");
    let zeroes: u64 = read("vdb/queue/write_zeroes_max_bytes")?.parse()?;
    check!(zeroes > 0, "no writes of zeroes");
    check_eq!(guest.run("ls /sys/block/vda/mq | wc -l")?, "2");
    check_eq!(guest.run("ls /sys/block/vdb/mq | wc -l")?, "1");
    // From each processor.
    for cpu in [0, 1] {
        guest.run(&format!(
            "taskset -c {cpu} dd if=/dev/urandom of=/dev/vda bs=64k seek={cpu} count=1 oflag=direct conv=notrunc"
        ))?;
    }
    check_eq!(guest.disk_errors()?, "");
    let stats = client.execute("query-blockstats")?;
    let written = stats[0]["stats"]["wr_bytes"].as_u64();
    check!(written >= Some(128 << 10), "{written:?} bytes were written");
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn discarded_space_returns_to_the_host(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 32, b"")?;
    let data = pattern(3, 8 << 20);
    let script = guest_shell::script()
        .with(Tools::E2fsprogs)
        .file("data", data);
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let space = || Ok::<_, Failure>(fs::metadata(&image)?.blocks() * 512);
    guest.run("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && cp /test/data /mnt/ && sync")?;
    let full = space()?;
    check!(full >= 8 * MIB, "{full} bytes for a file of 8 MiB");
    guest.run("rm /mnt/data && sync && fstrim /mnt")?;
    let trimmed = space()?;
    check!(
        trimmed + 7 * MIB < full,
        "{full} bytes before, {trimmed} after it"
    );
    guest.run("umount /mnt && e2fsck -fn /dev/vda")?;
    guest.run("blkdiscard /dev/vda")?;
    check_eq!(space()?, 0);
    check_eq!(guest.disk_errors()?, "");
    let stats = client.execute("query-blockstats")?;
    let discarded = stats[0]["stats"]["unmap_bytes"].as_u64();
    check!(discarded >= Some(32 * MIB), "{discarded:?} bytes");
    check_eq!(stats[0]["stats"]["failed_unmap_operations"], 0);
    check_eq!(stats[0]["stats"]["invalid_unmap_operations"], 0);
    guest.power_off()?;
    guest.machine().expect_exit(0, PATIENCE)?;
    Ok(())
}
