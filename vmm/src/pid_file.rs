//! `--pidfile`.

use std::path::{Path, PathBuf};
use std::{fs, io};

use faultvisor_devices::block::Errno;

/// The file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("--pidfile: cannot write '{}': {}", path.display(), Errno::of(source))]
pub struct PidFileError {
    path: PathBuf,
    source: io::Error,
}

/// A file with the program's process ID, which goes when the program does.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// [`PidFileError`].
    pub fn write(path: &Path) -> Result<Self, PidFileError> {
        fs::write(path, format!("{}\n", std::process::id())).map_err(|source| PidFileError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}
