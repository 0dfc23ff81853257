//! `cargo xtask guest`: builds a guest to boot.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use faultvisor_tests::build;
use faultvisor_tests::guest;
use faultvisor_tests::host::Kvm;
use faultvisor_tests::workspace::Workspace;

use crate::console;

/// Builds the images and prints the command line that boots them.
pub fn perform(workspace: &Workspace) -> Result<ExitCode, Box<dyn Error>> {
    let images = guest::build(workspace, &console::note)?;
    let agent = build::guest(workspace, build::Guest::Agent)?;
    guest::build_programs(&images, &agent, &console::note)?;
    let shown = |path: &Path| {
        path.strip_prefix(workspace.root())
            .unwrap_or(path)
            .display()
            .to_string()
    };
    for path in [
        images.bzimage(),
        images.vmlinux(),
        images.initramfs(),
        images.programs(),
        images.disk(),
        agent,
    ] {
        console::line(&shown(&path));
    }
    let kvm = Kvm::probe();
    if !kvm.runs_linux() {
        console::note(&format!(
            "{kvm}: the command below is for one whose KVM does"
        ));
    }
    console::line(&format!(
        "\ntarget/release/faultvisor --kernel {} --initrd {} \\\n    \
         --append \"console=ttyS0 reboot=t panic=-1 quiet\" -m 256M --no-reboot --serial stdio \\\n    \
         --drive file={},format=raw,id=disk0",
        shown(&images.vmlinux()),
        shown(&images.initramfs()),
        shown(&images.disk()),
    ));
    Ok(ExitCode::SUCCESS)
}
