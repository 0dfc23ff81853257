//! Clients: ours, and independent ones: QEMU's Python library, and the `qapi` crate.

mod libqmp;
mod qapi_crate;
mod qmp_program;
mod qmp_shell;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use faultvisor_harness::child::Guarded;
use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::{image, limit_file_size};
use libqmp::{
    pythons_cffi_reads_the_librarys_header, the_c_library_drives_faultvisor_and_qemu,
    the_typed_client_drives_qemu, the_typed_client_drives_the_exchange,
};
use qapi_crate::the_qapi_crate_drives_the_exchange;
use qmp_program::{
    qmp_adds_a_fault_and_sees_its_error, qmp_refuses_and_suggests_on_qemu,
    qmp_scripts_and_watches_qemu,
};
use qmp_shell::qemus_shell_completes_and_executes_commands;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    qemus_python_library_drives_the_exchange,
    qemus_python_library_switches_out_of_band_on_and_uses_it,
    pythons_cffi_reads_the_librarys_header,
    qemus_shell_completes_and_executes_commands,
    the_qapi_crate_drives_the_exchange,
    qmp_adds_a_fault_and_sees_its_error,
    qmp_refuses_and_suggests_on_qemu,
    qmp_scripts_and_watches_qemu,
    the_c_library_drives_faultvisor_and_qemu,
    the_typed_client_drives_qemu,
    the_typed_client_drives_the_exchange,
];

/// A machine that has not started, and whose guest's only request, a write, fails at each submission and stops the
/// machine.
fn failing(context: &Context) -> Result<BareMachine, Failure> {
    let disk: PathBuf = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, "setup 0\nwrite 0 100 8 7\nspin")?.options(&["-S"]);
    let machine = plan.disk(&disk, "id=d0,werror=stop").start()?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    Ok(machine)
}

/// A Python with QEMU's library.
fn python(context: &Context) -> Result<&Path, Failure> {
    context
        .python()
        .ok_or_else(|| Failure::skip("no Python with qemu.qmp"))
}

/// Runs a Python script on a machine's monitor until both have ended successfully.
fn runs_to_the_end(
    context: &Context,
    machine: &mut BareMachine,
    script: &str,
) -> Result<(), Failure> {
    let file = context.path("client.py");
    std::fs::write(&file, script)?;
    // Wait for the listener: the client does not retry.
    drop(machine.client()?);
    let errors = context.path("errors");
    let mut command = Command::new(python(context)?);
    command.arg(&file).arg(machine.socket());
    command.stderr(std::fs::File::create(&errors)?);
    let mut client = Guarded::spawn(&mut command)?;
    let status = client.wait_until(Instant::now() + SOON)?;
    check!(
        status.is_some_and(|status| status.success()),
        "the client ended with {status:?}: {}",
        std::fs::read_to_string(&errors)?
    );
    machine.ends_well()
}

fn qemus_python_library_drives_the_exchange(context: &Context) -> Result<(), Failure> {
    python(context)?;
    let mut machine = failing(context)?;
    runs_to_the_end(context, &mut machine, include_str!("exchange.py"))?;
    check_eq!(machine.machine.serial().text().matches(" done ").count(), 0);
    Ok(())
}

fn qemus_python_library_switches_out_of_band_on_and_uses_it(
    context: &Context,
) -> Result<(), Failure> {
    python(context)?;
    let mut machine = Plan::new(context, "spin")?.options(&["-S"]).start()?;
    runs_to_the_end(context, &mut machine, include_str!("out_of_band.py"))
}
