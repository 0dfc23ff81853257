//! Which of a guest's writes survive a power cut. The README says how to run it.

use std::error::Error;
use std::time::Duration;

use faultvisor_harness::libqmp::{BlockFaultOperation, BlockPowerCutThen};
use faultvisor_harness::{Disk, Machine, fault};

const SOON: Duration = Duration::from_secs(60);

#[test]
fn what_was_flushed_is_there_after_a_power_cut_and_the_rest_is_not() -> Result<(), Box<dyn Error>> {
    // Without a volatile cache nothing is lost.
    let disk = Disk::scratch(64 << 20).volatile("disk0");
    let power_cut = fault::power_cut(&disk)
        .before(BlockFaultOperation::Flush)
        .then(BlockPowerCutThen::Quit)
        .rule();
    let mut machine = Machine::builder("../../../target/guest/vmlinux")
        .initrd("../../../target/guest/initramfs.cpio")
        .append("console=ttyS0 quiet panic=-1 reboot=t")
        .disk(disk)
        .from_environment()
        .start()?;
    machine.console().wait_for("A disk is /dev/vda", SOON)?;

    // The console echoes the command, so it must not contain the answer.
    let first = "echo kept | dd of=/dev/vda conv=fsync && echo the first is' 'durable";
    machine.console().type_line(first)?;
    machine.console().wait_for("the first is durable", SOON)?;
    machine.qmp().block_fault_add(&power_cut)?;
    machine
        .console()
        .type_line("echo lost | dd of=/dev/vda seek=16 conv=fsync")?;
    machine.expect_exit(0, SOON)?;

    let image = std::fs::read(machine.image("disk0").ok_or("no image")?)?;
    assert_ne!(image[..512], [0; 512], "what was flushed is lost");
    assert_eq!(
        image[16 * 512..][..512],
        [0; 512],
        "what was not flushed is there"
    );
    Ok(())
}
