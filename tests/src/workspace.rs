//! Where the project's sources and its generated files are.

use std::env;
use std::path::{Path, PathBuf};

/// Why the workspace could not be found.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No directory from here upwards holds the workspace's Cargo.toml.
    #[error("no Cargo workspace from '{0}' upwards: run this from within the project")]
    NotFound(PathBuf),
    /// The current directory cannot be told.
    #[error("cannot tell the current directory")]
    CurrentDirectory(#[source] std::io::Error),
}

/// The checked-out project.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds it from where Cargo started this program, or from the current directory upwards.
    pub fn locate() -> Result<Self, WorkspaceError> {
        let start = match env::var_os("CARGO_MANIFEST_DIR") {
            Some(directory) => PathBuf::from(directory),
            None => env::current_dir().map_err(WorkspaceError::CurrentDirectory)?,
        };
        let root = start
            .ancestors()
            .find(|directory| directory.join("Cargo.lock").is_file())
            .ok_or_else(|| WorkspaceError::NotFound(start.clone()))?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The directory of the workspace's Cargo.toml.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where the guest's kernel, initramfs and disk image are built.
    pub fn guest_directory(&self) -> PathBuf {
        self.target.join("guest")
    }

    /// Where the lab's images are built. `target/lab` itself belongs to Cargo: the profile `lab` builds there.
    pub fn lab_directory(&self) -> PathBuf {
        self.target.join("lab-images")
    }
}
