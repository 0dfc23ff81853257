//! A disk whose image lies on a file system that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use faultvisor_tests::bare::{BareMachine, Plan, SOON, content, pattern};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests, tool};
use serde_json::json;

use super::{check_event, check_state};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    by_default_a_full_file_system_stops_the_machine_until_there_is_space,
    a_full_file_system_is_reported_where_the_policy_says_so,
];

/// Mounts a small file system for itself, puts a sparse image of 4 MiB and a filler of 512 KiB on it, and becomes the
/// program.
const ON_SMALL_FILE_SYSTEM: &str = r#"
mount -t tmpfs -o size=1m small "$0" && truncate -s 4M "$0/disk" &&
dd if=/dev/zero of="$0/filler" bs=64k count=8 2>/dev/null && exec "$@"
"#;

/// A command that gives a program mounts of its own; a skip where that is not allowed.
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

/// Starts a machine with such a disk, and says where its file system is seen from here.
fn start(context: &Context, options: &str) -> Result<(BareMachine, PathBuf), Failure> {
    let mount = context.path("small");
    fs::create_dir(&mount)?;
    let mut command = unshare()?;
    command.args(["sh", "-c", ON_SMALL_FILE_SYSTEM]);
    command.arg(&mount).arg(context.program());
    // 128 writes of 8 KiB: a whole MiB.
    let script = "setup 0\nchoose\nburst 0 write 128 0 16 5\nburst 0 read 128 0 16\nchoose";
    let plan = Plan::wrapped(context, script, command)?.disk(&mount.join("disk"), options);
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
    let (mut machine, small) = start(context, "id=d0")?;
    let mut client = machine.client()?;
    machine.machine.type_text("c")?;
    let data = [
        ("operation", json!("write")),
        ("action", json!("stop")),
        ("reason", json!("No space left on device")),
        ("nospace", json!(true)),
    ];
    check_event(&client.next_event(SOON)?, "BLOCK_IO_ERROR", &data)?;
    check_event(&client.next_event(SOON)?, "STOP", &[])?;
    check_state(&mut client, "io-error", "nospace")?;
    fs::remove_file(small.join("filler"))?;
    client.execute("cont", None, SOON)?;
    machine.report("done")?.expect(128, 0, 0)?;
    let read = machine.report("done")?;
    read.expect(128, 0, 0)?;
    check_eq!(read.number("sum")?, pattern::sum(&content(5, 0, 128 * 16)));
    check_state(&mut client, "running", "ok")?;
    let written = fs::read(small.join("disk"))?;
    check!(
        written[..1 << 20] == content(5, 0, 128 * 16),
        "the image has other bytes"
    );
    machine.report("choose")?;
    machine.machine.type_text("o")?;
    machine.ends_well()
}

fn a_full_file_system_is_reported_where_the_policy_says_so(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, _) = start(context, "id=d0,werror=report")?;
    let mut client = machine.client()?;
    let tag = client.execute("get-block-io-error-event", None, SOON)?;
    machine.machine.type_text("c")?;
    let done = machine.report("done")?;
    let (ok, failed) = (done.number("ok")?, done.number("ioerr")?);
    check!(ok > 0 && failed > 0 && ok + failed == 128, "{}", done.line);
    machine.report("choose")?;
    machine.machine.type_text("o")?;
    let mut tagged = 0;
    loop {
        let event = client.next_event(SOON)?;
        if event["event"] == "SHUTDOWN" {
            break;
        }
        let data = [("action", json!("report")), ("nospace", json!(true))];
        check_event(&event, "BLOCK_IO_ERROR", &data)?;
        tagged += u64::from(event.get("tag") == Some(&tag));
    }
    check_eq!(tagged, failed);
    machine.ends_well()
}
