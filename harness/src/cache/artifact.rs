//! Generated files: each is written whole or not at all, and only when its inputs have changed.
//!
//! Processes that build the same file take turns by a lock beside it. The kernel releases the lock of a killed process,
//! and the next builder removes what that process left.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::hash::{Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;

use sha2::{Digest, Sha256};

use super::build_lock::BuildLock;

/// Why a generated file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} '{path}'")]
pub struct ArtifactError {
    what: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl ArtifactError {
    /// `what` is a verb: "write", "read".
    pub fn new(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            what,
            path: path.to_path_buf(),
            source,
        }
    }
}

/// A SHA-256 hash of a generated file's inputs.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(Sha256);

/// What changes with a file's contents and attributes. The time of modification alone may be set back, as by `cp -p`, and
/// stays when the mode changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    length: u64,
    mode: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            length: metadata.len(),
            mode: metadata.mode(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Fingerprint {
    /// The fingerprint of no inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value: a text, a number, a recipe's version.
    #[must_use]
    pub fn value(mut self, value: impl Hash) -> Self {
        value.hash(&mut Feed(&mut self.0));
        self
    }

    /// Adds a file by its path, length, mode and times.
    ///
    /// # Errors
    ///
    /// The file does not exist, or may not be looked at.
    pub fn file(self, path: &Path) -> Result<Self, ArtifactError> {
        let unreadable = |error| ArtifactError::new("read", path, error);
        let metadata = fs::metadata(path).map_err(unreadable)?;
        Ok(self.value((path, Stamp::of(&metadata))))
    }

    /// The first 16 bytes of the hash, in hexadecimal.
    pub fn text(&self) -> String {
        let hash = self.0.clone().finalize();
        let mut text = String::with_capacity(32);
        for byte in hash.iter().take(16) {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Passes what a value hashes on to SHA-256.
struct Feed<'a>(&'a mut Sha256);

impl Hasher for Feed<'_> {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

/// Whether a generated file had to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It existed, built from the same inputs.
    Cached,
    /// It has been built now.
    Built,
}

/// Builds `path` by `build` unless it exists, built from inputs with the same fingerprint.
///
/// `build` makes a file or a directory at the path that it is passed, which a rename moves to `path`. The fingerprint
/// is recorded after that, so that an interrupted build is repeated.
///
/// # Errors
///
/// Those of `build`, or the file cannot be written.
pub fn ensure<E: From<ArtifactError>>(
    path: &Path,
    fingerprint: &Fingerprint,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Freshness, E> {
    let stamp = with_suffix(path, ".stamp");
    let wanted = format!("{}\n", fingerprint.text());
    let is_current =
        || path.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted);
    if is_current() {
        return Ok(Freshness::Cached);
    }
    create_parent(path)?;
    let _lock = BuildLock::acquire(&with_suffix(path, ".lock"))?;
    // Its last holder may have built it.
    if is_current() {
        return Ok(Freshness::Cached);
    }
    remove(&stamp)?;
    build_aside(path, &with_suffix(path, ".tmp"), build)?;
    replace(&stamp, |temporary| {
        fs::write(temporary, &wanted).map_err(|error| ArtifactError::new("write", temporary, error))
    })?;
    Ok(Freshness::Built)
}

/// Builds `path` by `build`, as [`ensure`] does, unless it exists: its name tells its inputs.
///
/// # Errors
///
/// Those of `build`, or the file cannot be written.
pub fn ensure_named<E: From<ArtifactError>>(
    path: &Path,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Freshness, E> {
    if path.exists() {
        return Ok(Freshness::Cached);
    }
    create_parent(path)?;
    let _lock = BuildLock::acquire(&with_suffix(path, ".lock"))?;
    if path.exists() {
        return Ok(Freshness::Cached);
    }
    build_aside(path, &with_suffix(path, ".tmp"), build)?;
    Ok(Freshness::Built)
}

/// Builds `path` by `build` in a temporary place beside it, then renames it into place.
///
/// # Errors
///
/// Those of `build`, or the file cannot be written.
pub fn replace<E: From<ArtifactError>>(
    path: &Path,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    create_parent(path)?;
    build_aside(
        path,
        &with_suffix(path, &format!(".{}.tmp", process::id())),
        build,
    )
}

fn build_aside<E: From<ArtifactError>>(
    path: &Path,
    temporary: &Path,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    remove(temporary)?;
    if let Err(error) = build(temporary) {
        // The build's own error matters more.
        let _ = remove(temporary);
        return Err(error);
    }
    if path.is_dir() {
        remove(path)?;
    }
    fs::rename(temporary, path).map_err(|error| ArtifactError::new("write", path, error))?;
    Ok(())
}

fn create_parent(path: &Path) -> Result<(), ArtifactError> {
    match path.parent() {
        Some(parent) => {
            fs::create_dir_all(parent).map_err(|error| ArtifactError::new("create", parent, error))
        }
        None => Ok(()),
    }
}

/// Removes a file or a directory so that a process that is killed leaves nothing that is taken for complete.
pub(crate) fn remove_at_once(path: &Path) -> Result<(), ArtifactError> {
    let aside = with_suffix(path, ".tmp");
    remove(&aside)?;
    match fs::rename(path, &aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArtifactError::new("remove", path, error))
        }
        _ => remove(&aside),
    }
}

pub(crate) fn remove(path: &Path) -> Result<(), ArtifactError> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(ArtifactError::new("remove", path, error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, text: &str) -> Result<(), ArtifactError> {
        fs::write(path, text).map_err(|error| ArtifactError::new("write", path, error))
    }

    #[test]
    fn an_artifact_is_rebuilt_only_when_its_inputs_change() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("deep/file");
        let first = Fingerprint::new().value("first");
        let second = Fingerprint::new().value("second");
        assert_eq!(
            ensure(&path, &first, |to| write(to, "1")).unwrap(),
            Freshness::Built
        );
        assert_eq!(
            ensure(&path, &first, |to| write(to, "2")).unwrap(),
            Freshness::Cached
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
        assert_eq!(
            ensure(&path, &second, |to| write(to, "3")).unwrap(),
            Freshness::Built
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "3");
    }

    #[test]
    fn a_failed_build_keeps_the_old_file_and_is_repeated() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let first = Fingerprint::new().value("first");
        let second = Fingerprint::new().value("second");
        ensure(&path, &first, |to| write(to, "1")).unwrap();
        let failed = ensure(&path, &second, |to| {
            write(to, "half")?;
            Err(ArtifactError::new(
                "write",
                to,
                io::Error::other("interrupted"),
            ))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "1");
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            1,
            "no temporary file, no stamp and no lock stay"
        );
        assert_eq!(
            ensure(&path, &second, |to| write(to, "2")).unwrap(),
            Freshness::Built
        );
    }

    #[test]
    fn a_changed_input_file_changes_the_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("input");
        fs::write(&input, "one").unwrap();
        let before = Fingerprint::new().file(&input).unwrap().text();
        fs::write(&input, "three").unwrap();
        assert_ne!(before, Fingerprint::new().file(&input).unwrap().text());
    }
}
