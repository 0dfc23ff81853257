//! The lab, with what the tests' runs add to it.

use faultvisor_harness::cache::artifact::ArtifactError;
use faultvisor_harness::lab;

use crate::guest::{self, GuestImages, Tools};
use crate::packages::{self, InstallError};
use crate::workspace::Workspace;

pub use faultvisor_harness::lab::{
    Images, LabError, Outcome, Payload, RunError, SCRATCH, ScratchDisk, Settings,
};

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// QEMU cannot be installed.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Its images cannot be made.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// Builds what is missing or out of date under `target/lab-images/`, and installs QEMU.
pub fn build(workspace: &Workspace, note: &dyn Fn(&str)) -> Result<Images, BuildError> {
    packages::ensure_installed(&[packages::QEMU], note)?;
    let cache = guest::cache(workspace);
    Ok(lab::build(&cache, workspace.lab_directory(), note)?)
}

/// Adds the guest's kernel and initramfs, and returns their paths in the lab.
pub fn add_guest(
    payload: &mut Payload,
    images: &GuestImages,
) -> Result<GuestImages, ArtifactError> {
    let inside = GuestImages::at("/payload/guest");
    let pairs = [
        (inside.bzimage(), images.bzimage()),
        (inside.vmlinux(), images.vmlinux()),
        (inside.initramfs(), images.initramfs()),
        (
            inside.tools(Tools::E2fsprogs),
            images.tools(Tools::E2fsprogs),
        ),
    ];
    for (to, from) in pairs {
        payload.copy(&to.to_string_lossy(), &from)?;
    }
    Ok(inside)
}

/// Adds the optional programs for guests that exist, beside [`add_guest`].
pub fn add_optional_tools(
    payload: &mut Payload,
    images: &GuestImages,
    inside: &GuestImages,
) -> Result<(), ArtifactError> {
    for tools in Tools::OPTIONAL {
        let source = images.tools(tools);
        if source.exists() {
            payload.copy(&inside.tools(tools).to_string_lossy(), &source)?;
        }
    }
    Ok(())
}
