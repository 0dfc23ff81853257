//! The tests' place is what it was declared to be.

use std::fs::{self, File};

use faultvisor_tests::guest::Script;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::suite::{Context, Failure, Needs, Test};
use faultvisor_tests::{check, check_eq, tests};

pub const TESTS: &[Test] = tests![
    Needs::Linux;
    the_kvm_device_opens_and_runs_linux,
    all_guest_images_exist,
];

fn the_kvm_device_opens_and_runs_linux(_: &Context) -> Result<(), Failure> {
    File::options().read(true).write(true).open("/dev/kvm")?;
    check_eq!(Kvm::probe(), Kvm::Direct);
    let flags = fs::read_to_string("/proc/cpuinfo")?;
    check!(
        flags
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm"),
        "a KVM that runs Linux, on a CPU with neither vmx nor svm"
    );
    Ok(())
}

fn all_guest_images_exist(context: &Context) -> Result<(), Failure> {
    let images = context.guest();
    check!(
        fs::read(images.vmlinux())?.starts_with(b"\x7fELF"),
        "vmlinux is not an ELF image"
    );
    check_eq!(fs::read(images.bzimage())?[0x202..0x206], *b"HdrS");
    let base = fs::metadata(images.initramfs())?.len();
    let with_script = fs::metadata(context.initramfs(&Script::new("true"))?)?.len();
    check!(with_script > base, "a script adds nothing to the initramfs");
    Ok(())
}
