//! The lab: a nested host emulated in software, for machines whose own KVM cannot run Linux.
//!
//! QEMU's TCG emulates AMD's SVM with nested paging, so that a stock Linux in it has a real /dev/kvm. A [`Payload`] is
//! what a run adds; [`Images::run`] boots the lab, runs the payload's script in it, and passes on each line of its
//! console as it arrives.
//!
//! The payload is part of the initramfs. Measured with a vmlinux of 53 MB (best of three, to the shutdown): in an
//! uncompressed initramfs 4.1 s, on an NVMe disk with ext4, which the cloud kernel has built in, 4.6 s; without it 3.9
//! s. An initramfs works with every kernel, and takes no more memory than a page cache.

mod payload;
mod run;
mod scratch;

use std::path::PathBuf;

use crate::cache::Cache;
use crate::cache::artifact::{self, ArtifactError};
use crate::image::{Busybox, ImageError, Initramfs};
use crate::kernel::{Kernel, KernelError};
use crate::packages::PackagesError;
use crate::tool::ToolError;

pub use payload::Payload;
pub use run::{Outcome, RunError, SCRATCH, Settings};
pub use scratch::ScratchDisk;

/// Modules that the lab loads, with their dependencies: KVM, a network card and a disk for runs that have one, and
/// block devices for disks.
const MODULES: [&str; 5] = [KVM_MODULE, "virtio_pci", "virtio_net", "virtio_blk", "loop"];
/// The module that the lab requires.
const KVM_MODULE: &str = "kvm-amd";
/// The file with the modules in load order, for init.
const MODULES_ORDER: &str = "/lib/modules/order";
const INIT: &str = include_str!("init.sh");

/// Why the lab's images could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// There is no kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// An image cannot be made.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file cannot be written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A tool failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The stock kernel has no KVM for the lab.
    #[error("the kernel package of Linux {release} has no module '{module}', which the lab needs")]
    NoModule {
        /// The kernel's release.
        release: String,
        /// The module.
        module: &'static str,
    },
}

/// The lab's kernel and the first part of its initramfs.
#[derive(Debug, Clone)]
pub struct Images {
    directory: PathBuf,
}

impl Images {
    /// The kernel as ELF: QEMU starts it directly, without firmware or decompression.
    fn vmlinux(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    /// The initramfs without a payload.
    fn initramfs(&self) -> PathBuf {
        self.directory.join("initramfs.cpio")
    }
}

/// Builds what is missing or out of date in `directory`.
///
/// # Errors
///
/// The kernel or busybox cannot be obtained, or a file cannot be written.
pub fn build(
    cache: &Cache,
    directory: impl Into<PathBuf>,
    note: &dyn Fn(&str),
) -> Result<Images, LabError> {
    let images = Images {
        directory: directory.into(),
    };
    let kernel = Kernel::package(None, cache, note)?;
    let busybox = Busybox::fetch(cache, note)?;
    kernel.ensure_vmlinux(&images.vmlinux(), note)?;
    let inputs = kernel
        .fingerprint()
        .value((busybox.fingerprint().text(), INIT, MODULES));
    artifact::ensure(&images.initramfs(), &inputs, |to| -> Result<(), LabError> {
        note("making the lab's initramfs");
        if !kernel.modules().has(KVM_MODULE) {
            return Err(LabError::NoModule {
                release: kernel.release().to_owned(),
                module: KVM_MODULE,
            });
        }
        let mut initramfs = Initramfs::new();
        initramfs.skeleton()?.busybox(&busybox)?;
        initramfs.file("/init", 0o755, INIT)?;
        initramfs.modules(&kernel.load_order(&[], &MODULES)?, MODULES_ORDER)?;
        Ok(initramfs.write_file(to)?)
    })?;
    Ok(images)
}
