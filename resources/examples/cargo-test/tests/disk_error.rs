//! A guest's reaction to a failing disk. The README says how to run it.

use std::error::Error;
use std::time::Duration;

use faultvisor_harness::libqmp::{BlockFaultErrnoName, IoOperationType};
use faultvisor_harness::{Disk, Machine, fault};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn a_read_that_fails_is_told() -> Result<(), Box<dyn Error>> {
    let mut machine = Machine::builder("../../../target/guest/vmlinux")
        .initrd("../../../target/guest/initramfs.cpio")
        .append("console=ttyS0 quiet panic=-1 reboot=t")
        .disk(Disk::scratch(64 << 20).id("disk0"))
        .from_environment()
        .start()?;
    machine.console().wait_for("A disk is /dev/vda", SOON)?;

    let errors = machine.qmp().get_block_io_error_event()?;
    let rule = fault::error("disk0", BlockFaultErrnoName::Eio);
    machine.qmp().block_fault_add(&rule)?;
    machine.console().type_line("head -c 512 /dev/vda")?;

    let error = errors.recv_timeout(SOON)?;
    assert_eq!(error.operation, IoOperationType::Read);
    assert_eq!(error.reason, "Input/output error");
    machine.quit()?;
    Ok(())
}
