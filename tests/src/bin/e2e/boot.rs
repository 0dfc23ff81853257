//! From the command line to init, and to a clean end.

use std::path::Path;

use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, guest_shell, tests};
use serde_json::json;

use crate::linux;

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    a_vmlinux_boots_to_init_and_shuts_down_cleanly,
    a_bzimage_boots_to_init_and_shuts_down_cleanly,
];

fn a_vmlinux_boots_to_init_and_shuts_down_cleanly(context: &Context) -> Result<(), Failure> {
    boots_and_shuts_down(context, &context.guest().vmlinux())
}

fn a_bzimage_boots_to_init_and_shuts_down_cleanly(context: &Context) -> Result<(), Failure> {
    boots_and_shuts_down(context, &context.guest().bzimage())
}

fn boots_and_shuts_down(context: &Context, kernel: &Path) -> Result<(), Failure> {
    let mut command = linux::command_for(context, kernel, &guest_shell::script())?;
    command.args(["--name", "a guest"]);
    let (mut guest, client) = linux::boot(context, &mut command)?;
    // It is the guest that was asked for, on the machine that was asked for.
    let command_line = guest.run("cat /proc/cmdline")?;
    check!(
        command_line.contains(guest_shell::APPEND),
        "the kernel's command line is '{command_line}'"
    );
    check_eq!(guest.run("nproc")?, "1");
    guest.run("dmesg | grep -q 'Hypervisor detected: KVM'")?;
    check_eq!(client.run_state()?, "running");
    let name = client.execute("query-name")?;
    check_eq!(name, json!({ "name": "a guest" }));

    guest.power_off()?;
    let shutdown = client.expect("SHUTDOWN")?;
    check_eq!(
        shutdown,
        json!({ "guest": true, "reason": "guest-shutdown" })
    );
    guest.expect_exit(0)?;
    // Nothing was wrong on the way.
    check_eq!(guest.machine().messages().text(), "");
    Ok(())
}
