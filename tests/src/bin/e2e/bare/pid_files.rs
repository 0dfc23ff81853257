//! `--pidfile`: owned by one machine while it runs.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use faultvisor_harness::Process;
use faultvisor_tests::bare::SOON;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use crate::wrong_use::refused;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_pid_file_belongs_to_one_machine_at_a_time,
    a_pid_file_that_is_not_its_own_is_left_alone,
    a_full_disk_leaves_no_empty_pid_file,
];

fn with_pid_file(context: &Context, mut command: Command, path: &Path) -> Command {
    command.arg("--kernel").arg(context.bare_guest());
    command.args(["-m", "48M", "--append", "acpi=off", "-S"]);
    command.arg("--pidfile").arg(path);
    command
}

/// Waits until the file holds the machine's process ID.
fn is_written(machine: &Process, path: &Path) -> Result<(), Failure> {
    let expected = format!("{}\n", machine.id());
    while fs::read_to_string(path).unwrap_or_default() != expected {
        check!(machine.started().elapsed() < SOON, "no process ID");
        std::thread::yield_now();
    }
    Ok(())
}

fn a_pid_file_belongs_to_one_machine_at_a_time(context: &Context) -> Result<(), Failure> {
    let path = context.path("pid");
    let shell = |before: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before} exec \"$@\""), "sh"]);
        command.arg(context.program());
        with_pid_file(context, command, &path)
    };
    let mut first = context.start(&mut shell("umask 0;"))?;
    is_written(&first, &path)?;
    check_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
    let said = refused(&mut shell(""))?;
    check!(
        said.ends_with(&format!(
            "'{}' is in use by another machine\n",
            path.display()
        )),
        "{said}"
    );
    is_written(&first, &path)?;
    // A killed machine loses the lock, and its stale file is taken over.
    first.kill()?;
    check!(path.exists(), "who is killed removes nothing");
    let mut second = context.start(&mut shell("umask 777;"))?;
    is_written(&second, &path)?;
    check_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
    second.console().type_text("\u{1}x")?;
    second.expect_exit(0, SOON)?;
    check!(!path.exists(), "the file with the process ID is left over");
    Ok(())
}

fn a_pid_file_that_is_not_its_own_is_left_alone(context: &Context) -> Result<(), Failure> {
    let (target, link) = (context.path("target"), context.path("link"));
    fs::write(&target, "text")?;
    symlink(&target, &link)?;
    for path in [link.as_path(), Path::new("/dev/null")] {
        let said = refused(&mut with_pid_file(context, context.command(), path))?;
        check!(said.contains("no file of this machine's own"), "{said}");
        check!(path.exists(), "it is gone");
    }
    check_eq!(fs::read_to_string(&target)?, "text");
    Ok(())
}

fn a_full_disk_leaves_no_empty_pid_file(context: &Context) -> Result<(), Failure> {
    let path = context.path("pid");
    let mut command = Command::new("sh");
    // Files may not grow, and the message goes to a pipe.
    command.args(["-c", "ulimit -f 0; exec \"$@\"", "sh"]);
    command.arg(context.program());
    let said = refused(&mut with_pid_file(context, command, &path))?;
    check!(said.ends_with("File too large\n"), "{said}");
    check!(!path.exists(), "an empty file is left over");
    Ok(())
}
