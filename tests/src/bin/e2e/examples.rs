//! The examples of resources/examples work with any guest that prints the same on its console.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::SOON;
use faultvisor_tests::guest_shell::PATIENCE;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, tests};

pub const WITH_KVM: &[Test] = tests![
    Needs::Kvm;
    a_users_cargo_test_awaits_a_disk_error,
    a_users_cargo_test_of_a_power_cut_finds_what_was_flushed,
    a_users_cargo_test_fails_with_the_machines_output,
    the_example_in_python_awaits_a_disk_error,
    the_example_in_c_awaits_a_disk_error,
];

pub const WITH_LINUX: &[Test] = tests![
    Needs::Linux;
    a_users_cargo_test_awaits_a_disk_error_of_linux,
    a_users_cargo_test_of_a_power_cut_of_linux_finds_what_was_flushed,
    the_example_in_c_awaits_a_disk_error_of_linux,
];

/// The bare-metal guest's script, in place of a shell on Linux.
const SCRIPT: &str = "print A disk is /dev/vda\nawait\nsetup 0\nread 0 0 8\nspin\n";

/// The script for the power cut: it reads a line before each write.
const CUT_SCRIPT: &str = "print A disk is /dev/vda\necho 10\nsetup 0\nwrite 0 0 8 1\nflush 0\n\
                          print the first is durable\necho 10\nwrite 0 16 8 2\nflush 0\nspin\n";

/// The examples' built names.
const CARGO_TEST: &str = "cargo-test";
const POWER_CUT: &str = "cargo-test-power-cut";
const PYTHON: &str = "disk_error.py";
const C: &str = "c";

/// An example's message about the error, if it has output of its own.
const TOLD: &str = "read on disk0: Input/output error";
/// The test's replacement for it.
const PASSED: &str = "test a_read_that_fails_is_told ... ok";
const CUT_PASSED: &str =
    "test what_was_flushed_is_there_after_a_power_cut_and_the_rest_is_not ... ok";

/// An example, with the program to use.
fn example(context: &Context, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(context.scratch());
    command.env("FAULTVISOR", context.program());
    command
}

/// An example with the bare-metal guest.
fn with_bare_guest(
    context: &Context,
    mut command: Command,
    script: &str,
) -> Result<String, Failure> {
    let initrd = context.path("script");
    fs::write(&initrd, script)?;
    command.env("FAULTVISOR_KERNEL", context.bare_guest());
    command.env("FAULTVISOR_INITRD", initrd);
    command.env("FAULTVISOR_APPEND", "acpi=off");
    run(context, command)
}

/// An example with Linux, as `cargo xtask guest` makes it.
fn with_linux(context: &Context, mut command: Command) -> Result<String, Failure> {
    command.env("FAULTVISOR_KERNEL", context.guest().vmlinux());
    command.env("FAULTVISOR_INITRD", context.guest().initramfs());
    run(context, command)
}

/// Runs an example to its end, and returns its output and status.
fn run(context: &Context, mut command: Command) -> Result<String, Failure> {
    let output = context.path("output");
    let file = File::create(&output)?;
    command.stdin(Stdio::null()).stdout(file.try_clone()?);
    let mut example = Guarded::spawn(command.stderr(file))?;
    let status = example.wait_until(Instant::now() + SOON.max(PATIENCE))?;
    let said = fs::read_to_string(&output)?;
    let status = status.ok_or_else(|| Failure::new(format!("it still runs: {said}")))?;
    Ok(format!("{said}\n{status}"))
}

fn expect(said: &str, wanted: &str) -> Result<(), Failure> {
    check!(
        said.contains(wanted) && said.ends_with("exit status: 0"),
        "no '{wanted}' in: {said}"
    );
    Ok(())
}

fn a_users_cargo_test_awaits_a_disk_error(context: &Context) -> Result<(), Failure> {
    let command = example(context, &context.example(CARGO_TEST)?);
    expect(&with_bare_guest(context, command, SCRIPT)?, PASSED)
}

fn a_users_cargo_test_of_a_power_cut_finds_what_was_flushed(
    context: &Context,
) -> Result<(), Failure> {
    let command = example(context, &context.example(POWER_CUT)?);
    expect(&with_bare_guest(context, command, CUT_SCRIPT)?, CUT_PASSED)
}

fn a_users_cargo_test_fails_with_the_machines_output(context: &Context) -> Result<(), Failure> {
    let command = example(context, &context.example(CARGO_TEST)?);
    // The harness may not be listening yet.
    let script = "print Kernel panic\ndelay 2000000000\nexit off\n";
    let said = with_bare_guest(context, command, script)?;
    let wanted = "no 'A disk is /dev/vda' on the serial console within 60s: the output ended\n";
    check!(said.contains(wanted), "no '{wanted}' in: {said}");
    check!(said.contains("\n  console: Kernel panic\n"), "{said}");
    Ok(())
}

fn the_example_in_python_awaits_a_disk_error(context: &Context) -> Result<(), Failure> {
    let python = context.python();
    let python = python.ok_or_else(|| Failure::skip("no Python with qemu.qmp"))?;
    let mut command = example(context, python);
    command.arg(context.example(PYTHON)?);
    expect(&with_bare_guest(context, command, SCRIPT)?, TOLD)
}

fn the_example_in_c_awaits_a_disk_error(context: &Context) -> Result<(), Failure> {
    let command = example(context, &context.example(C)?);
    expect(&with_bare_guest(context, command, SCRIPT)?, TOLD)
}

fn a_users_cargo_test_awaits_a_disk_error_of_linux(context: &Context) -> Result<(), Failure> {
    let command = example(context, &context.example(CARGO_TEST)?);
    expect(&with_linux(context, command)?, PASSED)
}

fn a_users_cargo_test_of_a_power_cut_of_linux_finds_what_was_flushed(
    context: &Context,
) -> Result<(), Failure> {
    let command = example(context, &context.example(POWER_CUT)?);
    expect(&with_linux(context, command)?, CUT_PASSED)
}

fn the_example_in_c_awaits_a_disk_error_of_linux(context: &Context) -> Result<(), Failure> {
    let command = example(context, &context.example(C)?);
    expect(&with_linux(context, command)?, TOLD)
}
