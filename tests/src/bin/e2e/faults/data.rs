//! Requests that succeed with wrong data: the guest is not told, and finds it by checking.

use std::collections::BTreeSet;
use std::fs;

use faultvisor_tests::guest::Tools;
use faultvisor_tests::guest_shell::{self, GuestShell};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use super::{add, remove_after};
use crate::client::Client;
use crate::linux::{self, add_disk, first_word, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    fio_finds_a_lost_write_and_both_places_of_a_misdirected_one,
    a_guest_detects_corrupted_torn_and_undiscarded_data,
];

const MIB: usize = 1 << 20;
const BLOCK: u64 = 4096;

/// Blocks in order, so that a write is identified by its number.
const FIO: &str = "fio --filename=/dev/vda --name=job --direct=1 --ioengine=libaio --thread --iodepth=1 --bs=4k \
                   --size=256k --randseed=1 --verify=crc32c --verify_fatal=0 --continue_on_error=verify";

fn fio_finds_a_lost_write_and_both_places_of_a_misdirected_one(
    context: &Context,
) -> Result<(), Failure> {
    super::need(context, Tools::Fio)?;
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let script = guest_shell::script().with(Tools::Fio);
    // Memory for fio and its libraries.
    let mut command = linux::command_of_size(context, &script, "448M", 1)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let write = format!("{FIO} --rw=write --do_verify=0 > /tmp/fio 2>&1");
    guest.run(&write)?;
    check_eq!(wrong_blocks(&mut guest)?, blocks([]));

    // The disk is new each time, without the data from before.
    let empty = "dd if=/dev/zero of=/dev/vda bs=256k count=1 oflag=direct conv=notrunc";
    guest.run(empty)?;
    let lost = add(
        &client,
        json!({ "device": "disk0", "operations": ["write"], "skip": 20, "count": 1, "action": "drop" }),
    )?;
    guest.run(&write)?;
    remove_after(&client, &lost, 1)?;
    check_eq!(wrong_blocks(&mut guest)?, blocks([20]));

    guest.run(empty)?;
    let misdirected = add(
        &client,
        json!({ "device": "disk0", "operations": ["write"], "skip": 40, "count": 1,
                "action": "misdirect", "to-sector": 7 * BLOCK / 512 }),
    )?;
    guest.run(&write)?;
    remove_after(&client, &misdirected, 1)?;
    check_eq!(wrong_blocks(&mut guest)?, blocks([7, 40]));
    // The guest's kernel has not noticed any of this.
    check_eq!(guest.disk_errors()?, "");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn blocks<const N: usize>(numbers: [u64; N]) -> BTreeSet<u64> {
    BTreeSet::from(numbers)
}

/// The numbers of the blocks that fio finds corrupted.
fn wrong_blocks(guest: &mut GuestShell) -> Result<BTreeSet<u64>, Failure> {
    let verified = guest.attempt(&format!(
        "{FIO} --rw=read > /tmp/fio 2>&1; status=$?; grep '^verify: bad' /tmp/fio; [ $status -eq 0 ]"
    ))?;
    let offset = |line: &str| -> Option<u64> {
        let (_, behind) = line.split_once("at file /dev/vda offset ")?;
        behind.split(',').next()?.parse().ok()
    };
    let found: BTreeSet<u64> = verified
        .output
        .lines()
        .filter_map(offset)
        .map(|offset| offset / BLOCK)
        .collect();
    // fio continues after an error, and reports success.
    check!(
        verified.status == 0 || !found.is_empty(),
        "fio ended with {} and said: {}",
        verified.status,
        verified.output
    );
    Ok(found)
}

fn a_guest_detects_corrupted_torn_and_undiscarded_data(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    let before = pattern(34, MIB);
    fs::write(&image, &before)?;
    let data = pattern(35, 4096);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    let whole = linux::sha256(&image)?;
    check_eq!(hash(&mut guest)?, whole);

    // The disk is unchanged; one read of it is not.
    let corrupt = add(
        &client,
        json!({ "device": "disk0", "operations": ["read"], "sector": 1000, "count": 1, "seed": 1,
                "action": "corrupt", "flip-bits": 1 }),
    )?;
    let corrupted = hash(&mut guest)?;
    check!(
        corrupted != whole,
        "a hash does not find a bit that is the other way round"
    );
    check_eq!(hash(&mut guest)?, whole);
    remove_after(&client, &corrupt, 1)?;
    check_eq!(linux::sha256(&image)?, whole);

    torn(context, &mut guest, &client, &before, &data)?;
    not_discarded(&mut guest, &client)?;
    check_eq!(guest.disk_errors()?, "");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

/// The hash of the disk, read with direct I/O.
fn hash(guest: &mut GuestShell) -> Result<String, Failure> {
    let hash = guest.run("dd if=/dev/vda bs=64k iflag=direct 2> /dev/null | sha256sum")?;
    Ok(first_word(&hash))
}

/// Three sectors of a 4 KiB write reach the disk; the rest of the block keeps its old data.
fn torn(
    context: &Context,
    guest: &mut GuestShell,
    client: &Client,
    before: &[u8],
    data: &[u8],
) -> Result<(), Failure> {
    const KEPT: usize = 3 * 512;
    const AT: usize = 5 * 4096;
    let torn = add(
        client,
        json!({ "device": "disk0", "operations": ["write"], "min-bytes": 4096, "count": 1,
                "action": "torn", "keep": "first", "keep-sectors": 3 }),
    )?;
    guest.run("dd if=/test/data of=/dev/vda bs=4k seek=5 oflag=direct conv=notrunc")?;
    remove_after(client, &torn, 1)?;
    let mut block = data[..KEPT].to_vec();
    block.extend_from_slice(&before[AT + KEPT..AT + data.len()]);
    let seen =
        guest.run("dd if=/dev/vda bs=4k skip=5 count=1 iflag=direct 2> /dev/null | xxd -p")?;
    let digits: String = seen.split_whitespace().collect();
    check_eq!(digits.len(), 2 * block.len());
    for (place, byte) in block.iter().enumerate() {
        let found = u8::from_str_radix(&digits[2 * place..2 * place + 2], 16)?;
        check!(
            found == *byte,
            "byte {place} of the torn block is {found}, not {byte}"
        );
    }
    linux::check_bytes(&context.path("disk"), AT as u64, &block)
}

/// A dropped discard leaves the data; the next one does not.
fn not_discarded(guest: &mut GuestShell, client: &Client) -> Result<(), Failure> {
    const DISCARD: &str = "blkdiscard -o 524288 -l 65536 /dev/vda";
    const LEFT: &str = "dd if=/dev/vda bs=64k skip=8 count=1 iflag=direct 2> /dev/null | sha256sum";
    let before = guest.run(LEFT)?;
    let dropped = add(
        client,
        json!({ "device": "disk0", "operations": ["discard"], "count": 1, "action": "drop" }),
    )?;
    guest.run(DISCARD)?;
    remove_after(client, &dropped, 1)?;
    check_eq!(guest.run(LEFT)?, before);
    guest.run(DISCARD)?;
    let zeroes = guest.run("head -c 65536 /dev/zero | sha256sum")?;
    check_eq!(guest.run(LEFT)?, zeroes);
    Ok(())
}
