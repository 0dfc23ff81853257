//! The ways in which a guest ends and restarts.

use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check_eq, tests};
use libqmp::{RunState, StatusInfo};
use serde_json::json;

use super::check_event;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_guest_that_switches_itself_off_ends_the_program_with_0,
    a_reset_starts_the_guest_again,
    a_triple_fault_starts_the_guest_again,
    with_no_reboot_a_reset_ends_the_program_with_0,
    with_no_reboot_a_triple_fault_ends_the_program_with_0,
    with_no_shutdown_a_guest_that_is_off_can_be_reset,
    a_machine_that_starts_stopped_runs_its_guest_at_cont,
    quit_ends_a_guest_that_spins,
];

fn a_guest_that_switches_itself_off_ends_the_program_with_0(
    context: &Context,
) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "choose")?.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    machine.machine.console().type_text("o")?;
    let event = client.next_event()?;
    check_event(
        &event,
        "SHUTDOWN",
        &[("guest", json!(true)), ("reason", json!("guest-shutdown"))],
    )?;
    machine.ends_well()
}

fn starts_again(context: &Context, key: &str) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "choose")?.start()?;
    machine.report("choose")?;
    let client = machine.client()?;
    for _ in 0..3 {
        machine.machine.console().type_text(key)?;
        let event = client.next_event()?;
        check_event(
            &event,
            "RESET",
            &[("guest", json!(true)), ("reason", json!("guest-reset"))],
        )?;
        machine.report("start")?;
        machine.report("choose")?;
    }
    machine.machine.console().type_text("o")?;
    machine.ends_well()
}

fn a_reset_starts_the_guest_again(context: &Context) -> Result<(), Failure> {
    starts_again(context, "r")
}

fn a_triple_fault_starts_the_guest_again(context: &Context) -> Result<(), Failure> {
    starts_again(context, "f")
}

fn ends_once(context: &Context, script: &str) -> Result<(), Failure> {
    let plan = Plan::new(context, script)?.options(&["--no-reboot"]);
    let mut machine = plan.start()?;
    machine.ends_well()?;
    machine
        .machine
        .serial()
        .wait_for_end(std::time::Instant::now() + SOON)?;
    let starts = machine
        .machine
        .serial()
        .text()
        .matches("start disks=")
        .count();
    check_eq!(starts, 1);
    Ok(())
}

fn with_no_reboot_a_reset_ends_the_program_with_0(context: &Context) -> Result<(), Failure> {
    ends_once(context, "exit reset")
}

fn with_no_reboot_a_triple_fault_ends_the_program_with_0(context: &Context) -> Result<(), Failure> {
    ends_once(context, "exit fault")
}

fn stopped(status: RunState) -> StatusInfo {
    StatusInfo {
        running: false,
        status,
    }
}

fn with_no_shutdown_a_guest_that_is_off_can_be_reset(context: &Context) -> Result<(), Failure> {
    let plan = Plan::new(context, "choose")?.options(&["--no-shutdown"]);
    let mut machine = plan.start()?;
    let client = machine.client()?;
    machine.report("choose")?;
    machine.machine.console().type_text("o")?;
    client.wait_for_event("SHUTDOWN")?;
    client.wait_for_event("STOP")?;
    check_eq!(client.query_status()?, stopped(RunState::Shutdown));
    client.system_reset()?;
    client.wait_for_event("RESET")?;
    client.cont()?;
    machine.report("start")?;
    client.quit()?;
    machine.ends_well()
}

fn a_machine_that_starts_stopped_runs_its_guest_at_cont(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "spin")?.options(&["-S"]).start()?;
    let client = machine.client()?;
    check_eq!(client.query_status()?, stopped(RunState::Prelaunch));
    check_eq!(machine.machine.serial().text(), "");
    client.cont()?;
    client.wait_for_event("RESUME")?;
    machine.report("spin")?;
    client.quit()?;
    machine.ends_well()
}

fn quit_ends_a_guest_that_spins(context: &Context) -> Result<(), Failure> {
    let mut machine = Plan::new(context, "spin")?.start()?;
    machine.report("spin")?;
    let client = machine.client()?;
    client.quit()?;
    check_event(
        &client.next_event()?,
        "SHUTDOWN",
        &[("guest", json!(false)), ("reason", json!("host-qmp-quit"))],
    )?;
    machine.ends_well()
}
