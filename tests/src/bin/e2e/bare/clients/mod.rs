//! Clients that nobody here wrote: QEMU's Python library, and the `qapi` crate.

mod qapi_crate;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use faultvisor_tests::bare::{BareMachine, Plan, SOON};
use faultvisor_tests::child::Guarded;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

use super::{image, limit_file_size};
use qapi_crate::the_qapi_crate_drives_the_exchange;

pub const TESTS: &[Test] = tests![
    Needs::Kvm;
    qemus_python_library_drives_the_exchange,
    the_qapi_crate_drives_the_exchange,
];

/// A machine that has not started yet, and whose guest's only request, a write, fails each time it is submitted and
/// stops the machine.
fn failing(context: &Context) -> Result<BareMachine, Failure> {
    let disk: PathBuf = image(context, "disk", 1, 256)?;
    let plan = Plan::new(context, "setup 0\nwrite 0 100 8 7\nspin")?.options(&["-S"]);
    let machine = plan.disk(&disk, "id=d0,werror=stop").start()?;
    limit_file_size(&machine.machine, Some(50 * 512))?;
    Ok(machine)
}

fn qemus_python_library_drives_the_exchange(context: &Context) -> Result<(), Failure> {
    let python = context
        .python()
        .ok_or_else(|| Failure::skip("no Python with qemu.qmp"))?;
    let script = context.path("exchange.py");
    std::fs::write(&script, include_str!("exchange.py"))?;
    let mut machine = failing(context)?;
    // Listening, before somebody connects who does not try again.
    drop(machine.client()?);
    let errors = context.path("errors");
    let mut command = Command::new(python);
    command.arg(&script).arg(machine.socket());
    command.stderr(std::fs::File::create(&errors)?);
    let mut client = Guarded::spawn(&mut command)?;
    let status = client.wait_until(Instant::now() + SOON)?;
    check!(
        status.is_some_and(|status| status.success()),
        "the client ended with {status:?}: {}",
        std::fs::read_to_string(&errors)?
    );
    machine.ends_well()?;
    check_eq!(machine.machine.serial().text().matches(" done ").count(), 0);
    Ok(())
}
