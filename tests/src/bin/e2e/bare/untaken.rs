//! Disks without a driver: reported once, at the guest's end, and no other disk is.

use faultvisor_tests::bare::{Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};
use rustix::process::{Pid, Signal, kill_process};

use super::image;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    a_disk_without_a_driver_is_reported_when_the_guest_ends,
    ending_a_guest_by_hand_reports_disks_without_a_driver,
    a_disk_with_a_driver_is_not_reported,
    an_early_quit_does_not_report_disks_without_a_driver,
];

/// The requirements of a kernel that learns of its disks from its command line.
const NEEDED: &str = "a Linux kernel needs CONFIG_VIRTIO_BLK, CONFIG_VIRTIO_MMIO and CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES";

/// Runs a guest with two disks to its end, and returns the lines about disks without a driver.
fn lines(context: &Context, script: &str, options: &[&str]) -> Result<Vec<String>, Failure> {
    let plan = Plan::new(context, script)?.options(options);
    let plan = plan.disk(&image(context, "a", 1, 8)?, "id=d0");
    let mut machine = plan.disk(&image(context, "b", 1, 8)?, "id=d1").start()?;
    machine.ends_well()?;
    let deadline = machine.machine.started() + SOON;
    let text = machine.machine.messages().wait_for_end(deadline);
    let text = text.map_err(|_| Failure::new("the log does not end"))?;
    let about = text
        .lines()
        .filter(|line| line.contains("no driver ever took"));
    Ok(about.map(str::to_owned).collect())
}

fn a_disk_without_a_driver_is_reported_when_the_guest_ends(
    context: &Context,
) -> Result<(), Failure> {
    for (script, options) in [
        ("exit off", [].as_slice()),
        ("panic 1\nspin", &[]),
        ("exit reset", &["--no-reboot"]),
    ] {
        let lines = lines(context, script, options)?;
        let expected = format!("no driver ever took disks 'd0', 'd1': {NEEDED}");
        let named = lines.iter().filter(|line| line.contains(&expected)).count();
        check_eq!((lines.len(), named), (1, 1));
    }
    let one = lines(context, "setup 0\nexit off", &[])?;
    let expected = format!("no driver ever took disk 'd1': {NEEDED}");
    check_eq!(
        one.iter().filter(|line| line.contains(&expected)).count(),
        1
    );
    Ok(())
}

fn ending_a_guest_by_hand_reports_disks_without_a_driver(context: &Context) -> Result<(), Failure> {
    for by_key in [true, false] {
        let plan = Plan::new(context, "choose\nspin")?;
        let mut machine = plan.disk(&image(context, "a", 1, 8)?, "id=d0").start()?;
        machine.report("choose")?;
        if by_key {
            machine.machine.console().type_text("\x01x")?;
        } else {
            let pid = i32::try_from(machine.machine.id())
                .ok()
                .and_then(Pid::from_raw);
            let pid = pid.ok_or_else(|| Failure::new("no pid"))?;
            kill_process(pid, Signal::TERM)?;
        }
        machine.ends_well()?;
        let deadline = machine.machine.started() + SOON;
        let text = machine.machine.messages().wait_for_end(deadline);
        let text = text.map_err(|_| Failure::new("the log does not end"))?;
        check!(text.contains("no driver ever took disk 'd0'"), "{text}");
    }
    Ok(())
}

fn a_disk_with_a_driver_is_not_reported(context: &Context) -> Result<(), Failure> {
    let none: [String; 0] = [];
    check_eq!(lines(context, "setup 0\nsetup 1\nexit off", &[])?, none);
    Ok(())
}

fn an_early_quit_does_not_report_disks_without_a_driver(context: &Context) -> Result<(), Failure> {
    let plan = Plan::new(context, "choose\nspin")?;
    let mut machine = plan.disk(&image(context, "a", 1, 8)?, "id=d0").start()?;
    machine.report("choose")?;
    machine.client()?.quit()?;
    machine.ends_well()?;
    check_eq!(machine.machine.messages().text(), "");
    Ok(())
}
