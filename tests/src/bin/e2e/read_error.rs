//! Reads beyond the end of a truncated image, under each policy.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use crate::client::{Client, IO_ERRORS};
use crate::linux::{self, add_disk, first_word, pattern};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    read_errors_are_reported_to_the_guest_or_ignored_and_leave_it_running,
    a_disk_that_stopped_on_a_read_error_continues_once_the_data_is_back,
];

const MIB: usize = 1 << 20;
/// The second MiB, in one request.
const READ: &str = "dd if=/dev/vda of=/tmp/read bs=64k skip=16 count=1 iflag=direct";

fn read_errors_are_reported_to_the_guest_or_ignored_and_leave_it_running(
    context: &Context,
) -> Result<(), Failure> {
    let images = [context.path("report"), context.path("ignore")];
    let mut command = linux::command(context)?;
    for image in &images {
        linux::image(image, 2, &pattern(20, 2 * MIB))?;
    }
    // The first has the default policy.
    add_disk(&mut command, &images[0], "format=raw,id=report");
    add_disk(
        &mut command,
        &images[1],
        "format=raw,id=ignore,rerror=ignore",
    );
    let (mut guest, client) = linux::boot(context, &mut command)?;
    for image in &images {
        File::options()
            .write(true)
            .open(image)?
            .set_len(MIB as u64)?;
    }
    let failed = guest.attempt(READ)?;
    check!(
        failed.status != 0 && failed.output.contains("Input/output error"),
        "dd ended with {}: {}",
        failed.status,
        failed.output
    );
    let reported = "report read report: Input/output error";
    client.expect_io_error(reported)?;
    let log = guest.disk_errors()?;
    let message = "I/O error, dev vda, sector 2048 op 0x0:(READ)";
    check!(log.contains(message), "no '{message}' in '{log}'");

    guest.run(&READ.replace("vda", "vdb"))?;
    let ignored = "ignore read ignore: Input/output error";
    client.expect_io_error(ignored)?;
    let log = guest.disk_errors()?;
    check!(!log.contains("vdb"), "the guest noticed: '{log}'");
    check_eq!(client.run_state()?, "running");
    check_eq!(client.io_status("report")?, Some("ok"));
    check_eq!(client.events_until_now()?.len(), 0);
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn a_disk_that_stopped_on_a_read_error_continues_once_the_data_is_back(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    let expected = context.path("expected");
    let data = pattern(21, 2 * MIB);
    linux::image(&image, 2, &data)?;
    fs::write(&expected, &data[MIB..MIB + (64 << 10)])?;
    let mut command = linux::command(context)?;
    add_disk(&mut command, &image, "format=raw,id=disk0,rerror=stop");
    let (mut guest, _default) = linux::boot(context, &mut command)?;
    let client = Client::hearing(&linux::monitor(context), &IO_ERRORS)?;
    let file = File::options().write(true).open(&image)?;
    file.set_len(MIB as u64)?;

    guest.begin(READ)?;
    // The cause remains, and the read fails again.
    for _ in 0..2 {
        client.expect_io_error("disk0 read stop: Input/output error")?;
        check_eq!(client.io_status("disk0")?, Some("failed"));
        client.expect("STOP")?;
        check_eq!(client.run_state()?, "io-error");
        check_eq!(client.events_until_now()?.len(), 0);
        client.cont()?;
        client.expect("RESUME")?;
    }
    client.expect_io_error("disk0 read stop: Input/output error")?;
    client.expect("STOP")?;
    file.write_all_at(&data[MIB..], MIB as u64)?;
    client.cont()?;
    client.expect("RESUME")?;
    guest.succeed()?;
    check_eq!(client.io_status("disk0")?, Some("ok"));
    let seen = guest.run("sha256sum /tmp/read")?;
    check_eq!(first_word(&seen), linux::sha256(&expected)?);
    check_eq!(guest.disk_errors()?, "");
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
