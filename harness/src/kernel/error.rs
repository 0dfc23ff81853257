//! Why there is no kernel for a guest.

use std::path::PathBuf;

use super::ReadError;
use super::compression::CompressionError;
use super::vmlinux::VmlinuxError;
use crate::cache::artifact::ArtifactError;
use crate::packages::PackagesError;
use crate::tool::ToolError;

/// Why there is no kernel, or not the modules that a guest needs.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A file is no kernel.
    #[error("'{0}' is no Linux kernel: neither a bzImage nor a vmlinux")]
    NoKernel(PathBuf),
    /// This machine does not have the kernel that it runs.
    #[error(
        "this machine runs Linux {release}, but has no '{path}' (a container has none): install \
         its package, or use another kernel"
    )]
    NotInstalled {
        /// The kernel's release.
        release: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A disk image has no kernel, or none that can be read.
    #[error("'{image}' {}", no_kernel(.others))]
    NotOnDisk {
        /// The image.
        image: PathBuf,
        /// Its file systems and volumes other than ext's.
        others: Vec<&'static str>,
    },
    /// The files of a disk image cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A tool is missing, or fails.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A directory has no modules.
    #[error("'{0}' has no kernel modules")]
    NoModules(PathBuf),
    /// The kernel's image cannot be unpacked.
    #[error("cannot take the vmlinux out of '{path}'")]
    Vmlinux {
        /// The bzImage.
        path: PathBuf,
        /// The cause.
        #[source]
        source: VmlinuxError,
    },
    /// A compressed module cannot be unpacked.
    #[error("cannot unpack module '{path}'")]
    Module {
        /// The module's file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: CompressionError,
    },
    /// A module that a guest needs is neither loadable nor built in.
    #[error(
        "Linux {release} has no '{module}': a guest needs it as a module or built in{setting}",
        setting = .option.map(|option| format!(" ({option}=m or y)")).unwrap_or_default()
    )]
    NoModule {
        /// The kernel's release.
        release: String,
        /// The module.
        module: String,
        /// The option of the kernel's configuration that builds it.
        option: Option<&'static str>,
    },
    /// Modules depend on each other without end.
    #[error("the modules that '{0}' is loaded for depend on each other too deeply")]
    TooDeep(String),
    /// A module that another depends on is missing.
    #[error("module '{module}' depends on '{needed}', which is missing: are its modules complete?")]
    NoDependency {
        /// The module.
        module: String,
        /// The one that it depends on.
        needed: String,
    },
}

fn no_kernel(others: &[&str]) -> String {
    if others.is_empty() {
        return "has no kernel in /boot".to_owned();
    }
    format!(
        "has {}, of which no file is read without mounting it: name the kernel's file",
        others.join(", ")
    )
}
