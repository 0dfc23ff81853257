//! Writes that the host refuses, under each policy.

use faultvisor_tests::guest_shell::{self, PATIENCE};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::wire::WireClient;
use faultvisor_tests::{check, check_eq, tests};
use serde_json::Value;

use crate::client::{Client, IO_ERRORS, io_error};
use crate::linux::{self, add_disk, pattern};
use crate::space::{LoopDevice, SmallFileSystem, limit_file_size};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_full_file_system_stops_the_machine_until_there_is_space,
    many_failed_writes_are_all_performed_once_there_is_space,
    a_disk_that_stops_on_every_error_stops_at_a_file_size_limit,
    a_reset_drops_held_requests,
    write_errors_that_are_reported_reach_the_guest_and_leave_it_running,
    write_errors_that_are_ignored_reach_only_clients,
    a_flush_that_fails_counts_as_a_write,
];

const MIB: usize = 1 << 20;
/// Bytes per write of [`WRITE`].
const PIECE: usize = 256 << 10;

/// One request at a time, so that the failing one is known: MiB by MiB from the start of the disk.
const WRITE: &str = "dd if=/test/data of=/dev/vda bs=256k oflag=direct conv=notrunc";

fn a_full_file_system_stops_the_machine_until_there_is_space(
    context: &Context,
) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 2)?;
    let image = small.path("disk");
    linux::image(&image, 64, b"")?;
    let data = pattern(10, 4 * MIB);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    // The default policy.
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, _other) = linux::boot(context, &mut command)?;
    let mut default = WireClient::connect(&linux::monitor(context), PATIENCE)?;
    default.negotiate(PATIENCE)?;
    let tagged = Client::hearing(&linux::monitor(context), &IO_ERRORS)?;
    let errors = tagged.get_block_io_error_event()?;
    check_eq!(tagged.io_status("disk0")?, Some("ok"));

    guest.begin(WRITE)?;
    let no_space = "disk0 write stop nospace: No space left on device";
    tagged.expect_io_error(no_space)?;
    // A client that has seen the event finds the state changed.
    check_eq!(tagged.io_status("disk0")?, Some("nospace"));
    tagged.expect("STOP")?;
    check_eq!(tagged.run_state()?, "io-error");
    let by_default = default.next_event(PATIENCE)?;
    check_eq!(io_error(&by_default["data"]), no_space);
    check_eq!(by_default.get("tag"), None);
    check_eq!(default.next_event(PATIENCE)?["event"], "STOP");

    // The cause remains, and so the machine stops again.
    tagged.cont()?;
    tagged.expect("RESUME")?;
    tagged.expect_io_error(no_space)?;
    tagged.expect("STOP")?;
    check_eq!(tagged.run_state()?, "io-error");
    check_eq!(tagged.io_status("disk0")?, Some("nospace"));
    default.wait_for_event("RESUME", PATIENCE)?;

    // Space for one more of the four. Each of the session's objects receives each error once.
    for _ in 0..2 {
        let error = errors.try_recv()?;
        let error = error.ok_or_else(|| Failure::new("an error has not come"))?;
        check_eq!(error.nospace, Some(true));
    }
    check_eq!(errors.try_recv()?, None);
    small.resize(3)?;
    tagged.cont()?;
    tagged.expect("RESUME")?;
    tagged.expect_io_error(no_space)?;
    tagged.expect("STOP")?;
    let mut by_default = Vec::new();
    while by_default
        .last()
        .is_none_or(|event: &Value| event["event"] != "RESUME")
    {
        by_default.push(default.next_event(PATIENCE)?);
    }
    let thinned = by_default
        .iter()
        .filter(|event| event["event"] == "BLOCK_IO_ERROR");
    check!(
        thinned.count() <= 1,
        "default events are not thinned: {by_default:?}"
    );

    small.resize(64)?;
    tagged.cont()?;
    tagged.expect("RESUME")?;
    guest.succeed()?;
    check_eq!(tagged.run_state()?, "running");
    check_eq!(tagged.io_status("disk0")?, Some("ok"));
    // The guest has noticed nothing.
    check_eq!(guest.disk_errors()?, "");
    linux::check_bytes(&image, 0, &data)?;
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn many_failed_writes_are_all_performed_once_there_is_space(
    context: &Context,
) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 2)?;
    let image = small.path("disk");
    linux::image(&image, 64, b"")?;
    let data = pattern(11, 4 * MIB);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0,werror=enospc");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let client = Client::hearing(&linux::monitor(context), &IO_ERRORS)?;
    // Through the page cache: the guest writes back as much at once as its queue holds.
    guest.begin("for i in 0 1 2 3; do dd if=/test/data of=/dev/vda bs=1M seek=$((i * 4)) conv=notrunc & done; wait; sync")?;
    let mut errors = 0;
    for mebibytes in [2, 3, 5, 8, 12, 64] {
        let events = client.events_until("STOP")?;
        check!(events[0].name != "STOP", "a STOP without its error");
        errors += events.len() - 1;
        check_eq!(client.run_state()?, "io-error");
        small.resize(mebibytes)?;
        client.cont()?;
        client.events_until("RESUME")?;
    }
    check!(errors >= 6, "{errors} errors for six stops");
    guest.succeed()?;
    check_eq!(guest.disk_errors()?, "");
    guest.power_off()?;
    guest.expect_exit(0)?;
    for index in 0..4 {
        linux::check_bytes(&image, index << 22, &data)?;
    }
    Ok(())
}

