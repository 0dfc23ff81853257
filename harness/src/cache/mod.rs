//! Where images, kernels and unpacked packages are kept between runs.

pub mod artifact;
mod build_lock;

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::{ArtifactError, Fingerprint, Freshness};
use build_lock::BuildLock;

/// The variable that names the directory.
const VARIABLE: &str = "FAULTVISOR_CACHE";

/// The suffix of an empty file whose time is that of the last use.
const USED: &str = ".used";

/// There is no place for a cache.
#[derive(Debug, thiserror::Error)]
#[error("no directory for guest images: set {VARIABLE}, XDG_CACHE_HOME or HOME")]
pub struct NoCacheDirectory;

/// A directory of generated files, whose names tell the inputs that they were made from.
///
/// Any number of processes may use it. A file is built beside its place and renamed, by one process at a time; a killed
/// one leaves nothing that another would take for complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The user's cache: `$FAULTVISOR_CACHE`, `$XDG_CACHE_HOME/faultvisor` or `~/.cache/faultvisor`.
    ///
    /// # Errors
    ///
    /// None of the variables is set.
    pub fn of_user() -> Result<Self, NoCacheDirectory> {
        Self::from_variables(|name| env::var_os(name).map(PathBuf::from))
    }

    /// A cache in a directory, which is created when something is put there.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }

    fn from_variables(value: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, NoCacheDirectory> {
        let value = |name| value(name).filter(|path| !path.as_os_str().is_empty());
        if let Some(directory) = value(VARIABLE) {
            return Ok(Self::at(directory));
        }
        // The XDG Base Directory Specification ignores relative paths.
        let base = value("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(value("HOME")?.join(".cache")));
        Ok(Self::at(base.ok_or(NoCacheDirectory)?.join("faultvisor")))
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The file or directory of a `kind` that `build` makes of `inputs`, unless it exists. `suffix` ends its name:
    /// ".cpio".
    ///
    /// # Errors
    ///
    /// Those of `build`, or the file cannot be written.
    pub fn ensure<E: From<ArtifactError>>(
        &self,
        kind: &str,
        inputs: &Fingerprint,
        suffix: &str,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let name = format!("{}{suffix}", inputs.text());
        self.ensure_named(kind, &name, build).map(|(path, _)| path)
    }

    /// The same for a name that tells the inputs by itself: a package's with its version.
    ///
    /// # Errors
    ///
    /// Those of `build`, or the file cannot be written.
    pub fn ensure_named<E: From<ArtifactError>>(
        &self,
        kind: &str,
        name: &str,
        build: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<(PathBuf, Freshness), E> {
        let path = self.directory.join(kind).join(name);
        // For `remove_unused` only: a cache that cannot be written to is as good. Before the look, so that what is found is
        // not removed, and afterwards, as there may have been no directory.
        let mark = || drop(File::create(artifact::with_suffix(&path, USED)));
        mark();
        let freshness = artifact::ensure_named(&path, build)?;
        mark();
        Ok((path, freshness))
    }

    /// Removes what no call has asked for within a time, and returns how many files and directories that were. A
    /// machine that still runs from one needs it for a reset.
    ///
    /// # Errors
    ///
    /// The directory cannot be read, or something cannot be removed.
    pub fn remove_unused(&self, within: Duration) -> Result<u32, ArtifactError> {
        let mut removed = 0;
        for kind in entries(&self.directory)? {
            for marker in entries(&kind)? {
                let name = marker.file_name().unwrap_or_default().to_string_lossy();
                let Some(name) = name.strip_suffix(USED) else {
                    continue;
                };
                if age(&marker)? >= within {
                    let path = kind.join(name);
                    let _lock = BuildLock::acquire(&artifact::with_suffix(&path, ".lock"))?;
                    // Somebody may have used it meanwhile.
                    if age(&marker)? >= within {
                        artifact::remove_at_once(&path)?;
                        artifact::remove(&marker)?;
                        removed += 1;
                    }
                }
            }
        }
        Ok(removed)
    }
}

/// The time since a file was written. One that another process has removed is new.
fn age(path: &Path) -> Result<Duration, ArtifactError> {
    match fs::metadata(path).and_then(|metadata| metadata.modified()) {
        Ok(time) => Ok(time.elapsed().unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Duration::ZERO),
        Err(error) => Err(ArtifactError::new("read", path, error)),
    }
}

/// Paths of what is in a directory; none if there is no directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>, ArtifactError> {
    let unreadable = |error| ArtifactError::new("read", directory, error);
    if !directory.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(directory).map_err(unreadable)?;
    let paths = entries.map(|entry| Ok(entry.map_err(unreadable)?.path()));
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    use std::thread;

    use crate::child::Guarded;

    /// A shell that has taken a lock as a builder does, made `half` of a file, and goes on when it reads a line.
    fn other_builder(lock: &Path, half: &Path, then: &str) -> Guarded {
        let script =
            format!("exec 9>\"$0\"; flock 9; printf half > \"$1\"; echo; read -r _; {then}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).args([lock, half]);
        let mut other =
            Guarded::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).unwrap();
        let mut line = String::new();
        let stdout = other.child().stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "\n");
        other
    }

    fn refuse(_: &Path) -> Result<(), ArtifactError> {
        panic!("built again");
    }

    #[test]
    fn a_file_that_another_process_builds_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let path = directory.path().join("kind/name");
        fs::create_dir(directory.path().join("kind")).unwrap();
        let (lock, half) = (path.with_extension("lock"), path.with_extension("tmp"));
        let mut other = other_builder(&lock, &half, "mv \"$1\" \"${1%.tmp}\"");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| cache.ensure_named("kind", "name", refuse).unwrap());
            let mut go_on = other.child().stdin.take().unwrap();
            go_on.write_all(b"\n").unwrap();
            assert_eq!(waiting.join().unwrap(), (path.clone(), Freshness::Cached));
        });
        assert_eq!(fs::read_to_string(&path).unwrap(), "half");
    }

    #[test]
    fn what_a_killed_builder_left_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        fs::create_dir(directory.path().join("kind")).unwrap();
        let path = directory.path().join("kind/name");
        let (lock, half) = (path.with_extension("lock"), path.with_extension("tmp"));
        other_builder(&lock, &half, "true").kill().unwrap();
        assert!(half.exists());
        let built = cache.ensure_named("kind", "name", |to| {
            fs::write(to, "whole").map_err(|error| ArtifactError::new("write", to, error))
        });
        assert_eq!(built.unwrap(), (path.clone(), Freshness::Built));
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        let mut kept = entries(&directory.path().join("kind")).unwrap();
        kept.sort();
        let used = path.with_extension("used");
        assert_eq!(kept, [path, used], "no lock and no half file stay");
    }

    #[test]
    fn other_inputs_make_another_file_beside_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        let made = |input: &str| {
            let inputs = Fingerprint::new().value(input);
            cache.ensure("kind", &inputs, ".txt", |to| {
                fs::write(to, input).map_err(|error| ArtifactError::new("write", to, error))
            })
        };
        let (one, other) = (made("one").unwrap(), made("other").unwrap());
        assert_eq!(made("one").unwrap(), one);
        assert_eq!(fs::read_to_string(one).unwrap(), "one");
        assert_eq!(fs::read_to_string(other).unwrap(), "other");
    }

    #[test]
    fn what_is_not_used_any_more_can_be_removed() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path());
        assert_eq!(cache.remove_unused(Duration::ZERO).unwrap(), 0);
        let (path, _) = cache
            .ensure_named("kind", "name", |to| {
                fs::create_dir(to).map_err(|error| ArtifactError::new("create", to, error))
            })
            .unwrap();
        assert_eq!(cache.remove_unused(Duration::from_secs(3600)).unwrap(), 0);
        assert!(path.is_dir());
        assert_eq!(cache.remove_unused(Duration::ZERO).unwrap(), 1);
        assert!(entries(&directory.path().join("kind")).unwrap().is_empty());
    }

    #[test]
    fn the_directory_is_the_one_that_a_variable_names() {
        let at = |variables: &[(&str, &str)]| {
            let value = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| PathBuf::from(value))
            };
            let cache = Cache::from_variables(value).map_err(|error| error.to_string());
            cache.map(|cache| cache.directory().display().to_string())
        };
        let home = ("HOME", "/home/u");
        let xdg = ("XDG_CACHE_HOME", "/var/cache/u");
        assert_eq!(at(&[home]).unwrap(), "/home/u/.cache/faultvisor");
        assert_eq!(at(&[home, xdg]).unwrap(), "/var/cache/u/faultvisor");
        assert_eq!(
            at(&[home, ("XDG_CACHE_HOME", "x")]).unwrap(),
            "/home/u/.cache/faultvisor"
        );
        assert_eq!(at(&[home, xdg, (VARIABLE, "/c")]).unwrap(), "/c");
        let expected =
            "no directory for guest images: set FAULTVISOR_CACHE, XDG_CACHE_HOME or HOME";
        assert_eq!(at(&[("HOME", "")]).unwrap_err(), expected);
    }
}
