//! `--pidfile`.
//!
//! As in QEMU, the file is locked (fcntl(2), `F_SETLK`) while the machine runs, so that no two machines share one, also
//! with QEMU.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use faultvisor_devices::block::model::errno::Errno;
use rustix::fs::{FlockOperation, fcntl_lock};

/// The file's mode.
const MODE: u32 = 0o600;

/// How often a file may be replaced between opening and locking: machines that end remove theirs.
const ATTEMPTS: u32 = 100;

/// How often fstat(2) is tried if it fails.
const ANSWERS: u32 = 3;

/// There is no file.
#[derive(Debug, thiserror::Error)]
pub enum PidFileError {
    /// The host refuses to create, lock or write it.
    #[error("--pidfile: cannot write '{}': {}", path.display(), Errno::of(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// The path is that of something else, which is left alone.
    #[error("--pidfile: '{}' is {what}, and no file of this machine's own", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Another process has locked it.
    #[error("--pidfile: '{}' is in use by another machine", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
}

/// A locked file with the process ID, removed at the program's end.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    /// Closed after the file is removed, which releases the lock.
    file: File,
}

/// The result of an attempt.
enum Attempt {
    Locked(File),
    /// The file has been renamed or removed.
    Replaced,
}

impl PidFile {
    /// Creates the file, or takes over one that no process holds, and writes it.
    ///
    /// # Errors
    ///
    /// [`PidFileError`]. No file is left then.
    pub fn write(path: &Path) -> Result<Self, PidFileError> {
        let failed = |source| PidFileError::Write {
            path: path.to_owned(),
            source,
        };
        for _ in 0..ATTEMPTS {
            if let Attempt::Locked(file) = lock(path)? {
                // From here on an error removes it.
                let ours = Self {
                    path: path.to_owned(),
                    file,
                };
                ours.fill().map_err(failed)?;
                return Ok(ours);
            }
        }
        Err(failed(ErrorKind::ResourceBusy.into()))
    }

    fn fill(&self) -> io::Result<()> {
        // Independent of the umask, and of the mode of an earlier file.
        self.file.set_permissions(Permissions::from_mode(MODE))?;
        self.file.set_len(0)?;
        let text = format!("{}\n", std::process::id());
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if is_at(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Opens and locks the file of this path, or creates it.
fn lock(path: &Path) -> Result<Attempt, PidFileError> {
    let failed = |source| PidFileError::Write {
        path: path.to_owned(),
        source,
    };
    let refuse = |what| PidFileError::Other {
        path: path.to_owned(),
        what,
    };
    // Examined before it is opened: opening a device may have an effect.
    match fs::symlink_metadata(path) {
        Ok(found) => check(&found).map_err(refuse)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(MODE);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    let (file, is_new) = match options.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            match options.create_new(true).open(path) {
                // Another process was faster.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    return Ok(Attempt::Replaced);
                }
                made => (made.map_err(failed)?, true),
            }
        }
        found => (found.map_err(failed)?, false),
    };
    let attempt = check_and_lock(file, path);
    if is_new && matches!(attempt, Err(PidFileError::Write { .. })) {
        // It was created here a moment ago, and is useless.
        let _ = fs::remove_file(path);
    }
    attempt
}

fn check_and_lock(file: File, path: &Path) -> Result<Attempt, PidFileError> {
    let failed = |source| PidFileError::Write {
        path: path.to_owned(),
        source,
    };
    check(&file.metadata().map_err(failed)?).map_err(|what| PidFileError::Other {
        path: path.to_owned(),
        what,
    })?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) if is_at(&file, path) => Ok(Attempt::Locked(file)),
        Ok(()) => Ok(Attempt::Replaced),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::ACCESS) => Err(PidFileError::InUse {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed(error.into())),
    }
}

/// Whether a file can be a machine's own.
fn check(found: &Metadata) -> Result<(), &'static str> {
    if found.is_symlink() {
        Err("a symbolic link")
    } else if found.is_dir() {
        Err("a directory")
    } else if !found.is_file() {
        Err("no regular file")
    } else if found.nlink() > 1 {
        Err("a file with several names")
    } else if !is_own(found) {
        Err("another user's file")
    } else {
        Ok(())
    }
}

/// Whether a file belongs to this user, or to a user whose file root may take.
fn is_own(found: &Metadata) -> bool {
    let user = rustix::process::geteuid();
    user.is_root() || found.uid() == user.as_raw()
}

/// Whether an open file is the one of this path.
fn is_at(file: &File, path: &Path) -> bool {
    // A host without memory may have some at the next attempt.
    (0..ANSWERS).any(|_| {
        let (Ok(open), Ok(found)) = (file.metadata(), fs::symlink_metadata(path)) else {
            return false;
        };
        found.is_file() && (open.dev(), open.ino()) == (found.dev(), found.ino())
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refused(path: &Path) -> String {
        let error = PidFile::write(path).unwrap_err().to_string();
        let rest = error.strip_prefix("--pidfile: ").unwrap();
        rest.replace(path.to_str().unwrap(), "PATH")
    }

    #[test]
    fn a_pid_file_holds_the_process_id_and_is_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        // Longer than what is written, and readable by everybody.
        fs::write(&path, "123456789012345\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let file = PidFile::write(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}\n", std::process::id()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_path_that_is_not_its_own_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name| directory.path().join(name);
        fs::write(path("target"), "text").unwrap();
        symlink(path("target"), path("link")).unwrap();
        symlink(path("none"), path("dangling")).unwrap();
        let link = "'PATH' is a symbolic link, and no file of this machine's own";
        assert_eq!(refused(&path("link")), link);
        assert_eq!(refused(&path("dangling")), link);
        assert!(!path("none").exists());
        fs::hard_link(path("target"), path("second")).unwrap();
        assert!(refused(&path("second")).contains("a file with several names"));
        assert_eq!(fs::read_to_string(path("target")).unwrap(), "text");
        assert!(refused(directory.path()).contains("is a directory"));
        assert!(refused(Path::new("/dev/null")).contains("no regular file"));
        let fifo = path("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(refused(&fifo).contains("no regular file"));
        let nowhere = path("nowhere").join("pid");
        assert_eq!(
            refused(&nowhere),
            "cannot write 'PATH': No such file or directory"
        );
    }

    #[test]
    fn a_pid_file_that_cannot_be_written_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        fs::write(&path, "").unwrap();
        // With a descriptor that is open read-only.
        let file = File::open(&path).unwrap();
        let ours = PidFile {
            path: path.clone(),
            file,
        };
        assert!(ours.fill().is_err());
        drop(ours);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_took_its_place_is_somebody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let file = PidFile::write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "other").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
    }
}
