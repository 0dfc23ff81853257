//! Programs in Linux guests, by the agent: from the harness and from `fvctl`.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_harness::guest::{self, Event, FailureKind, Status};
use faultvisor_harness::{Disk, Machine, Transcript};
use faultvisor_tests::suite::{Context, Failure, Needs, Size, Test};
use faultvisor_tests::{check, check_eq, tests};

use rustix::process::{Pid, Signal, kill_process};

use crate::linux::pattern;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    fvctl_runs_a_command_and_tells_of_its_disks_fault,
    fvctl_ends_as_the_command_does_or_says_why_it_cannot,
    fvctl_ends_when_nobody_reads_and_when_asked_three_times,
    fvctl_keeps_a_guest_for_further_commands_and_copies,
    hundreds_of_programs_run_in_a_guest_and_lose_nothing,
    a_reset_ends_a_program_with_an_error_and_the_next_one_runs,
];

/// The time limit for a guest to boot, in the lab.
const BOOT: Duration = Duration::from_secs(90);

/// A command line of `fvctl run`, up to the options, for a guest that is made already.
fn fvctl(context: &Context, action: &str) -> Command {
    let mut command = Command::new(context.fvctl());
    command.arg(action);
    // Guests that are kept are this test's own.
    command.env("XDG_RUNTIME_DIR", context.scratch());
    command
}

