//! Working disks: every byte is in its place, on both sides.

use std::fs;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use crate::linux::{self, add_disk, first_word, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    two_disks_read_at_once_have_the_bytes_of_their_images,
    what_a_guest_writes_is_in_the_image_byte_for_byte,
    a_read_only_disk_refuses_writes,
    a_file_system_made_in_one_boot_is_whole_in_the_next,
    a_guest_that_is_stopped_and_continued_while_it_writes_loses_nothing,
];

const MIB: usize = 1 << 20;
/// Number of stops while the guest writes.
const STOPS: usize = 40;

fn two_disks_read_at_once_have_the_bytes_of_their_images(context: &Context) -> Result<(), Failure> {
    let images = [context.path("one"), context.path("two")];
    // The second ends within a page.
    let contents = [pattern(1, 2 * MIB), pattern(2, MIB + 3 * 512)];
    let mut command = linux::command(context)?;
    for (image, contents) in images.iter().zip(&contents) {
        fs::write(image, contents)?;
    }
    add_disk(&mut command, &images[0], "format=raw,id=one,serial=S1");
    add_disk(
        &mut command,
        &images[1],
        "format=raw,id=two,serial=a-serial-of-20-bytes",
    );
    let (mut guest, client) = linux::boot(context, &mut command)?;
    guest.run("sha256sum /dev/vda > /tmp/a & sha256sum /dev/vdb > /tmp/b; wait")?;
    for ((image, disk), serial) in images
        .iter()
        .zip(["a", "b"])
        .zip(["S1", "a-serial-of-20-bytes"])
    {
        let seen = guest.run(&format!("cat /tmp/{disk}"))?;
        check_eq!(first_word(&seen), linux::sha256(image)?);
        check_eq!(
            guest.run(&format!("cat /sys/block/vd{disk}/serial"))?,
            serial
        );
        let sectors = guest.run(&format!("cat /sys/block/vd{disk}/size"))?;
        check_eq!(sectors, (fs::metadata(image)?.len() / 512).to_string());
    }
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn what_a_guest_writes_is_in_the_image_byte_for_byte(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    let before = pattern(3, 4 * MIB);
    fs::write(&image, &before)?;
    let data = pattern(4, MIB);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, _client) = linux::boot(context, &mut command)?;
    // Through the page cache in large pieces, with direct I/O in small ones, and a single sector in the middle.
    guest.run("dd if=/test/data of=/dev/vda bs=1M seek=1 conv=notrunc,fsync")?;
    guest.run("dd if=/test/data of=/dev/vda bs=4k seek=600 count=40 oflag=direct conv=notrunc")?;
    guest.run(
        "dd if=/test/data of=/dev/vda bs=512 seek=8000 skip=7 count=1 oflag=direct conv=notrunc",
    )?;
    guest.power_off()?;
    guest.expect_exit(0)?;

    let mut expected = before;
    let mut put = |offset: usize, bytes: &[u8]| {
        expected[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(MIB, &data);
    put(600 * 4096, &data[..40 * 4096]);
    put(8000 * 512, &data[7 * 512..8 * 512]);
    check_eq!(fs::metadata(&image)?.len(), expected.len() as u64);
    linux::check_bytes(&image, 0, &expected)
}

fn a_read_only_disk_refuses_writes(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    let contents = pattern(5, MIB);
    fs::write(&image, &contents)?;
    let mut command = linux::command(context)?;
    add_disk(&mut command, &image, "format=raw,id=disk0,readonly=on");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    check_eq!(guest.run("cat /sys/block/vda/ro")?, "1");
    let seen = guest.run("sha256sum /dev/vda")?;
    check_eq!(first_word(&seen), linux::sha256(&image)?);
    let refused = guest.attempt("dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct")?;
    check!(refused.status != 0, "a write succeeds: {}", refused.output);
    // Not even a guest that removes its own protection can write.
    let insists =
        "blockdev --setrw /dev/vda; dd if=/dev/zero of=/dev/vda bs=4k count=1 oflag=direct";
    let refused = guest.attempt(insists)?;
    check!(refused.status != 0, "a write succeeds: {}", refused.output);
    let disks = client.execute("query-block")?;
    check_eq!(disks[0]["inserted"]["ro"], true);
    client.quit()?;
    guest.expect_exit(0)?;
    check_eq!(fs::metadata(&image)?.len(), contents.len() as u64);
    linux::check_bytes(&image, 0, &contents)
}

fn a_file_system_made_in_one_boot_is_whole_in_the_next(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 32, b"")?;
    let data = pattern(6, MIB + 123);
    let data_file = context.path("data");
    fs::write(&data_file, &data)?;
    let script = guest_shell::script()
        .with(Tools::E2fsprogs)
        .file("data", data);
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");

    let (mut guest, _client) = linux::boot(context, &mut command)?;
    guest.run("mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt")?;
    guest.run("cp /test/data /mnt/data && mkdir /mnt/many")?;
    guest.run("for i in $(seq 50); do echo file $i > /mnt/many/$i; done")?;
    guest.run("sync && umount /mnt")?;
    guest.power_off()?;
    guest.expect_exit(0)?;

    let (mut guest, _client) = linux::boot(context, &mut command)?;
    guest.run("e2fsck -fn /dev/vda")?;
    guest.run("mount /dev/vda /mnt")?;
    let seen = guest.run("sha256sum /mnt/data")?;
    check_eq!(first_word(&seen), linux::sha256(&data_file)?);
    guest.run(
        "for i in $(seq 50); do read -r line < /mnt/many/$i; [ \"$line\" = \"file $i\" ] || break; done",
    )?;
    check_eq!(guest.run("ls /mnt/many | wc -l")?, "50");
    guest.run("umount /mnt")?;
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn a_guest_that_is_stopped_and_continued_while_it_writes_loses_nothing(
    context: &Context,
) -> Result<(), Failure> {
    const WRITERS: u64 = 4;
    const PLACES: u64 = 16;
    let image = context.path("disk");
    linux::image(&image, WRITERS * PLACES / 2, b"")?;
    let data = pattern(7, MIB / 2);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    // Several writers keep requests in flight; each writes its places in a cycle.
    guest.run(&format!(
        "write() {{ n=0; while [ ! -e /tmp/enough ]; do \
         dd if=/test/data of=/dev/vda bs=8k seek=$((($1 * {PLACES} + n % {PLACES}) * 64)) oflag=direct conv=notrunc \
         || touch /tmp/failed; n=$((n + 1)); done; echo $n > /tmp/writes$1; }}; \
         for i in $(seq 0 {}); do write $i & done 2> /dev/null",
        WRITERS - 1
    ))?;
    for _ in 0..STOPS {
        client.stop()?;
        client.expect("STOP")?;
        client.cont()?;
        client.expect("RESUME")?;
    }
    guest.run("touch /tmp/enough; wait; [ ! -e /tmp/failed ]")?;
    let mut writes = Vec::new();
    for writer in 0..WRITERS {
        let count: u64 = guest.run(&format!("cat /tmp/writes{writer}"))?.parse()?;
        writes.push(count);
    }
    guest.power_off()?;
    guest.expect_exit(0)?;
    for (writer, count) in (0..).zip(writes) {
        check!(count > 0, "writer {writer} has written nothing");
        for place in 0..count.min(PLACES) {
            linux::check_bytes(&image, (writer * PLACES + place) << 19, &data)?;
        }
    }
    Ok(())
}
