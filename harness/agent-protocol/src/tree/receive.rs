//! Receives a file or a tree, of which nothing leaves its destination, whatever the other side sends.
//!
//! Names are resolved one by one below directories that are open, and symbolic links are not followed. A file gets its
//! name when it is complete.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, fchmod, mkdirat, open, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::failed;
use crate::failure::{Failure, FailureKind};
use crate::frame::{Frame, FrameError, Kind};
use crate::request::{Content, Copied, Entry};

/// The most directories inside of each other.
const DEPTH: usize = 512;

/// Where a file or a tree goes.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The path. If it is a directory, or ends with a slash, the source gets its own name in it.
    pub path: PathBuf,
    /// The source's own name.
    pub name: OsString,
    /// The permissions that are kept of the source's.
    pub mode_mask: u32,
}

/// Receives a file or a tree.
#[derive(Debug)]
pub struct Receiver {
    parent: OwnedFd,
    name: OsString,
    /// The destination, for messages.
    path: PathBuf,
    mode_mask: u32,
    /// The directories that are open, from the root on.
    open: Vec<Directory>,
    file: Option<Incoming>,
    has_root: bool,
    copied: Copied,
}

#[derive(Debug)]
struct Directory {
    path: Vec<u8>,
    descriptor: OwnedFd,
    /// The permissions that it gets when it is left, unless it was there before.
    mode: Option<Mode>,
}

/// A file that is not complete.
#[derive(Debug)]
struct Incoming {
    file: File,
    temporary: Temporary,
    name: OsString,
    path: PathBuf,
    left: u64,
    mode: Mode,
}

/// Something under a name of its own, which is removed unless it gets its proper one.
#[derive(Debug)]
struct Temporary {
    directory: OwnedFd,
    name: OsString,
}

