//! Guests that report a panic, and guests that KVM cannot run any further.

use std::time::Instant;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{AccessorArguments, ErrorClass, GuestPanicAction, RunState};
use serde_json::json;

use super::{check_event, check_state};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_that_panics_ends_the_program_with_0_and_says_why,
    with_exit_failure_a_guest_that_panics_ends_the_program_with_1,
    with_pause_a_guest_that_panics_is_stopped_until_cont,
    with_no_shutdown_a_guest_that_panics_is_stopped,
    a_guest_that_has_panicked_can_be_reset,
    with_none_a_guest_that_panics_continues,
    set_action_changes_what_a_panic_does,
    a_crash_kernel_is_reported_and_left_running,
    a_panic_that_stopped_the_machine_is_replayed_to_a_late_subscriber,
    a_kvm_failure_stops_the_machine_and_is_logged_with_registers,
    without_a_monitor_a_kvm_failure_ends_the_program_with_1,
];

/// Waits for a key, reports a panic, waits again, and resets.
const SCRIPT: &str = "await\npanic 1\nawait\nexit reset";

fn start(context: &Context, options: &[&str]) -> Result<(BareMachine, Client), Failure> {
    let mut machine = Plan::new(context, SCRIPT)?.options(options).start()?;
    machine.report("await")?;
    let client = machine.client()?;
    Ok((machine, client))
}

fn panic(machine: &mut BareMachine, client: &Client, action: &str) -> Result<(), Failure> {
    machine.machine.console().type_text("x")?;
    machine.report("panicking")?;
    let event = client.next_event()?;
    check_event(&event, "GUEST_PANICKED", &[("action", json!(action))])
}

fn check_end(client: &Client) -> Result<(), Failure> {
    check_event(&client.next_event()?, "STOP", &[])?;
    let why = [("guest", json!(true)), ("reason", json!("guest-panic"))];
    check_event(&client.next_event()?, "SHUTDOWN", &why)
}

fn a_guest_that_panics_ends_the_program_with_0_and_says_why(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &[])?;
    panic(&mut machine, &client, "poweroff")?;
    check_end(&client)?;
    machine.ends_well()
}

fn with_exit_failure_a_guest_that_panics_ends_the_program_with_1(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=exit-failure"])?;
    panic(&mut machine, &client, "poweroff")?;
    check_end(&client)?;
    Ok(machine.machine.expect_exit(1, SOON)?)
}

/// The guest is stopped before its next step, and takes it only after `cont`.
fn stands_still(machine: &mut BareMachine, client: &Client) -> Result<(), Failure> {
    panic(machine, client, "pause")?;
    check_event(&client.next_event()?, "STOP", &[])?;
    check_state(client, "guest-panicked", "")?;
    let said = machine.machine.serial().text();
    check!(!said.contains("unmoved"), "the guest goes on:\n{said}");
    client.cont()?;
    check_event(&client.next_event()?, "RESUME", &[])?;
    machine.report("unmoved")?;
    machine.machine.console().type_text("x")?;
    let reset = client.next_event()?;
    check_event(&reset, "RESET", &[("reason", json!("guest-reset"))])?;
    client.quit()?;
    machine.ends_well()
}

fn with_pause_a_guest_that_panics_is_stopped_until_cont(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=pause"])?;
    stands_still(&mut machine, &client)
}

fn with_no_shutdown_a_guest_that_panics_is_stopped(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--no-shutdown"])?;
    stands_still(&mut machine, &client)
}

fn a_guest_that_has_panicked_can_be_reset(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=pause"])?;
    for _ in 0..3 {
        panic(&mut machine, &client, "pause")?;
        check_event(&client.next_event()?, "STOP", &[])?;
        client.system_reset()?;
        check_event(&client.next_event()?, "RESET", &[])?;
        check_state(&client, "prelaunch", "")?;
        client.cont()?;
        check_event(&client.next_event()?, "RESUME", &[])?;
        machine.report("await")?;
    }
    client.quit()?;
    machine.ends_well()
}

fn with_none_a_guest_that_panics_continues(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=none"])?;
    panic(&mut machine, &client, "run")?;
    machine.report("unmoved")?;
    check_state(&client, "running", "")?;
    client.quit()?;
    machine.ends_well()
}