fn a_disk_that_stops_on_every_error_stops_at_a_file_size_limit(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 16, b"")?;
    let data = pattern(12, 2 * MIB);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0,werror=stop");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let client = Client::hearing(&linux::monitor(context), &IO_ERRORS)?;
    limit_file_size(guest.machine().id(), Some(1 << 20))?;

    guest.begin(WRITE)?;
    let too_large = "disk0 write stop: File too large";
    client.expect_io_error(too_large)?;
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "io-error");
    check_eq!(client.io_status("disk0")?, Some("failed"));
    limit_file_size(guest.machine().id(), None)?;
    client.cont()?;
    client.expect("RESUME")?;
    guest.succeed()?;
    check_eq!(client.io_status("disk0")?, Some("ok"));
    check_eq!(guest.disk_errors()?, "");
    linux::check_bytes(&image, 0, &data)?;

    // The program's end does not wait for a held request.
    limit_file_size(guest.machine().id(), Some(1 << 20))?;
    guest.begin("dd if=/test/data of=/dev/vda bs=256k seek=8 oflag=direct conv=notrunc")?;
    client.expect_io_error(too_large)?;
    client.expect("STOP")?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn a_reset_drops_held_requests(context: &Context) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 1)?;
    let image = small.path("disk");
    linux::image(&image, 16, b"")?;
    let data = pattern(15, MIB + PIECE);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let events = [&IO_ERRORS[..], &["RESET"]].concat();
    let client = Client::hearing(&linux::monitor(context), &events)?;
    guest.begin(WRITE)?;
    client.expect("BLOCK_IO_ERROR")?;
    client.expect("STOP")?;
    client.system_reset()?;
    client.expect("RESET")?;
    check_eq!(client.run_state()?, "prelaunch");
    small.resize(16)?;
    client.cont()?;
    client.expect("RESUME")?;
    guest.wait()?;
    check_eq!(client.io_status("disk0")?, Some("ok"));
    // The held write belonged to the previous guest.
    let last_piece =
        "dd if=/dev/vda bs=256k skip=4 count=1 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c";
    check_eq!(guest.run(last_piece)?, "0");
    linux::check_bytes(&image, 0, &data[..MIB])?;
    guest.run(WRITE)?;
    linux::check_bytes(&image, 0, &data)?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn write_errors_that_are_reported_reach_the_guest_and_leave_it_running(
    context: &Context,
) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 1)?;
    let (full, long) = (small.path("disk"), context.path("disk"));
    linux::image(&full, 16, b"")?;
    linux::image(&long, 16, b"")?;
    let data = pattern(13, 2 * MIB + PIECE);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &full, "format=raw,id=full,werror=report");
    add_disk(&mut command, &long, "format=raw,id=long,werror=report");
    // Not a lack of space, so the default policy reports it too.
    add_disk(
        &mut command,
        &long,
        "format=raw,id=default,file.locking=off",
    );
    let (mut guest, client) = linux::boot(context, &mut command)?;
    limit_file_size(guest.machine().id(), Some(2 << 20))?;

    let expected = [
        (
            "vda",
            2048,
            "full write report nospace: No space left on device",
        ),
        ("vdb", 4096, "long write report: File too large"),
        ("vdc", 4096, "default write report: File too large"),
    ];
    for (disk, sector, wire) in expected {
        let write = WRITE.replace("vda", disk);
        let failed = guest.attempt(&write)?;
        check!(
            failed.status != 0 && failed.output.contains("Input/output error"),
            "dd ended with {}: {}",
            failed.status,
            failed.output
        );
        client.expect_io_error(wire)?;
        let log = guest.disk_errors()?;
        let message = format!("I/O error, dev {disk}, sector {sector} op 0x1:(WRITE)");
        check!(log.contains(&message), "no '{message}' in '{log}'");
    }
    check_eq!(client.run_state()?, "running");
    // No error has stopped the machine; where none can, there is no status.
    check_eq!(client.io_status("default")?, Some("ok"));
    check_eq!(client.io_status("full")?, None);
    check_eq!(client.io_status("long")?, None);
    check_eq!(client.events_until_now()?.len(), 0);
    linux::check_bytes(&full, 0, &data[..MIB])?;
    linux::check_bytes(&long, 0, &data[..2 * MIB])?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn write_errors_that_are_ignored_reach_only_clients(context: &Context) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 1)?;
    let (full, long) = (small.path("disk"), context.path("disk"));
    linux::image(&full, 16, b"")?;
    linux::image(&long, 16, b"")?;
    let data = pattern(14, 2 * MIB + PIECE);
    let script = guest_shell::script().file("data", data.clone());
    let mut command = linux::command_with(context, &script)?;
    add_disk(&mut command, &full, "format=raw,id=full,werror=ignore");
    add_disk(&mut command, &long, "format=raw,id=long,werror=ignore");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    limit_file_size(guest.machine().id(), Some(2 << 20))?;
    let expected = [
        (
            "vda",
            &full,
            1,
            "full write ignore nospace: No space left on device",
        ),
        ("vdb", &long, 2, "long write ignore: File too large"),
    ];
    for (disk, image, mebibytes, wire) in expected {
        let kept = mebibytes * MIB;
        guest.run(&format!(
            "{} count={}",
            WRITE.replace("vda", disk),
            kept / PIECE + 1
        ))?;
        client.expect_io_error(wire)?;
        linux::check_bytes(image, 0, &data[..kept])?;
        linux::check_bytes(image, kept as u64, &[0; PIECE])?;
    }
    check_eq!(guest.disk_errors()?, "");
    check_eq!(client.run_state()?, "running");
    check_eq!(client.events_until_now()?.len(), 0);
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

