//! The README's commands run as pasted: its guest boots, and its clients connect to the monitor.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use faultvisor_harness::child::Guarded;
use faultvisor_harness::transcript::Transcript;
use faultvisor_tests::guest_shell::PATIENCE;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, readme, tests, tool};

use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    the_readmes_guest_boots_and_its_clients_are_answered_as_pasted,
];

/// The programs' directory in the README's first command.
const PROGRAMS: &str = "target/release";
/// The files that the README's commands create under `target/guest`.
const GUEST: &str = "target/guest";
/// The guest's output when its shell is ready, followed by the prompt.
const READY: &str = "A disk is /dev/vda";
const PROMPT: &str = "# ";
/// Makes it read its disk, bypassing its page cache.
const READ: &str = "echo 3 > /proc/sys/vm/drop_caches; head -c 512 /dev/vda > /dev/null";
/// The timeout of a connected watcher's output.
const SOON: Duration = Duration::from_secs(5);

fn the_readmes_guest_boots_and_its_clients_are_answered_as_pasted(
    context: &Context,
) -> Result<(), Failure> {
    prepare(context)?;
    let commands = readme::commands();
    let machine = commands
        .iter()
        .find(|command| command.starts_with("target/release/faultvisor"));
    let machine = machine.ok_or_else(|| Failure::new("the README starts no machine"))?;
    let mut machine = context.start(&mut pasted(context, &format!("exec {machine}")))?;
    machine.console().wait_for(READY, PATIENCE)?;
    machine.console().wait_for(PROMPT, PATIENCE)?;

    let clients = commands
        .iter()
        .filter(|command| command.starts_with("qmp "));
    let (watching, asking): (Vec<_>, Vec<_>) =
        clients.partition(|command| command.contains(" watch "));
    check!(
        !watching.is_empty() && !asking.is_empty(),
        "the README's clients are {watching:?} and {asking:?}"
    );
    let mut watchers = Vec::new();
    for command in watching {
        let mut command = pasted(context, &format!("exec {command}"));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut watcher = Guarded::spawn(&mut command)?;
        let output = watcher.child().stdout.take();
        let output = output.ok_or_else(|| Failure::new("a watcher without its pipe"))?;
        watchers.push((watcher, Transcript::record(output)?));
    }
    // The clients have a read fail, once per attempt. A watcher may not have been connected yet.
    for (_, output) in &watchers {
        let deadline = Instant::now() + PATIENCE;
        loop {
            for command in &asking {
                tool::run(&mut pasted(context, command))?;
            }
            machine.console().type_line(READ)?;
            machine.console().wait_for("I/O error", PATIENCE)?;
            let is_told = |line: &str| line.contains("BLOCK_IO_ERROR");
            if output.find(0, Instant::now() + SOON, is_told).is_ok() {
                break;
            }
            check!(
                Instant::now() < deadline,
                "a watcher says: {}",
                output.text()
            );
        }
    }
    Ok(())
}

/// Prepares the directory as the README's first commands leave it.
fn prepare(context: &Context) -> Result<(), Failure> {
    for directory in [PROGRAMS, GUEST] {
        fs::create_dir_all(context.path(directory))?;
    }
    let link = |from: &std::path::Path, directory: &str| -> Result<(), Failure> {
        let name = from.file_name().unwrap_or_default();
        Ok(symlink(from, context.path(directory).join(name))?)
    };
    link(context.program(), PROGRAMS)?;
    link(&context.qmp(), PROGRAMS)?;
    link(&context.guest().vmlinux(), GUEST)?;
    link(&context.guest().initramfs(), GUEST)?;
    linux::image(&context.path(GUEST).join("disk.img"), 64, b"")
}

/// A command in a shell in the README's directory, with the programs in its path.
fn pasted(context: &Context, command: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(context.scratch());
    let mut path = context.path(PROGRAMS).into_os_string();
    if let Some(rest) = std::env::var_os("PATH") {
        path.push(":");
        path.push(rest);
    }
    shell.env("PATH", path);
    shell
}
