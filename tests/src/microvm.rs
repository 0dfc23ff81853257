//! QEMU's microvm with the bare-metal guest of `resources/guests/bare`, for comparison with Faultvisor.

use std::path::Path;
use std::process::Command;

/// The minimal machine; without ACPI, it announces its disks on the kernel's command line.
const MACHINE: &str = "microvm,acpi=off,x-option-roms=off,pit=off,pic=off,rtc=off,isa-serial=on,auto-kernel-cmdline=on";

/// The name of the vCPU's thread.
pub const VCPU_THREAD: &str = "CPU 0/KVM";

/// A microvm without a disk, on emulated CPUs, that boots `kernel`, with its console on stdio.
pub fn emulated(qemu: &Path, kernel: &Path, initrd: &Path, memory_mib: u32) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-M", MACHINE, "-accel", "tcg"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-serial", "stdio", "-m", &memory_mib.to_string()]);
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
    command.arg("-kernel").arg(kernel);
    command.arg("-initrd").arg(initrd);
    command
}

/// A microvm that boots `kernel`, with its console on stdio, and one disk with a thread of its own; `options` follow
/// the image, as in `cache=none,aio=io_uring`. It ends, with status 0, when the guest resets the machine.
pub fn command(
    qemu: &Path,
    kernel: &Path,
    initrd: &Path,
    memory_mib: u32,
    (image, options): (&Path, &str),
) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-M", MACHINE, "-accel", "kvm"]);
    // A KVM without hardware virtualization offers that register, but refuses to set it.
    command.args(["-cpu", "host,-arch-capabilities"]);
    command.args(["-nodefaults", "-no-user-config", "-display", "none"]);
    command.args(["-serial", "stdio", "-no-reboot"]);
    command.args(["-name", "microvm,debug-threads=on"]);
    command.args(["-m", &memory_mib.to_string()]);
    command.args(["-global", "virtio-mmio.force-legacy=false"]);
    command.args(["-object", "iothread,id=io0", "-drive"]);
    command.arg(format!(
        "if=none,id=disk0,file={},format=raw,{options}",
        image.display()
    ));
    command.args(["-device", "virtio-blk-device,drive=disk0,iothread=io0"]);
    command.arg("-kernel").arg(kernel);
    command.arg("-initrd").arg(initrd);
    command
}
