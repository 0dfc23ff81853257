//! Changes to a tree of files that an archive brought, whose links may lead anywhere: none is followed out of the tree.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};

/// A tree of files, opened.
pub(super) struct Overlay {
    root: OwnedFd,
    /// What was removed, kept open: fakeroot would take a new file with the inode number of an old one for that one.
    removed: RefCell<Vec<OwnedFd>>,
}

impl Overlay {
    /// Opens the tree below a directory.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::openat(CWD, root, flags, Mode::empty())?,
            removed: RefCell::default(),
        })
    }

    /// Writes a file, in place of what is there, and the directories above it.
    pub(super) fn write(&self, path: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        let (directory, name) = self.parent(path, Missing::Create)?.ok_or_else(no_name)?;
        self.unlink(&directory, &name)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(mode);
        let file = rustix::fs::openat(&directory, &name, flags, mode)?;
        // Whatever the umask is.
        rustix::fs::fchmod(&file, mode)?;
        File::from(file).write_all(contents)
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let Some((directory, name)) = self.parent(path, Missing::Ignore)? else {
            return Ok(());
        };
        self.unlink(&directory, &name)
    }

    /// Removes a file of a directory, if it exists.
    fn unlink(&self, directory: &OwnedFd, name: &str) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => self.removed.borrow_mut().push(file),
            Err(rustix::io::Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        Ok(rustix::fs::unlinkat(directory, name, AtFlags::empty())?)
    }

    /// The directory of a path, and its last part; none if the directory does not exist.
    fn parent(&self, path: &str, missing: Missing) -> io::Result<Option<(OwnedFd, String)>> {
        let parts = Path::new(path).components();
        let parts = parts.filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        });
        let mut parts: Vec<String> = parts.collect();
        let name = parts.pop().ok_or_else(no_name)?;
        let mut above = String::from(".");
        let mut directory = self.directory(&above)?;
        for part in parts {
            above.push('/');
            above.push_str(&part);
            directory = match (self.directory(&above), missing) {
                (Err(error), Missing::Create) if error.kind() == io::ErrorKind::NotFound => {
                    let mode = Mode::from_raw_mode(0o755);
                    rustix::fs::mkdirat(&directory, &part, mode)?;
                    self.directory(&above)?
                }
                (Err(error), Missing::Ignore) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                (found, _) => found?,
            };
        }
        Ok(Some((directory, name)))
    }

    /// Opens a directory of the tree; links lead within it (openat2(2), Linux 5.6).
    fn directory(&self, path: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        Ok(rustix::fs::openat2(
            &self.root,
            path,
            flags,
            Mode::empty(),
            resolve,
        )?)
    }
}

/// What becomes of directories that do not exist.
#[derive(Clone, Copy)]
enum Missing {
    Create,
    Ignore,
}

fn no_name() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "the path names no file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn files_are_written_and_removed_below_the_root() {
        let root = tempfile::tempdir().unwrap();
        let overlay = Overlay::open(root.path()).unwrap();
        overlay.write("/etc/deep/file", 0o664, b"one").unwrap();
        overlay.write("etc/deep/file", 0o400, b"two").unwrap();
        let path = root.path().join("etc/deep/file");
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o400
        );
        overlay.remove("/etc/deep/file").unwrap();
        overlay.remove("/etc/deep/file").unwrap();
        overlay.remove("/no/such/file").unwrap();
        assert!(!path.exists());
        assert!(overlay.write("/", 0o644, b"").is_err());
    }

    #[test]
    fn no_link_leads_out_of_the_tree() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        symlink(outside.path(), root.path().join("etc")).unwrap();
        symlink("../../../../tmp", root.path().join("up")).unwrap();
        symlink(outside.path().join("victim"), root.path().join("file")).unwrap();
        fs::write(outside.path().join("victim"), "kept").unwrap();
        let overlay = Overlay::open(root.path()).unwrap();
        // Below the root there is no such directory.
        assert!(overlay.write("/etc/passwd", 0o644, b"x").is_err());
        assert!(overlay.write("/up/x", 0o644, b"x").is_err());
        overlay.write("/file", 0o644, b"x").unwrap();
        overlay.remove("/etc/victim").unwrap();
        assert_eq!(
            fs::read_to_string(outside.path().join("victim")).unwrap(),
            "kept"
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }
}
