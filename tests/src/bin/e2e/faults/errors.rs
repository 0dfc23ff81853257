//! Failing requests, as the guest's kernel, programs and file systems see them.

use std::fs;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::{add, hits, remove, remove_after};
use crate::client::Client;
use crate::linux::{self, add_disk, first_word, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    errors_of_rules_are_in_the_status_of_dd_and_in_the_kernel_s_log,
    ext4_is_read_only_after_a_failed_journal_write,
];

const MIB: usize = 1 << 20;

fn errors_of_rules_are_in_the_status_of_dd_and_in_the_kernel_s_log(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    let before = pattern(30, MIB);
    fs::write(&image, &before)?;
    let data = pattern(31, 8192);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0,werror=report");
    let (mut guest, client) = linux::boot(context, &mut command)?;

    // One bad sector within the range that is read.
    const READ: &str = "dd if=/dev/vda of=/tmp/read bs=4k skip=16 count=4 iflag=direct";
    let bad = add(
        &client,
        json!({ "device": "disk0", "operations": ["read"], "sector": 138, "action": "error", "errno": "EIO" }),
    )?;
    fails_with(
        &mut guest,
        READ,
        "I/O error, dev vda, sector 136 op 0x0:(READ)",
    )?;
    check!(hits(&client, &bad)? > 0, "the rule has not fired");
    // Reads beside it succeed.
    guest.run("dd if=/dev/vda of=/dev/null bs=4k skip=18 count=2 iflag=direct")?;
    remove(&client, &bad)?;
    guest.run(READ)?;
    fs::write(context.path("expected"), &before[16 * 4096..20 * 4096])?;
    let seen = guest.run("sha256sum /tmp/read")?;
    check_eq!(first_word(&seen), linux::sha256(&context.path("expected"))?);

    failed_but_done(context, &mut guest, &client, &data)?;
    broken_after_a_read(&mut guest, &client)?;
    check_eq!(client.run_state()?, "running");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

/// Fails unless a command ends in an I/O error with this kernel message in the guest.
fn fails_with(guest: &mut GuestShell, command: &str, message: &str) -> Result<(), Failure> {
    let failed = guest.attempt(command)?;
    check!(
        failed.status != 0 && failed.output.contains("Input/output error"),
        "it ended with {}: {}",
        failed.status,
        failed.output
    );
    let log = guest.disk_errors()?;
    check!(log.contains(message), "no '{message}' in '{log}'");
    Ok(())
}

/// A write that fails after it is done: the guest sees an error, and the disk has the data.
fn failed_but_done(
    context: &Context,
    guest: &mut GuestShell,
    client: &Client,
    data: &[u8],
) -> Result<(), Failure> {
    let late = add(
        client,
        json!({ "device": "disk0", "operations": ["write"], "count": 1,
                "action": "error", "errno": "EIO", "after": true }),
    )?;
    let write = "dd if=/test/data of=/dev/vda bs=8k seek=8 count=1 oflag=direct conv=notrunc";
    fails_with(
        guest,
        write,
        "I/O error, dev vda, sector 128 op 0x1:(WRITE)",
    )?;
    remove_after(client, &late, 1)?;
    guest
        .run("dd if=/dev/vda bs=8k skip=8 count=1 iflag=direct 2> /dev/null | cmp - /test/data")?;
    linux::check_bytes(&context.path("disk"), 8 << 13, data)
}

/// A disk that breaks when one of its sectors is read: later requests fail.
fn broken_after_a_read(guest: &mut GuestShell, client: &Client) -> Result<(), Failure> {
    const WRITE: &str = "dd if=/test/data of=/dev/vda bs=4k count=1 oflag=direct conv=notrunc";
    const TRIGGER: &str = "dd if=/dev/vda of=/dev/null bs=4k skip=100 count=1 iflag=direct";
    let breaks = add(
        client,
        json!({ "device": "disk0", "operations": ["read"], "sector": 800, "state": "1",
                "action": "set-state", "new-state": "broken" }),
    )?;
    let fails = add(
        client,
        json!({ "device": "disk0", "operations": ["write"], "state": "broken", "action": "error", "errno": "EIO" }),
    )?;
    guest.run(WRITE)?;
    guest.run(TRIGGER)?;
    for _ in 0..2 {
        let failed = guest.attempt(WRITE)?;
        check!(failed.status != 0, "a broken disk was written");
    }
    // Reads still succeed, and have no further effect.
    guest.run(TRIGGER)?;
    check_eq!(hits(client, &breaks)?, 1);
    check!(
        hits(client, &fails)? >= 2,
        "writes did not fail by the rule"
    );
    let disks = client.execute("query-block-faults")?;
    check_eq!(disks[0]["state"], "broken");
    let repaired = json!({ "device": "disk0", "state": "1" });
    client.execute_with("block-fault-set-state", repaired)?;
    guest.run(WRITE)?;
    Ok(())
}

/// The journal is on a disk of its own, so that only journal writes fail.
fn ext4_is_read_only_after_a_failed_journal_write(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command_with(context, &guest_shell::script().with(Tools::E2fsprogs))?;
    for (id, mebibytes) in [("data", 16), ("journal", 8)] {
        let image = context.path(id);
        linux::image(&image, mebibytes, b"")?;
        add_disk(
            &mut command,
            &image,
            &format!("format=raw,id={id},werror=report"),
        );
    }
    let (mut guest, client) = linux::boot(context, &mut command)?;
    guest.run("mkfs.ext4 -q -b 4096 -O journal_dev /dev/vdb")?;
    guest.run("mkfs.ext4 -q -b 4096 -J device=/dev/vdb /dev/vda")?;
    guest.run("mount -t ext4 -o errors=remount-ro /dev/vda /mnt")?;
    guest.run("echo before > /mnt/before && sync")?;
    let failing = add(
        &client,
        json!({ "device": "journal", "operations": ["write"], "action": "error", "errno": "EIO" }),
    )?;
    let failed = guest.attempt("echo lost | dd of=/mnt/lost conv=fsync")?;
    check!(
        failed.status != 0,
        "fsync has succeeded without a journal: {}",
        failed.output
    );
    check!(hits(&client, &failing)? > 0, "the rule has not fired");
    // The first change that needs the journal finds it aborted.
    let refused = guest.attempt("touch /mnt/later")?;
    check!(
        refused.status != 0 && refused.output.contains("Read-only file system"),
        "touch ended with {}: {}",
        refused.status,
        refused.output
    );
    // Kernels since 6.12, and those with backports, do not show it in /proc/mounts.
    let log = guest.run("dmesg")?;
    for message in [
        "I/O error, dev vdb",
        "Aborting journal on device vdb",
        "Remounting filesystem read-only",
    ] {
        check!(log.contains(message), "no '{message}' in: {log}");
    }
    check!(
        !log.contains("I/O error, dev vda"),
        "the data disk failed too"
    );
    check_eq!(guest.run("cat /mnt/before")?, "before");

    // Without the fault the file system recovers.
    remove(&client, &failing)?;
    guest.run("umount /mnt")?;
    let repaired = guest.attempt("e2fsck -fy /dev/vda")?;
    check!(
        repaired.status <= 1,
        "e2fsck ended with {}: {}",
        repaired.status,
        repaired.output
    );
    guest.run("mount -t ext4 /dev/vda /mnt && touch /mnt/later && sync")?;
    check_eq!(guest.run("cat /mnt/before")?, "before");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
