//! A directory tree to install files into.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Mode of programs and shared libraries.
const PROGRAM: u32 = 0o755;
/// Mode of all other files.
const FILE: u32 = 0o644;

/// A file cannot be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot install {}: {source}", path.display())]
pub struct PlaceError {
    path: PathBuf,
    source: io::Error,
}

/// The tree's current and future paths.
#[derive(Debug)]
pub struct Place {
    root: PathBuf,
    prefix: PathBuf,
}

impl Place {
    /// A tree under `prefix`, itself under `destdir` if given.
    ///
    /// # Errors
    ///
    /// It cannot be created.
    pub fn new(prefix: &Path, destdir: Option<&Path>) -> Result<Self, PlaceError> {
        let root = match destdir {
            Some(destdir) => destdir.join(prefix.strip_prefix("/").unwrap_or(prefix)),
            None => prefix.to_owned(),
        };
        let place = Self {
            root,
            prefix: prefix.to_owned(),
        };
        place.directory("")?;
        Ok(place)
    }

    /// Its current path.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its future path.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Creates a directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf, PlaceError> {
        let path = self.root.join(name);
        put(&path, |path| fs::create_dir_all(path))?;
        Ok(path)
    }

    /// Installs a program or a shared library.
    pub fn program(&self, from: &Path, name: &str) -> Result<(), PlaceError> {
        self.copy(from, name, PROGRAM)
    }

    /// Installs any other file.
    pub fn file(&self, from: &Path, name: &str) -> Result<(), PlaceError> {
        self.copy(from, name, FILE)
    }

    fn copy(&self, from: &Path, name: &str, mode: u32) -> Result<(), PlaceError> {
        let content = put(from, |from| fs::read(from))?;
        self.write(&content, name, mode)
    }

    /// Writes a file with this content.
    pub fn content(&self, content: &[u8], name: &str) -> Result<(), PlaceError> {
        self.write(content, name, FILE)
    }

    /// Replaces a file by name: a running program keeps its old file.
    fn write(&self, content: &[u8], name: &str, mode: u32) -> Result<(), PlaceError> {
        let path = self.free(name)?;
        put(&path, |path| fs::write(path, content))?;
        put(&path, |path| {
            fs::set_permissions(path, Permissions::from_mode(mode))
        })
    }

    /// Creates a link to a file in the same directory.
    pub fn link(&self, name: &str, to: &str) -> Result<(), PlaceError> {
        put(&self.free(name)?, |path| symlink(to, path))
    }

    /// A path, with any existing file removed.
    fn free(&self, name: &str) -> Result<PathBuf, PlaceError> {
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            put(parent, |parent| fs::create_dir_all(parent))?;
        }
        put(&path, |path| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })?;
        Ok(path)
    }
}

fn put<T>(path: &Path, put: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, PlaceError> {
    put(path).map_err(|source| PlaceError {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn existing_files_are_replaced_and_missing_ones_named() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(Path::new("/usr"), Some(directory.path())).unwrap();
        assert_eq!(place.root(), directory.path().join("usr"));
        for content in ["old", "new"] {
            place.content(content.as_bytes(), "lib/a.1").unwrap();
            place.link("lib/a", "a.1").unwrap();
        }
        let link = place.root().join("lib/a");
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        assert_eq!(link.metadata().unwrap().permissions().mode() & 0o777, FILE);
        let missing = place.program(&directory.path().join("none"), "bin/none");
        let expected = format!("cannot install {}/none: ", directory.path().display());
        assert!(missing.unwrap_err().to_string().starts_with(&expected));
    }
}
