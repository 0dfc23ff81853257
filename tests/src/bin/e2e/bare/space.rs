//! A disk whose image is on a full file system.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_tests::bare::{BareMachine, Plan, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};
use serde_json::json;

use super::{check_event, check_state};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    by_default_a_full_file_system_stops_the_machine_until_there_is_space,
    a_full_file_system_is_reported_where_the_policy_says_so,
    a_qcow2_image_that_cannot_grow_stops_the_machine_until_there_is_space,
];

/// Shell commands that create a sparse image of 4 MiB at `$disk`.
const RAW: &str = r#"truncate -s 4M "$disk""#;
const QCOW2: &str = r#"qemu-img create -q -f qcow2 -o cluster_size=4096 "$disk" 4M"#;

/// Mounts a small private file system, creates an image and a filler of 512 KiB on it, and executes the program.
const ON_SMALL_FILE_SYSTEM: &str = r#"
mount -t tmpfs -o size=1200k small "$0" && disk="$0/disk" && IMAGE &&
dd if=/dev/zero of="$0/filler" bs=64k count=8 2>/dev/null && exec "$@"
"#;

/// A command that runs a program in a mount namespace; skips the test where that is not permitted.
fn unshare() -> Result<Command, Failure> {
    let mut attempt =
        Command::new(tool::find("unshare").ok_or_else(|| Failure::skip("no 'unshare'"))?);
    attempt.arg("--mount");
    if !rustix::process::geteuid().is_root() {
        attempt.arg("--map-root-user");
    }
    let mut command = Command::new(attempt.get_program());
    command.args(attempt.get_args());
    match tool::run(attempt.arg("true")) {
        Ok(()) => Ok(command),
        Err(error) => Err(Failure::skip(format!("no mounts of its own: {error}"))),
    }
}

/// Starts a machine with such a disk, and returns its file system's path from here.
fn start(context: &Context, image: &str, drive: &str) -> Result<(BareMachine, PathBuf), Failure> {
    let mount = context.path("small");
    fs::create_dir(&mount)?;
    let mut command = unshare()?;
    command.args(["sh", "-c", &ON_SMALL_FILE_SYSTEM.replace("IMAGE", image)]);
    command.arg(&mount).arg(context.program());
    // 128 writes of 8 KiB: one MiB.
    let script =
        "setup 0\nchoose\nburst 0 write 128 0 16 5\nburst 0 read 128 0 16\nflush 0\nchoose";
    let drive = format!("file={},{drive}", mount.join("disk").display());
    let plan = Plan::wrapped(context, script, command)?.options(&["--drive", &drive]);
    let mut machine = plan.start()?;
    machine.report("choose")?;
    let inside = mount.strip_prefix("/").unwrap_or(&mount);
    let seen = Path::new("/proc")
        .join(machine.machine.id().to_string())
        .join("root")
        .join(inside);
    check!(
        seen.join("filler").is_file(),
        "there is no filler in {}",
        seen.display()
    );
    Ok((machine, seen))
}

fn by_default_a_full_file_system_stops_the_machine_until_there_is_space(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, small) = start(context, RAW, "format=raw,id=d0")?;
    let client = machine.client()?;
    machine.machine.console().type_text("c")?;
    let data = [
        ("operation", json!("write")),
        ("action", json!("stop")),
        ("reason", json!("No space left on device")),
        ("nospace", json!(true)),
    ];
    // As many as requests were in flight.
    let mut event = client.next_event()?;
    check_event(&event, "BLOCK_IO_ERROR", &data)?;
    while event.name != "STOP" {
        check_event(&event, "BLOCK_IO_ERROR", &data)?;
        event = client.next_event()?;
    }
    check_state(&client, "io-error", "nospace")?;
    fs::remove_file(small.join("filler"))?;
    client.cont()?;
    machine.report("done")?.expect(128, 0, 0)?;
    let read = machine.report("done")?;
    read.expect(128, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(5, 0, 128 * 16)));
    check_state(&client, "running", "ok")?;
    let written = fs::read(small.join("disk"))?;
    check!(
        written[..1 << 20] == content(5, 0, 128 * 16),
        "the image has other bytes"
    );
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn a_full_file_system_is_reported_where_the_policy_says_so(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, _) = start(context, RAW, "format=raw,id=d0,werror=report")?;
    let client = machine.client()?;
    machine.machine.console().type_text("c")?;
    let done = machine.report("done")?;
    let (ok, failed) = (done.number("ok")?, done.number("ioerr")?);
    check!(ok > 0 && failed > 0 && ok + failed == 128, "{}", done.line);
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    let mut told = 0;
    loop {
        let event = client.next_event()?;
        if event.name == "SHUTDOWN" {
            break;
        }
        let data = [("action", json!("report")), ("nospace", json!(true))];
        check_event(&event, "BLOCK_IO_ERROR", &data)?;
        told += 1;
    }
    check_eq!(told, failed);
    machine.ends_well()
}

fn a_qcow2_image_that_cannot_grow_stops_the_machine_until_there_is_space(
    context: &Context,
) -> Result<(), Failure> {
    if tool::find("qemu-img").is_none() {
        return Err(Failure::skip("qemu-img is not installed"));
    }
    let (mut machine, small) = start(context, QCOW2, "format=qcow2,id=d0")?;
    let client = machine.client()?;
    machine.machine.console().type_text("c")?;
    let data = [
        ("operation", json!("write")),
        ("action", json!("stop")),
        ("reason", json!("No space left on device")),
        ("nospace", json!(true)),
    ];
    check_event(&client.next_event()?, "BLOCK_IO_ERROR", &data)?;
    check_event(&client.wait_for_event("STOP")?, "STOP", &[])?;
    check_state(&client, "io-error", "nospace")?;
    fs::remove_file(small.join("filler"))?;
    client.cont()?;
    machine.report("done")?.expect(128, 0, 0)?;
    let read = machine.report("done")?;
    read.expect(128, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(5, 0, 128 * 16)));
    check_state(&client, "running", "ok")?;
    machine.report("choose")?;
    let copy = context.path("copy");
    fs::copy(small.join("disk"), &copy)?;
    super::qcow2::check_whole(&copy)?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}
