//! Paths of the project's sources and of generated files.

use std::env;
use std::path::{Path, PathBuf};

/// Why the workspace was not found.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// No directory from here upwards contains the workspace's Cargo.toml.
    #[error("no Cargo workspace from '{0}' upwards: run this from within the project")]
    NotFound(PathBuf),
    /// The current directory is unknown.
    #[error("cannot tell the current directory")]
    CurrentDirectory(#[source] std::io::Error),
}

/// The project's working tree.
#[derive(Debug, Clone)]
pub struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds it from the directory where Cargo started this program, or from the current one, upwards.
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

    /// The directory of the guest's kernel, initramfs and disk image.
    pub fn guest_directory(&self) -> PathBuf {
        self.target.join("guest")
    }

    /// The directory of the lab's images. `target/lab` itself is Cargo's: the profile `lab` builds there.
    pub fn lab_directory(&self) -> PathBuf {
        self.target.join("lab-images")
    }
}