/// Writes to a block device fail only in writeback from its page cache: in a flush.
fn a_flush_that_fails_counts_as_a_write(context: &Context) -> Result<(), Failure> {
    let small = SmallFileSystem::mount(context.path("small"), 1)?;
    let image = small.path("disk");
    linux::image(&image, 16, b"")?;
    let device = LoopDevice::attach(&image)?;
    let mut command = linux::command(context)?;
    add_disk(
        &mut command,
        device.path(),
        "format=raw,id=disk0,werror=stop",
    );
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let client = Client::hearing(&linux::monitor(context), &IO_ERRORS)?;
    check_eq!(guest.run("cat /sys/block/vda/size")?, "32768");
    guest.run("dd if=/dev/urandom of=/dev/vda bs=256k count=8 oflag=direct")?;
    check_eq!(client.events_until_now()?.len(), 0);

    guest.begin("dd if=/dev/urandom of=/dev/vda bs=4k count=1 conv=fsync")?;
    client.expect_io_error("disk0 write stop: Input/output error")?;
    check_eq!(client.io_status("disk0")?, Some("failed"));
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "io-error");
    // The flush is held, and submitted again. It cannot succeed, though there is space now: the host may have dropped
    // the data, and would report success for the next flush all the same.
    small.resize(64)?;
    client.cont()?;
    client.expect("RESUME")?;
    client.expect_io_error("disk0 write stop: Input/output error")?;
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "io-error");
    // Until the guest sees a completion, it has neither succeeded nor failed.
    let stats = client.execute("query-blockstats")?;
    check_eq!(stats[0]["stats"]["failed_flush_operations"], 0);
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
