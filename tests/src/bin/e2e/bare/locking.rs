//! Locks keep two programs from writing one image by accident.

use std::path::Path;
use std::process::{Command, Stdio};

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::client::Client;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, tests, tool};

use super::image;
use crate::wrong_use::check_refused;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    an_image_that_a_machine_writes_is_refused_to_another,
    machines_that_only_read_an_image_share_it,
    an_image_without_locking_is_shared,
    two_drives_of_one_machine_do_not_write_one_image,
    qemu_refuses_an_image_that_a_machine_writes,
    an_image_is_locked_where_there_is_no_proc,
];

/// A machine that has the image and waits.
fn holder(context: &Context, disk: &Path, options: &str) -> Result<BareMachine, Failure> {
    let plan = Plan::new(context, "setup 0\nchoose\nexit off")?;
    let mut machine = plan.disk(disk, options).start()?;
    machine.report("choose")?;
    Ok(machine)
}

/// Another machine's command line with the same image.
fn other(context: &Context, disk: &Path, options: &str) -> Command {
    let mut command = context.command();
    command.arg("--kernel").arg(context.bare_guest());
    command.args(["-S", "--serial", "null", "--drive"]);
    command.arg(format!("file={},format=raw{options}", disk.display()));
    command
}

fn check_in_use(context: &Context, disk: &Path, options: &str) -> Result<(), Failure> {
    check_refused(
        &mut other(context, disk, options),
        &format!(
            "drive 'd1': image '{}' is in use by another process or drive",
            disk.display()
        ),
    )
}

/// Another machine starts with the image, and ends on request.
fn check_shared(context: &Context, disk: &Path, options: &str) -> Result<(), Failure> {
    let mut command = other(context, disk, options);
    let socket = context.path("other");
    command.args(["--qmp", &format!("unix:{}", socket.display())]);
    let mut machine = context.start(&mut command)?;
    Client::connect(&socket, SOON)?.quit()?;
    Ok(machine.expect_exit(0, SOON)?)
}

fn end(mut machine: BareMachine) -> Result<(), Failure> {
    machine.machine.console().type_text("c")?;
    machine.ends_well()
}

fn an_image_that_a_machine_writes_is_refused_to_another(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let machine = holder(context, &disk, "id=d0")?;
    for options in ["", ",readonly=on", ",file.locking=on"] {
        check_in_use(context, &disk, &format!(",id=d1{options}"))?;
    }
    end(machine)?;
    check_shared(context, &disk, ",id=d1")
}

fn machines_that_only_read_an_image_share_it(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let machine = holder(context, &disk, "id=d0,readonly=on")?;
    check_shared(context, &disk, ",id=d1,readonly=on")?;
    check_in_use(context, &disk, ",id=d1")?;
    end(machine)
}

fn an_image_without_locking_is_shared(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let machine = holder(context, &disk, "id=d0")?;
    check_shared(context, &disk, ",id=d1,file.locking=off")?;
    end(machine)
}

fn two_drives_of_one_machine_do_not_write_one_image(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let mut command = other(context, &disk, ",id=d0");
    command.arg("--drive");
    command.arg(format!("file={},format=raw,id=d1", disk.display()));
    check_refused(
        &mut command,
        &format!(
            "drive 'd1': image '{}' is in use by another process or drive",
            disk.display()
        ),
    )
}

fn qemu_refuses_an_image_that_a_machine_writes(context: &Context) -> Result<(), Failure> {
    let disk = image(context, "disk", 1, 8)?;
    let machine = holder(context, &disk, "id=d0")?;
    let write = || {
        let mut command = Command::new("qemu-io");
        command
            .args(["-f", "raw", "-c", "write 0 512"])
            .arg(&disk)
            .stdin(Stdio::null());
        command
            .output()
            .map_err(|_| Failure::skip("qemu-io is not installed"))
    };
    let refused = write()?;
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    check!(
        !refused.status.success() && message.contains("Failed to get \"write\" lock"),
        "qemu-io says: {message}"
    );
    end(machine)?;
    check!(write()?.status.success(), "the image is still locked");
    Ok(())
}

/// A machine without a mounted /proc, as in many chroots.
fn an_image_is_locked_where_there_is_no_proc(context: &Context) -> Result<(), Failure> {
    const NAMESPACE: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    let unshare = || tool::command("unshare");
    let possible = unshare()?
        .args(NAMESPACE)
        .args(["mount", "-t", "tmpfs", "proc", "/proc"])
        .stderr(Stdio::null())
        .status()?;
    if !possible.success() {
        return Err(Failure::skip("user namespaces are not permitted here"));
    }
    let disk = image(context, "disk", 1, 8)?;
    let machine = holder(context, &disk, "id=d0")?;
    for options in ["", ",cache=none"] {
        let refused = other(context, &disk, &format!(",id=d1{options}"));
        let mut command = unshare()?;
        let script = "mount -t tmpfs proc /proc && exec \"$0\" \"$@\"";
        command.args(NAMESPACE).args(["sh", "-c", script]);
        command.arg(refused.get_program()).args(refused.get_args());
        check_refused(
            &mut command,
            &format!(
                "drive 'd1': image '{}' is in use by another process or drive",
                disk.display()
            ),
        )?;
    }
    end(machine)
}
