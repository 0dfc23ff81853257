//! Stopping, continuing, resetting and ending a machine that runs Linux.

use std::fs;
use std::time::{Duration, Instant};

use faultvisor_tests::guest::INIT_MARKER;
use faultvisor_tests::guest_shell::PATIENCE;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_reboot_ends_the_program_where_no_reboot_says_so,
    a_reboot_starts_the_guest_again_and_quit_ends_it,
    a_client_resets_a_running_machine_and_a_stopped_one,
    a_guest_waits_for_cont_before_its_first_instruction_and_in_its_work,
    no_shutdown_keeps_the_machine_of_a_guest_that_is_off,
];

/// Tests that need no running guest.
pub const WITH_KVM: &[Test] = tests![
    Needs::Kvm;
    each_termination_signal_ends_the_program_with_0,
];

/// Time given to a stopped guest, in which it must do nothing.
const MOMENT: Duration = Duration::from_millis(300);

fn a_reboot_ends_the_program_where_no_reboot_says_so(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::boot(context, command.arg("--no-reboot"))?;
    guest.begin("reboot -f")?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(shutdown, json!({ "guest": true, "reason": "guest-reset" }));
    guest.expect_exit(0)?;
    Ok(())
}

fn a_reboot_starts_the_guest_again_and_quit_ends_it(context: &Context) -> Result<(), Failure> {
    let image = context.path("disk");
    linux::image(&image, 4, b"")?;
    let mut command = linux::command(context)?;
    linux::add_disk(&mut command, &image, "format=raw,id=disk0");
    let (mut guest, client) = linux::boot(context, &mut command)?;
    guest.run("echo written before the reboot > /dev/vda && sync")?;
    guest.begin("reboot -f")?;
    let reset = client.expect("RESET")?;
    check_eq!(reset, json!({ "guest": true, "reason": "guest-reset" }));
    check_eq!(client.run_state()?, "running");
    guest.wait()?;
    // The disk works as before, and keeps its data.
    check_eq!(
        guest.run("head -n 1 /dev/vda")?,
        "written before the reboot"
    );

    client.quit()?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(
        shutdown,
        json!({ "guest": false, "reason": "host-qmp-quit" })
    );
    guest.expect_exit(0)?;
    Ok(())
}

fn a_client_resets_a_running_machine_and_a_stopped_one(context: &Context) -> Result<(), Failure> {
    let by_client = json!({ "guest": false, "reason": "host-qmp-system-reset" });
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::start(context, &mut command)?;
    guest
        .machine()
        .console()
        .wait_for_line(INIT_MARKER, PATIENCE)?;
    client.system_reset()?;
    check_eq!(client.expect("RESET")?, by_client);
    check_eq!(client.run_state()?, "running");
    guest
        .machine()
        .console()
        .wait_for_line(INIT_MARKER, PATIENCE)?;

    client.stop()?;
    client.expect("STOP")?;
    client.system_reset()?;
    check_eq!(client.expect("RESET")?, by_client);
    check_eq!(client.run_state()?, "prelaunch");
    let early = guest.machine().console().wait_for_line(INIT_MARKER, MOMENT);
    check!(early.is_err(), "a guest that was reset while stopped runs");
    client.cont()?;
    client.expect("RESUME")?;
    guest
        .machine()
        .console()
        .wait_for_line(INIT_MARKER, PATIENCE)?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn a_guest_waits_for_cont_before_its_first_instruction_and_in_its_work(
    context: &Context,
) -> Result<(), Failure> {
    let pid_file = context.path("pid");
    let mut command = linux::command(context)?;
    command.arg("-S").arg("--pidfile").arg(&pid_file);
    let (mut guest, client) = linux::start(context, &mut command)?;
    check_eq!(client.run_state()?, "prelaunch");
    let early = guest.machine().console().wait_for_line("", MOMENT);
    check!(
        early.is_err(),
        "a guest that was not started says something"
    );
    client.cont()?;
    client.expect("RESUME")?;
    guest.wait()?;

    for _ in 0..3 {
        client.stop()?;
        client.expect("STOP")?;
        check_eq!(client.run_state()?, "paused");
        // The guest answers when it runs again, and not before.
        guest.begin("echo 6 times 7 is $((6 * 7))")?;
        let early = guest.machine().console().wait_for_line("is 42", MOMENT);
        check!(early.is_err(), "a stopped guest answers");
        let continued = Instant::now();
        client.cont()?;
        client.expect("RESUME")?;
        let answer = guest.finish()?;
        check_eq!(answer.output, "6 times 7 is 42");
        check!(answer.at > continued, "a stopped guest answers");
        check_eq!(client.run_state()?, "running");
    }

    send(Signal::TERM, &fs::read_to_string(&pid_file)?)?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(shutdown, json!({ "guest": false, "reason": "host-signal" }));
    guest.expect_exit(0)?;
    check!(
        !pid_file.exists(),
        "the file with the process ID is left over"
    );
    Ok(())
}

fn no_shutdown_keeps_the_machine_of_a_guest_that_is_off(context: &Context) -> Result<(), Failure> {
    let mut command = linux::command(context)?;
    let (mut guest, client) = linux::boot(context, command.arg("--no-shutdown"))?;
    guest.power_off()?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(
        shutdown,
        json!({ "guest": true, "reason": "guest-shutdown" })
    );
    client.expect("STOP")?;
    check_eq!(client.run_state()?, "shutdown");
    let refused = client.refused("cont")?;
    check_eq!(
        refused,
        "GenericError: Resetting the Virtual Machine is required"
    );
    check_eq!(client.run_state()?, "shutdown");
    // A reset makes the machine startable.
    client.system_reset()?;
    client.expect("RESET")?;
    check_eq!(client.run_state()?, "prelaunch");
    client.cont()?;
    client.expect("RESUME")?;
    guest
        .machine()
        .console()
        .wait_for_line(INIT_MARKER, PATIENCE)?;
    client.quit()?;
    guest.expect_exit(0)?;
    Ok(())
}

fn each_termination_signal_ends_the_program_with_0(context: &Context) -> Result<(), Failure> {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let mut command = context.command();
        command.arg("--kernel").arg(context.guest().vmlinux());
        command.args(["-S", "--serial", "stdio", "--qmp"]);
        command.arg(format!("unix:{}", linux::monitor(context).display()));
        let (mut guest, client) = linux::start(context, &mut command)?;
        check_eq!(client.run_state()?, "prelaunch");
        send(signal, &guest.machine().id().to_string())?;
        let shutdown = client.expect("SHUTDOWN")?;
        check_eq!(shutdown, json!({ "guest": false, "reason": "host-signal" }));
        guest.expect_exit(0)?;
        let socket = linux::monitor(context);
        check!(!socket.exists(), "the monitor's socket is left over");
    }
    Ok(())
}

fn send(signal: Signal, process: &str) -> Result<(), Failure> {
    let pid = Pid::from_raw(process.trim().parse()?);
    let pid = pid.ok_or_else(|| Failure::new("no process ID"))?;
    Ok(kill_process(pid, signal)?)
}
