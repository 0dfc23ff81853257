//! The crate for users' tests, with a guest that runs on any KVM.

use std::fs;
use std::time::{Duration, Instant};

use faultvisor_harness::{Builder, Disk, Error, Machine, NoLine, fault};
use faultvisor_tests::bare::{SOON, content};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use libqmp::{
    BlockFaultActionType, BlockFaultErrnoName, BlockFaultOperation, BlockFaultReleaseArguments,
    BlockFaultRule, IoOperationType, RunState,
};
use rustix::process::{Pid, Signal, kill_process};

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    rules_hold_from_the_first_request_of_a_guest_that_starts_paused,
    each_rule_of_the_harness_is_applied,
    what_a_guest_writes_is_in_the_image_of_its_scratch_disk,
    a_killed_machine_ends_all_waits,
    an_invalid_option_is_reported_at_once,
];

fn machine(context: &Context, script: &str) -> Result<Builder, Failure> {
    let initrd = context.path("script");
    fs::write(&initrd, script)?;
    let builder = Machine::builder(context.bare_guest()).program(context.program());
    let builder = builder.initrd(initrd).append("acpi=off").memory("48M");
    Ok(builder.timeout(SOON))
}

fn rules_hold_from_the_first_request_of_a_guest_that_starts_paused(
    context: &Context,
) -> Result<(), Failure> {
    let builder = machine(context, "setup 0\nwrite 0 8 8 5\nwrite 0 8 8 5\nspin")?;
    let disk = Disk::scratch(1 << 20).id("data").option("werror", "report");
    let mut machine = builder.disk(disk).paused().start()?;
    check_eq!(machine.qmp().query_status()?.status, RunState::Prelaunch);
    let errors = machine.qmp().get_block_io_error_event()?;
    let first = BlockFaultRule {
        count: Some(1),
        ..fault::error("data", BlockFaultErrnoName::Enospc)
    };
    machine.qmp().block_fault_add(&first)?;
    machine.qmp().cont()?;
    let error = errors.recv_timeout(SOON)?;
    check_eq!(error.device, "data");
    check_eq!(error.operation, IoOperationType::Write);
    check_eq!(error.nospace, Some(true));
    let failed = machine.console().wait_for_line(" done ", SOON)?;
    check!(failed.text.contains("ok=0 ioerr=1"), "{}", failed.text);
    let done = machine.console().wait_for_line(" done ", SOON)?;
    check!(done.text.contains("ok=1 ioerr=0"), "{}", done.text);
    check_eq!(errors.try_recv()?, None);
    Ok(machine.quit()?)
}

fn each_rule_of_the_harness_is_applied(context: &Context) -> Result<(), Failure> {
    let steps = "await\nwrite 0 8 8 5\n".repeat(5);
    let builder = machine(context, &format!("setup 0\n{steps}"))?;
    let disk = Disk::scratch(1 << 20).option("werror", "report");
    let disk = disk.volatile("disk0");
    let power_cut = fault::power_cut(&disk).rule();
    let mut machine = builder.disk(disk).arg("--no-reboot").start()?;
    let faults = machine.qmp().get_block_fault_injected_event()?;
    let delay = Duration::from_millis(30);
    let rules = [
        (fault::error("disk0", BlockFaultErrnoName::Eio), "ioerr=1"),
        (fault::drop("disk0"), "ok=1"),
        (fault::delay("disk0", delay), "ok=1"),
    ];
    for (rule, outcome) in rules {
        machine.qmp().block_fault_add(&rule)?;
        machine.console().wait_for_line(" await", SOON)?;
        let started = Instant::now();
        machine.console().type_text("c")?;
        let fired = faults.recv_timeout(SOON)?;
        check_eq!(fired.operation, BlockFaultOperation::Write);
        let done = machine.console().wait_for_line(" done ", SOON)?;
        check!(done.text.contains(outcome), "{rule:?}: {}", done.text);
        if fired.action == BlockFaultActionType::Delay {
            check!(done.at - started >= delay, "it was not delayed");
        }
        machine.qmp().block_fault_clear(&Default::default())?;
    }
    machine.qmp().block_fault_add(&fault::hang("disk0"))?;
    machine.console().type_text("c")?;
    check_eq!(
        faults.recv_timeout(SOON)?.action,
        BlockFaultActionType::Hang
    );
    let hanging = machine.qmp().query_block_faults()?;
    check_eq!(hanging[0].hanging.len(), 1);
    machine.qmp().block_fault_clear(&Default::default())?;
    machine
        .qmp()
        .block_fault_release(&BlockFaultReleaseArguments::new("disk0".to_owned()))?;
    machine.console().wait_for_line(" done ", SOON)?;
    machine.qmp().block_fault_add(&power_cut)?;
    machine.console().type_text("c")?;
    // Power returns by a reset, which ends the machine here.
    Ok(machine.expect_exit(0, SOON)?)
}

fn what_a_guest_writes_is_in_the_image_of_its_scratch_disk(
    context: &Context,
) -> Result<(), Failure> {
    let builder = machine(context, "setup 1\nwrite 1 8 8 5\nflush 1\nexit off")?;
    let disks = builder.disk(Disk::scratch(1 << 20));
    let mut machine = disks.disk(Disk::scratch(8192).id("small")).start()?;
    machine.expect_exit(0, SOON)?;
    check_eq!(machine.image("none"), None);
    let path = machine.image("small").map(std::path::Path::to_path_buf);
    let path = path.ok_or_else(|| Failure::new("no image 'small'"))?;
    let written = fs::read(&path)?;
    check!(
        written == [vec![0; 4096], content(5, 8, 8)].concat(),
        "other bytes"
    );
    drop(machine);
    check!(!path.exists(), "a scratch disk outlives its machine");
    Ok(())
}

fn a_killed_machine_ends_all_waits(context: &Context) -> Result<(), Failure> {
    let mut machine = machine(context, "print up\nspin")?.start()?;
    machine.console().wait_for_line("up", SOON)?;
    let events = machine.qmp().get_shutdown_event()?;
    let pid = i32::try_from(machine.id()).ok().and_then(Pid::from_raw);
    kill_process(pid.ok_or_else(|| Failure::new("no pid"))?, Signal::KILL)?;
    let started = Instant::now();
    let error = events.recv_timeout(SOON);
    check!(
        matches!(error, Err(libqmp::Error::Closed { .. })),
        "{error:?}"
    );
    let error = machine.console().wait_for("more", SOON);
    let ended = matches!(&error, Err(Error::NoText { why: NoLine::Ended, said, .. }) if said.console.contains("up"));
    check!(ended, "{error:?}");
    let error = machine.expect_exit(0, SOON);
    check!(matches!(error, Err(Error::Status { .. })), "{error:?}");
    check!(started.elapsed() < SOON, "somebody has waited");
    Ok(())
}

fn an_invalid_option_is_reported_at_once(context: &Context) -> Result<(), Failure> {
    let builder = machine(context, "spin")?.arg("--smp").arg("none");
    let Err(Error::EndedEarly { said, .. }) = builder.start() else {
        return Err(Failure::new("it started"));
    };
    check!(said.stderr.contains("smp"), "{said}");
    Ok(())
}
