//! Why there is no image.

use std::path::PathBuf;

use super::libraries::LibraryError;
use crate::cache::artifact::ArtifactError;
use crate::kernel::KernelError;
use crate::packages::PackagesError;
use crate::tool::ToolError;

/// Why an image cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A package cannot be obtained.
    #[error(transparent)]
    Packages(#[from] PackagesError),
    /// There is no kernel, or not the modules.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// A program's libraries cannot be found.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// A tool is missing or failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A program is not in `PATH`.
    #[error("no program '{0}' in PATH")]
    NoProgram(String),
    /// There is no agent on this machine.
    #[error(
        "no faultvisor-agent beside this program: set FAULTVISOR_AGENT to its path, or build it in \
         a checkout of the project by: cargo xtask guest"
    )]
    NoAgent,
    /// The variable leads nowhere.
    #[error("FAULTVISOR_AGENT is '{0}', which is not a file")]
    AgentVariable(PathBuf),
    /// A path in an image is invalid.
    #[error("{0}")]
    Path(String),
    /// A path leads through too many symbolic links.
    #[error("'{0}' leads through too many symbolic links")]
    Links(String),
    /// A file cannot be copied.
    #[error("'{0}' is neither a file, a directory nor a link")]
    Special(PathBuf),
}
