//! The machine's parts beside disks, as Linux finds them: processors, the power button, the clock, and pvpanic.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use faultvisor_tests::guest::{INIT_MARKER, MACHINE_MODULES_ORDER};
use faultvisor_tests::guest_shell::{self, GuestShell, PATIENCE};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use serde_json::json;

use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    four_vcpus_are_four_cores_also_after_a_reboot,
    the_power_button_reaches_a_guest_that_listens,
    a_kernel_panic_is_reported_before_the_guest_resets_itself,
    a_guest_does_not_notice_that_it_was_stopped,
    without_acpi_there_is_none_and_the_disks_are_on_the_command_line,
];

/// How long the guest is stopped to test its clock: many times a command's duration.
const LONG_STOP: Duration = Duration::from_secs(5);

/// Replaces the kernel's command line by the default one and `more`.
fn append(command: &mut Command, more: &str) {
    let arguments: Vec<OsString> = command.get_args().map(ToOwned::to_owned).collect();
    let mut changed = Command::new(command.get_program());
    let mut is_append = false;
    for argument in arguments {
        if std::mem::replace(&mut is_append, argument == "--append") {
            changed.arg(format!("{} {more}", guest_shell::APPEND));
        } else {
            changed.arg(argument);
        }
    }
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            changed.env(name, value);
        }
    }
    *command = changed;
}

fn load_modules(guest: &mut GuestShell) -> Result<(), Failure> {
    let load =
        format!("while read -r module; do insmod $module || exit; done < {MACHINE_MODULES_ORDER}");
    guest.run(&format!("({load})"))?;
    Ok(())
}

/// The values of a field in the kernel's list of processors, one per processor.
fn of_each_cpu(guest: &mut GuestShell, name: &str) -> Result<Vec<String>, Failure> {
    let lines = guest.run(&format!("grep '^{name}[[:space:]]*:' /proc/cpuinfo"))?;
    let words = lines.lines().filter_map(|line| line.split_once(": "));
    Ok(words.map(|(_, word)| word.to_owned()).collect())
}

fn four_vcpus_are_four_cores_also_after_a_reboot(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    // By ACPI's reset register, Linux's default.
    append(&mut command, "reboot=acpi");
    let (mut guest, client) = linux::boot(context, command.args(["--smp", "4"]))?;
    for is_last in [false, true] {
        check_eq!(guest.run("nproc")?, "4");
        check_eq!(of_each_cpu(&mut guest, "cpu cores")?, ["4"; 4]);
        check_eq!(of_each_cpu(&mut guest, "core id")?, ["0", "1", "2", "3"]);
        check_eq!(of_each_cpu(&mut guest, "apicid")?, ["0", "1", "2", "3"]);
        check_eq!(of_each_cpu(&mut guest, "physical id")?, ["0"; 4]);
        // Each processor executes commands.
        for cpu in 0..4 {
            let mask = 1 << cpu;
            let output = guest.run(&format!("taskset {mask:x} sh -c 'echo on $((40 + {cpu}))'"))?;
            check_eq!(output, format!("on {}", 40 + cpu));
        }
        let cpus = client.query_cpus_fast()?;
        for cpu in &cpus {
            let process = guest.machine().id();
            let name = fs::read_to_string(format!("/proc/{process}/task/{}/comm", cpu.thread_id))?;
            check_eq!(name.trim_end(), format!("vcpu{}", cpu.cpu_index));
        }
        check_eq!(cpus.len(), 4);
        if !is_last {
            guest.begin("reboot -f")?;
            let reset = client.expect("RESET")?;
            check_eq!(reset, json!({ "guest": true, "reason": "guest-reset" }));
            guest.wait()?;
        }
    }
    guest.power_off()?;
    guest.expect_exit(0)?;
    check_eq!(guest.machine().messages().text(), "");
    Ok(())
}

fn the_power_button_reaches_a_guest_that_listens(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::boot(context, command.args(["--smp", "2"]))?;
    // Without a listener the press has no effect.
    client.system_powerdown()?;
    client.expect("POWERDOWN")?;
    load_modules(&mut guest)?;
    let device = guest.run("grep -l 'Power Button' /sys/class/input/event*/device/name")?;
    let device = device.split('/').nth(4).unwrap_or_default().to_owned();
    guest.run(&format!("exec 4< /dev/input/{device}"))?;
    // The press is one event of 24 bytes; a guest that misses it waits for ever.
    guest.begin("head -c 24 <&4 > /dev/null; stty opost < /dev/console; poweroff -f")?;
    client.system_powerdown()?;
    client.expect("POWERDOWN")?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(
        shutdown,
        json!({ "guest": true, "reason": "guest-shutdown" })
    );
    guest.expect_exit(0)?;
    Ok(())
}

fn a_kernel_panic_is_reported_before_the_guest_resets_itself(
    context: &Context,
) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::boot(context, command.args(["--action", "panic=pause"]))?;
    load_modules(&mut guest)?;
    // Its command line has panic=-1: it resets itself at once.
    guest.begin("echo c > /proc/sysrq-trigger")?;
    check_eq!(
        client.expect("GUEST_PANICKED")?,
        json!({ "action": "pause" })
    );
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "guest-panicked");
    client.cont()?;
    client.expect("RESUME")?;
    let reset = client.expect("RESET")?;
    check_eq!(reset, json!({ "guest": true, "reason": "guest-reset" }));
    guest
        .machine()
        .console()
        .wait_for_line(INIT_MARKER, PATIENCE)?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

/// The guest's uptime, by its own clock.
fn uptime(guest: &mut GuestShell) -> Result<Duration, Failure> {
    let words = guest.run("cat /proc/uptime")?;
    Ok(Duration::try_from_secs_f64(
        linux::first_word(&words).parse()?,
    )?)
}

fn a_guest_does_not_notice_that_it_was_stopped(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    // Only KVM's clock can be stopped; a guest with a reliable TSC would use that.
    append(&mut command, "clocksource=kvm-clock");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    check_eq!(
        guest.run("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")?,
        "kvm-clock"
    );
    let before = uptime(&mut guest)?;
    client.stop()?;
    client.expect("STOP")?;
    guest.begin("cat /proc/uptime")?;
    let early = guest
        .machine()
        .console()
        .wait_for_line("FV-STATUS", LONG_STOP);
    check!(early.is_err(), "a stopped guest answers");
    client.cont()?;
    client.expect("RESUME")?;
    let answer = guest.finish()?.output;
    let after = Duration::try_from_secs_f64(linux::first_word(&answer).parse()?)?;
    check!(
        after >= before,
        "the guest's clock went back from {before:?} to {after:?}"
    );
    let passed = after - before;
    check!(
        passed < LONG_STOP,
        "{passed:?} went by in a guest that was stopped"
    );
    guest.power_off()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn without_acpi_there_is_none_and_the_disks_are_on_the_command_line(
    context: &Context,
) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 1, b"")?;
    let mut command = linux::command(context)?;
    linux::add_disk(&mut command, &image, "format=raw");
    let (mut guest, client) = linux::boot(context, command.arg("--no-acpi"))?;
    let found = guest.run("cat /proc/cmdline")?;
    check!(
        found.ends_with(" virtio_mmio.device=4K@0xd0000000:5"),
        "the command line is '{found}'"
    );
    guest.run("! ls /sys/firmware/acpi/tables 2> /dev/null")?;
    check!(
        client.refused("system_powerdown")?.contains("--no-acpi"),
        "there is a power button"
    );
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}