fn run(context: &Context) -> Command {
    let mut command = fvctl(context, "run");
    command.arg("--program").arg(context.program());
    command.arg("--kernel").arg(context.guest().vmlinux());
    command.arg("--initrd").arg(context.guest().programs());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The exit status, standard output and standard error.
fn ended(output: &Output) -> (Option<i32>, String, String) {
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// A guest with an agent.
fn boot(context: &Context, disk: Option<Disk>) -> Result<Machine, Failure> {
    let guest = context.guest();
    let mut builder = Machine::builder(guest.vmlinux())
        .program(context.program())
        .initrd(guest.programs())
        .append("console=ttyS0 quiet panic=-1 reboot=t")
        .vsock();
    if let Some(disk) = disk {
        builder = builder.disk(disk);
    }
    let machine = builder.start()?;
    machine.wait_for_agent(BOOT)?;
    Ok(machine)
}

fn fvctl_runs_a_command_and_tells_of_its_disks_fault(context: &Context) -> Result<(), Failure> {
    let rule = "operations=write,skip=9,count=1,action=error,errno=EIO";
    let script = "mkfs.ext4 -q /dev/vda && mount /dev/vda /mnt && \
                  dd if=/dev/zero of=/mnt/x bs=1M count=16 conv=fsync; status=$?; \
                  echo reached; exit $status";
    let mut command = run(context);
    command.args(["--disk", "64M", "--fault", rule, "--", "sh", "-c", script]);
    let started = Instant::now();
    let output = command.output()?;
    context.note(&format!(
        "fvctl run with mkfs and dd ended {:.2} s after its exec",
        started.elapsed().as_secs_f64()
    ));
    let (status, said, errors) = ended(&output);
    // mkfs or dd sees the error, and the command's own status is fvctl's.
    check!(matches!(status, Some(1..=123)), "{status:?}: {errors}");
    check_eq!(said, "reached\n");
    let fault = "fvctl: disk0: fault 'fault0' (error) at request ";
    check!(errors.contains(fault), "no '{fault}' in {errors}");
    let failed = "fvctl: disk0: write failed: Input/output error (action: report)\n";
    check!(errors.contains(failed), "no '{failed}' in {errors}");

    // The same as lines of JSON, with the result as the last one.
    let mut command = run(context);
    command.args([
        "--json",
        "--disk",
        "64M",
        "--fault",
        "action=error,errno=EIO,operations=read",
    ]);
    command.args(["--", "sh", "-c", "head -c 4096 /dev/vda; exit 7"]);
    let (status, _, errors) = ended(&command.output()?);
    check_eq!(status, Some(7));
    let result = errors.lines().last().unwrap_or_default();
    check!(result.starts_with(r#"{"result":"#), "{errors}");
    check!(result.contains(r#""status":7"#), "{result}");
    check!(errors.contains(r#""event":"BLOCK_IO_ERROR""#), "{errors}");
    check!(errors.contains(r#"{"stderr":"#), "{errors}");
    let is_json = |line: &str| serde_json::from_str::<serde_json::Value>(line).is_ok();
    check!(errors.lines().all(is_json), "{errors}");
    Ok(())
}

fn fvctl_ends_as_the_command_does_or_says_why_it_cannot(context: &Context) -> Result<(), Failure> {
    let mut keep = run(context);
    keep.args(["--keep", "g", "--", "true"]);
    let (status, _, errors) = ended(&keep.output()?);
    check!(status == Some(0), "{status:?}: {errors}");
    for (options, words, status, said) in [
        (
            &[][..],
            &["sh", "-c", "echo out; echo err >&2; exit 3"][..],
            3,
            "err\n",
        ),
        (&[], &["sh", "-c", "kill -TERM $$"], 128 + 15, ""),
        (
            &["--timeout", "1"],
            &["sh", "-c", "sleep 1000 & sleep 1000"],
            124,
            "",
        ),
        (
            &[],
            &["no-such-program"],
            127,
            "fvctl: 'no-such-program': there is no program",
        ),
        (&[], &["/etc/passwd"], 126, "fvctl: '/etc/passwd': "),
        (&["-w", "/nowhere"], &["true"], 125, "fvctl: 'true': "),
    ] {
        let mut command = fvctl(context, "run");
        command
            .args(["--in", "g"])
            .args(options)
            .arg("--")
            .args(words);
        let (ended_with, _, errors) = ended(&command.output()?);
        check!(
            ended_with == Some(status),
            "{words:?}: {ended_with:?}, {errors}"
        );
        check!(errors.starts_with(said), "{words:?}: {errors}");
    }
    check_eq!(ended(&fvctl(context, "stop").arg("g").output()?).0, Some(0));
    Ok(())
}

fn fvctl_ends_when_nobody_reads_and_when_asked_three_times(
    context: &Context,
) -> Result<(), Failure> {
    let mut command = run(context);
    command.args(["--", "yes"]).stdout(Stdio::piped());
    let mut child = Guarded::spawn(&mut command)?;
    let mut line = [0; 2];
    let mut output = child.child().stdout.take();
    output
        .as_mut()
        .ok_or_else(|| Failure::new("no pipe"))?
        .read_exact(&mut line)?;
    check_eq!(&line, b"y\n");
    drop(output);
    let status = child.wait_until(Instant::now() + BOOT)?;
    check_eq!(status.and_then(|status| status.code()), Some(128 + 13));

    // A command that a hanging disk keeps from ending, and from being killed.
    let mut command = run(context);
    command.args(["--disk", "64M", "--fault", "action=hang,operations=write"]);
    command.args([
        "--",
        "dd",
        "if=/dev/zero",
        "of=/dev/vda",
        "count=1",
        "oflag=direct",
    ]);
    command.stderr(Stdio::piped());
    let mut child = Guarded::spawn(&mut command)?;
    let errors = child.child().stderr.take();
    let errors = Transcript::record(errors.ok_or_else(|| Failure::new("no pipe"))?)?;
    let is_hanging = |line: &str| line.contains("(hang) at request");
    errors.find(0, Instant::now() + BOOT, is_hanging)?;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::new("no process ID"))?;
    let mut status = None;
    for _ in 0..3 {
        kill_process(pid, Signal::INT)?;
        // Two at once would be one.
        status = child.wait_until(Instant::now() + Duration::from_millis(500))?;
    }
    let status = match status {
        Some(status) => Some(status),
        None => child.wait_until(Instant::now() + BOOT)?,
    };
    check_eq!(status.and_then(|status| status.code()), Some(128 + 2));
    Ok(())
}

fn fvctl_keeps_a_guest_for_further_commands_and_copies(context: &Context) -> Result<(), Failure> {
    let mut command = run(context);
    command.args(["--keep", "db", "--disk", "64M", "--"]);
    command.args(["sh", "-c", "echo kept > /tmp/file"]);
    let (status, _, errors) = ended(&command.output()?);
    check!(status == Some(0), "{status:?}: {errors}");

    let mut again = run(context);
    again.args(["--keep", "db", "--", "true"]);
    let (status, _, errors) = ended(&again.output()?);
    check_eq!(status, Some(125));
    check!(errors.contains("a guest 'db' is kept already"), "{errors}");

    // A tree goes in and comes out the same.
    let tree = context.path("tree");
    fs::create_dir_all(tree.join("a/b"))?;
    fs::write(tree.join("a/b/data"), pattern(7, 1 << 20))?;
    fs::write(tree.join("empty"), "")?;
    std::os::unix::fs::symlink("a/b/data", tree.join("link"))?;
    let here = |path: PathBuf| path.display().to_string();
    let inside = "db:/tmp/tree".to_owned();
    for (from, to) in [
        (here(tree.clone()), inside.clone()),
        (inside, here(context.path("back"))),
    ] {
        let (status, _, errors) = ended(&fvctl(context, "cp").args([from, to]).output()?);
        check!(status == Some(0), "{status:?}: {errors}");
    }
    let back = context.path("back");
    check_eq!(fs::read(back.join("a/b/data"))?, pattern(7, 1 << 20));
    check_eq!(fs::read_link(back.join("link"))?, PathBuf::from("a/b/data"));

    let mut inside = fvctl(context, "run");
    inside.args(["--in", "db", "--", "cat", "/tmp/file"]);
    check_eq!(ended(&inside.output()?).1, "kept\n");
    let list = ended(&fvctl(context, "list").output()?).1;
    check!(list.starts_with("db\t"), "{list}");
    check_eq!(
        ended(&fvctl(context, "stop").arg("db").output()?).0,
        Some(0)
    );
    check_eq!(ended(&fvctl(context, "list").output()?).1, "");
    let (status, _, errors) = ended(&fvctl(context, "stop").arg("db").output()?);
    check_eq!(status, Some(125));
    check!(
        errors.starts_with("fvctl: no guest 'db' was kept"),
        "{errors}"
    );
    Ok(())
}

fn hundreds_of_programs_run_in_a_guest_and_lose_nothing(context: &Context) -> Result<(), Failure> {
    let (in_a_row, megabytes) = match context.size() {
        Size::Small => (100, 8),
        Size::Full => (1000, 100),
    };
    let machine = boot(context, None)?;
    let started = Instant::now();
    for number in 0..in_a_row {
        let output = machine.run(["echo", &number.to_string()])?.success()?;
        check_eq!(output.text(), number.to_string());
    }
    let each = started.elapsed().as_secs_f64() * 1e3 / f64::from(in_a_row);
    context.note(&format!("a command's round trip: {each:.1} ms"));

    // Fifty at once, each with its own input.
    let mut running = Vec::new();
    for number in 0..50 {
        let mut program = machine.spawn(guest::Command::new("cat").piped_input())?;
        if let Some(mut input) = program.input() {
            write!(input, "{number}")?;
        }
        running.push(program);
    }
    for (number, program) in running.into_iter().enumerate() {
        check_eq!(program.wait_with_output()?.text(), number.to_string());
    }

    // More than any buffer on the way, and a host that begins to read late.
    let script = format!("head -c {megabytes}000000 /dev/zero; echo end >&2");
    let mut program = machine.spawn(["sh", "-c", &script])?;
    check!(
        machine.run(["true"])?.status.is_success(),
        "another program"
    );
    let mut bytes = 0;
    let mut errors = Vec::new();
    let status = program.stream(|event| match event {
        Event::Output(piece) => bytes += piece.len(),
        Event::Errors(piece) => errors.extend_from_slice(piece),
        _ => {}
    })?;
    check!(status.is_success(), "{status}");
    check_eq!(
        (bytes, text(&errors)),
        (megabytes * 1_000_000, "end\n".to_owned())
    );

    // Nothing of a program is left after its time limit.
    let limited = guest::Command::new("sh");
    let limited = limited.args(["-c", "setsid sleep 4321 & sleep 4321"]);
    let output = machine.run(limited.timeout(Duration::from_secs(1)))?;
    check_eq!(output.status, Status::TimedOut);
    let left = machine.run(["sh", "-c", "ps | grep -c '[s]leep 4321'"])?;
    check_eq!(left.text(), "0");

    let none = machine.run(["no-such-program"]);
    let kind = none.map_err(|error| match error {
        faultvisor_harness::Error::Guest { error, .. } => error.kind(),
        _ => None,
    });
    check_eq!(kind.err(), Some(Some(FailureKind::NoSuchProgram)));
    machine.quit()?;
    Ok(())
}

fn a_reset_ends_a_program_with_an_error_and_the_next_one_runs(
    context: &Context,
) -> Result<(), Failure> {
    let machine = boot(context, Some(Disk::scratch(16 << 20)))?;
    let mut program = machine.spawn(["sleep", "1000"])?;
    machine.qmp().system_reset()?;
    let error = program.wait().err().map(|error| error.to_string());
    check!(error.is_some(), "a program goes on over a reset");
    machine.wait_for_agent(BOOT)?;
    check_eq!(machine.run(["echo", "again"])?.text(), "again");
    machine.quit()?;
    Ok(())
}
