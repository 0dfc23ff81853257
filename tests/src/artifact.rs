//! Generated files: each is written whole or not at all, and only when its inputs have changed.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::time::UNIX_EPOCH;

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

/// A hash of a generated file's inputs.
#[derive(Debug, Clone, Default)]
pub struct Fingerprint(DefaultHasher);

impl Fingerprint {
    /// The fingerprint of no inputs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value: a text, a number, a recipe's version.
    #[must_use]
    pub fn value(mut self, value: impl Hash) -> Self {
        value.hash(&mut self.0);
        self
    }

    /// Adds a file by its path, length and time of modification.
    pub fn file(mut self, path: &Path) -> Result<Self, ArtifactError> {
        let unreadable = |error| ArtifactError::new("read", path, error);
        let metadata = fs::metadata(path).map_err(unreadable)?;
        let modified = metadata.modified().map_err(unreadable)?;
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        (path, metadata.len(), since_epoch.as_nanos()).hash(&mut self.0);
        Ok(self)
    }

    fn text(&self) -> String {
        format!("{:016x}\n", self.0.finish())
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
pub fn ensure<E: From<ArtifactError>>(
    path: &Path,
    fingerprint: &Fingerprint,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<Freshness, E> {
    let stamp = with_suffix(path, ".stamp");
    let wanted = fingerprint.text();
    if path.exists() && fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(Freshness::Cached);
    }
    remove(&stamp)?;
    replace(path, build)?;
    replace(&stamp, |temporary| {
        fs::write(temporary, &wanted).map_err(|error| ArtifactError::new("write", temporary, error))
    })?;
    Ok(Freshness::Built)
}

/// Builds `path` by `build` in a temporary place beside it, then renames it into place.
pub fn replace<E: From<ArtifactError>>(
    path: &Path,
    build: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| ArtifactError::new("create", parent, error))?;
    }
    let temporary = with_suffix(path, &format!(".{}.tmp", process::id()));
    remove(&temporary)?;
    if let Err(error) = build(&temporary) {
        // The build's own error matters more.
        let _ = remove(&temporary);
        return Err(error);
    }
    if path.is_dir() {
        remove(path)?;
    }
    fs::rename(&temporary, path).map_err(|error| ArtifactError::new("write", path, error))?;
    Ok(())
}

fn remove(path: &Path) -> Result<(), ArtifactError> {
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

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
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
            "no temporary file and no stamp stay"
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