impl Receiver {
    /// Prepares a destination, whose directory must be there.
    ///
    /// # Errors
    ///
    /// It is not, or the destination has no name.
    pub fn new(destination: &Destination) -> Result<Self, Failure> {
        let given = &destination.path;
        let is_into = given.is_dir() || given.as_os_str().as_bytes().ends_with(b"/");
        let path = if is_into {
            given.join(&destination.name)
        } else {
            given.clone()
        };
        let name = path
            .file_name()
            .filter(|_| is_name(&destination.name) || !is_into);
        let name = name.map(OsStr::to_owned).ok_or_else(|| {
            let message = format!("'{}' has no name to copy to", path.display());
            Failure::new(FailureKind::OutsideDestination, message)
        })?;
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let opened = open(parent, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        let parent = opened.map_err(|error| {
            let failure = failed(
                format_args!("cannot copy to '{}'", parent.display()),
                &error.into(),
            );
            match failure.kind {
                FailureKind::NoSuchFile => Failure {
                    kind: FailureKind::NoSuchDirectory,
                    ..failure
                },
                _ => failure,
            }
        })?;
        Ok(Self {
            parent,
            name,
            path,
            mode_mask: destination.mode_mask & 0o7777,
            open: Vec::new(),
            file: None,
            has_root: false,
            copied: Copied::default(),
        })
    }

    /// Takes a frame; returns what was copied after the last one.
    ///
    /// # Errors
    ///
    /// Something cannot be written, or the frames are no tree below the destination.
    pub fn take(&mut self, frame: Frame<'_>) -> Result<Option<Copied>, Failure> {
        match frame.kind {
            Kind::Entry => {
                let entry = frame.message(Kind::Entry);
                self.enter(entry.map_err(|error| malformed(&error))?)?;
                Ok(None)
            }
            Kind::Content => {
                self.write(frame.payload)?;
                Ok(None)
            }
            Kind::End => {
                self.is_between_files()?;
                if !self.has_root {
                    return Err(Failure::new(
                        FailureKind::Malformed,
                        "a tree without a root",
                    ));
                }
                while self.leave()? {}
                Ok(Some(self.copied))
            }
            found => {
                let expected = Kind::Content;
                Err(malformed(&FrameError::Unexpected { found, expected }))
            }
        }
    }

    fn is_between_files(&self) -> Result<(), Failure> {
        match &self.file {
            None => Ok(()),
            Some(file) => {
                let message = format!(
                    "{} bytes of '{}' are missing",
                    file.left,
                    file.path.display()
                );
                Err(Failure::new(FailureKind::Malformed, message))
            }
        }
    }

    fn enter(&mut self, entry: Entry) -> Result<(), Failure> {
        self.is_between_files()?;
        let outside = || {
            let message = format!("'{}' is not below '{}'", entry.path, self.path.display());
            Failure::new(FailureKind::OutsideDestination, message)
        };
        let names = entry.names().ok_or_else(outside)?;
        let (name, above) = match names.split_last() {
            Some((name, above)) => (OsString::from_vec(name.to_vec()), above.join(&b'/')),
            None => (self.name.clone(), Vec::new()),
        };
        let is_root = names.is_empty();
        if is_root == self.has_root {
            return Err(outside());
        }
        let shown = if is_root {
            self.path.clone()
        } else {
            self.path.join(entry.path.as_path())
        };
        if !is_root {
            while self
                .open
                .last()
                .is_some_and(|directory| directory.path != above)
            {
                self.leave()?;
            }
            if self.open.is_empty() {
                let message = format!("'{}' is in no directory that was copied", shown.display());
                return Err(Failure::new(FailureKind::OutsideDestination, message));
            }
        }
        if is_root && matches!(entry.content, Content::Link(_)) {
            // A later copy to the same path would follow it.
            let message = format!(
                "'{}' is to be a symbolic link, which is no root of a tree",
                shown.display()
            );
            return Err(Failure::new(FailureKind::Malformed, message));
        }
        self.has_root = true;
        let mode = Mode::from_raw_mode(entry.mode & self.mode_mask);
        match entry.content {
            Content::Directory => self.enter_directory(entry.path.0, &name, &shown, mode),
            Content::File(size) => self.begin_file(name, shown, size, mode),
            Content::Link(target) => {
                let made = self.link(&name, target.as_os_str());
                made.map_err(|error| unwritable(&shown, error))
            }
        }
    }

    fn directory(&self) -> &OwnedFd {
        self.open
            .last()
            .map_or(&self.parent, |directory| &directory.descriptor)
    }

    fn enter_directory(
        &mut self,
        path: Vec<u8>,
        name: &OsStr,
        shown: &Path,
        mode: Mode,
    ) -> Result<(), Failure> {
        if self.open.len() >= DEPTH {
            let message = format!(
                "'{}' is more than {DEPTH} directories deep",
                shown.display()
            );
            return Err(Failure::new(FailureKind::System, message));
        }
        let parent = self.directory();
        let mode = match mkdirat(parent, name, Mode::RWXU) {
            Ok(()) => Some(mode),
            Err(Errno::EXIST) => None,
            Err(error) => return Err(unwritable(shown, error)),
        };
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(parent, name, flags, Mode::empty());
        let descriptor = opened.map_err(|error| match error {
            Errno::NOTDIR | Errno::LOOP => {
                let message = format!(
                    "cannot write '{}': something else has its name",
                    shown.display()
                );
                Failure::new(FailureKind::System, message)
            }
            error => unwritable(shown, error),
        })?;
        self.open.push(Directory {
            path,
            descriptor,
            mode,
        });
        Ok(())
    }

    /// Leaves a directory, which gets its permissions if it is new; whether there was one.
    fn leave(&mut self) -> Result<bool, Failure> {
        let Some(directory) = self.open.pop() else {
            return Ok(false);
        };
        if let Some(mode) = directory.mode {
            let path = self.path.join(OsStr::from_bytes(&directory.path));
            fchmod(&directory.descriptor, mode).map_err(|error| unwritable(&path, error))?;
        }
        Ok(true)
    }

    fn begin_file(
        &mut self,
        name: OsString,
        path: PathBuf,
        left: u64,
        mode: Mode,
    ) -> Result<(), Failure> {
        let begun = self.temporary().and_then(|temporary| {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(
                &temporary.directory,
                &temporary.name,
                flags,
                Mode::RUSR | Mode::WUSR,
            )?;
            Ok((File::from(file), temporary))
        });
        let (file, temporary) = begun.map_err(|error| unwritable(&path, error))?;
        self.file = Some(Incoming {
            file,
            temporary,
            name,
            path,
            left,
            mode,
        });
        self.copied.files += 1;
        self.finish_file()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let Some(incoming) = self.file.as_mut().filter(|incoming| incoming.left >= count) else {
            return Err(Failure::new(
                FailureKind::Malformed,
                "content that belongs to no file",
            ));
        };
        let written = incoming.file.write_all(bytes);
        written.map_err(|error| {
            failed(
                format_args!("cannot write '{}'", incoming.path.display()),
                &error,
            )
        })?;
        incoming.left -= count;
        self.copied.bytes += count;
        self.finish_file()
    }

    /// Gives a complete file its name.
    fn finish_file(&mut self) -> Result<(), Failure> {
        let Some(incoming) = self.file.take_if(|incoming| incoming.left == 0) else {
            return Ok(());
        };
        let finished = fchmod(&incoming.file, incoming.mode)
            .and_then(|()| incoming.temporary.rename(&incoming.name));
        finished.map_err(|error| unwritable(&incoming.path, error))
    }

    fn link(&self, name: &OsStr, target: &OsStr) -> rustix::io::Result<()> {
        let temporary = self.temporary()?;
        symlinkat(target, &temporary.directory, &temporary.name)?;
        temporary.rename(name)
    }

    fn temporary(&self) -> rustix::io::Result<Temporary> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!(".faultvisor-copy-{}-{number}", std::process::id());
        Ok(Temporary {
            directory: rustix::io::fcntl_dupfd_cloexec(self.directory(), 0)?,
            name: name.into(),
        })
    }
}

impl Temporary {
    fn rename(self, name: &OsStr) -> rustix::io::Result<()> {
        // Its own name is gone then.
        renameat(&self.directory, &self.name, &self.directory, name)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
    }
}

fn is_name(name: &OsStr) -> bool {
    let name = name.as_bytes();
    !name.is_empty() && name != b"." && name != b".." && !name.contains(&b'/') && !name.contains(&0)
}

fn unwritable(path: &Path, error: Errno) -> Failure {
    failed(
        format_args!("cannot write '{}'", path.display()),
        &error.into(),
    )
}

fn malformed(error: &FrameError) -> Failure {
    Failure::new(FailureKind::Malformed, error)
}