fn set_action_changes_what_a_panic_does(context: &Context) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=none"])?;
    let arguments = json!({ "panic": "pause", "reboot": "shutdown" });
    client.execute_with("set-action", arguments)?;
    panic(&mut machine, &client, "pause")?;
    check_event(&client.next_event()?, "STOP", &[])?;
    client.cont()?;
    client.wait_for_event("RESUME")?;
    machine.report("unmoved")?;
    machine.machine.console().type_text("x")?;
    let why = [("guest", json!(true)), ("reason", json!("guest-reset"))];
    check_event(&client.next_event()?, "SHUTDOWN", &why)?;
    machine.ends_well()
}

fn a_crash_kernel_is_reported_and_left_running(context: &Context) -> Result<(), Failure> {
    let script = "await\npanic 2\npanic 0\npanic 4\nawait";
    let mut machine = Plan::new(context, script)?.start()?;
    machine.report("await")?;
    let client = machine.client()?;
    machine.machine.console().type_text("x")?;
    let event = client.next_event()?;
    check_event(&event, "GUEST_CRASHLOADED", &[("action", json!("run"))])?;
    machine.report("await")?;
    check_state(&client, "running", "")?;
    // Other values written to the port report nothing.
    check_eq!(client.take_events()?.len(), 0);
    client.quit()?;
    machine.ends_well()
}

fn a_panic_that_stopped_the_machine_is_replayed_to_a_late_subscriber(
    context: &Context,
) -> Result<(), Failure> {
    let (mut machine, client) = start(context, &["--action", "panic=pause"])?;
    panic(&mut machine, &client, "pause")?;
    client.wait_for_event("STOP")?;
    let initial = || AccessorArguments {
        initial: true,
        ..AccessorArguments::default()
    };
    let late = machine.client()?;
    let object = late.get_guest_panicked_event_with(&initial())?;
    let event = object.recv_timeout(SOON)?;
    check!(event.initial, "{event:?} is no present state");
    check_eq!(event.data.action, GuestPanicAction::Pause);
    client.cont()?;
    client.wait_for_event("RESUME")?;
    let later = late.get_guest_panicked_event_with(&initial())?;
    // Events arrive before the next answer.
    late.query_status()?;
    check!(later.try_recv()?.is_none(), "a panic that is over");
    client.quit()?;
    machine.ends_well()
}

fn a_kvm_failure_stops_the_machine_and_is_logged_with_registers(
    context: &Context,
) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "choose")?.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    machine.machine.console().type_text("l")?;
    check_event(&client.next_event()?, "STOP", &[])?;
    check_state(&client, "internal-error", "")?;
    let refused = client.cont();
    let class = refused.as_ref().err().and_then(libqmp::Error::class);
    check_eq!(class, Some(&ErrorClass::GenericError));
    let deadline = Instant::now() + SOON;
    // The last line; those before it have arrived then.
    machine
        .machine
        .messages()
        .find(0, deadline, |line| line.contains(" idt="))?;
    let messages = machine.machine.messages().text();
    for expected in [
        "vcpu0: ",
        "rip=00000000d0000000",
        "rsp=",
        "cr3=",
        "efer=",
        "cs=",
        "code: none",
    ] {
        check!(
            messages.contains(expected),
            "no '{expected}' in:\n{messages}"
        );
    }
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    check_eq!(client.query_status()?.status, RunState::Prelaunch);
    client.cont()?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn without_a_monitor_a_kvm_failure_ends_the_program_with_1(
    context: &Context,
) -> Result<(), Failure> {
    let mut command = context.command();
    let script = context.path("script");
    std::fs::write(&script, "exit lost")?;
    command
        .arg("--kernel")
        .arg(context.bare_guest())
        .arg("--initrd")
        .arg(script);
    command.args(["--append", "acpi=off", "-m", "48M", "--serial", "stdio"]);
    let mut machine = context.start(&mut command)?;
    machine.expect_exit(1, SOON)?;
    let messages = machine.messages().text();
    check!(
        messages.contains("the guest cannot go on: vcpu0: "),
        "{messages}"
    );
    Ok(())
}
