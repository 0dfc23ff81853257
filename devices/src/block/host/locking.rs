//! Locks that keep two processes from writing one image.
//!
//! They are QEMU's, byte for byte, so that a QEMU and a Faultvisor exclude each other. Each permission that a process
//! uses has a byte in one range of the file, and each that it does not share with others a byte in another. Such a byte
//! is locked for reading, which any number of processes can do; whether another process holds one is found by testing
//! for a write lock without taking it. The locks belong to the open file (`F_OFD_SETLK`, fcntl(2)), not to the process,
//! and end with it. The bytes need not exist.
#![expect(
    unsafe_code,
    reason = "the standard library has no locks on byte ranges"
)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::str::FromStr;

use crate::block::model::access::Access;

/// First byte of the permissions used (QEMU `RAW_LOCK_PERM_BASE`).
const DONE: libc::off_t = 100;

/// First byte of the permissions not shared (QEMU `RAW_LOCK_SHARED_BASE`).
const NOT_SHARED: libc::off_t = 200;

/// Bits of QEMU's `BLK_PERM_*`, as offsets from the first bytes.
const CONSISTENT_READ: libc::off_t = 0;
const WRITE: libc::off_t = 1;
const RESIZE: libc::off_t = 3;

/// Whether an image is locked (QEMU `file.locking`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Locking {
    /// If the file system has locks; any other error refuses the image.
    #[default]
    Auto,
    /// Always: without a lock the image is refused.
    On,
    /// Never: other processes may use it at the same time.
    Off,
}

impl FromStr for Locking {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "on" => Ok(Self::On),
            "off" => Ok(Self::Off),
            _ => Err("expected on, off or auto"),
        }
    }
}

/// An image is not locked.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process uses it in a way that excludes this one.
    InUse,
    /// The file system, or the kernel, has no such locks.
    Unsupported(io::Error),
    /// The host refuses an available lock.
    Refused(io::Error),
}

/// Locks an open image until it and its duplicates are closed.
pub(super) fn lock(file: &File, access: Access) -> Result<(), LockError> {
    let done: &[_] = match access {
        Access::ReadWrite => &[CONSISTENT_READ, WRITE, RESIZE],
        Access::ReadOnly => &[CONSISTENT_READ],
    };
    let not_shared = [WRITE, RESIZE];
    // All are taken before any is tested: of two processes that start at once, at least one sees the other.
    for bit in done {
        take(file, DONE + bit)?;
    }
    for bit in not_shared {
        take(file, NOT_SHARED + bit)?;
    }
    for bit in done {
        check_free(file, NOT_SHARED + bit)?;
    }
    for bit in not_shared {
        check_free(file, DONE + bit)?;
    }
    Ok(())
}

/// A lock of this kind on one byte.
fn byte(kind: i32, at: libc::off_t) -> Result<libc::flock, LockError> {
    Ok(libc::flock {
        l_type: libc::c_short::try_from(kind)
            .map_err(|_| LockError::Refused(io::ErrorKind::InvalidInput.into()))?,
        // SEEK_SET.
        l_whence: 0,
        l_start: at,
        l_len: 1,
        l_pid: 0,
    })
}

/// Locks one byte for reading.
fn take(file: &File, at: libc::off_t) -> Result<(), LockError> {
    let wanted = byte(libc::F_RDLCK, at)?;
    // SAFETY: the descriptor is open for as long as `file` is borrowed, and the kernel only reads
    // the structure.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const wanted) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Another process has a write lock, which QEMU never takes.
        Some(libc::EAGAIN | libc::EACCES) => Err(LockError::InUse),
        _ => Err(refused(error)),
    }
}

/// The reason, by the host's error. `ENOLCK` comes from a network file system without a lock server (fcntl(2)).
fn refused(error: io::Error) -> LockError {
    match error.raw_os_error() {
        Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOLCK) => {
            LockError::Unsupported(error)
        }
        _ => LockError::Refused(error),
    }
}

/// Fails if another open file has locked this byte.
fn check_free(file: &File, at: libc::off_t) -> Result<(), LockError> {
    let mut found = byte(libc::F_WRLCK, at)?;
    // SAFETY: as in `take`, and the kernel writes within the structure, which is valid for that.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut found) } != 0 {
        return Err(refused(io::Error::last_os_error()));
    }
    if i32::from(found.l_type) == libc::F_UNLCK {
        Ok(())
    } else {
        Err(LockError::InUse)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &std::path::Path, access: Access) -> File {
        let mut options = File::options();
        options.read(true).write(access == Access::ReadWrite);
        options.open(path).unwrap()
    }

    /// The locks of a file, as seen through another open file.
    fn locked(path: &std::path::Path) -> Vec<libc::off_t> {
        let other = open(path, Access::ReadOnly);
        (0..400)
            .filter(|at| check_free(&other, *at).is_err())
            .collect()
    }

    #[test]
    fn each_access_locks_the_bytes_that_qemu_does() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let file = open(image.path(), Access::ReadWrite);
        lock(&file, Access::ReadWrite).unwrap();
        assert_eq!(locked(image.path()), [100, 101, 103, 201, 203]);
        drop(file);
        let file = open(image.path(), Access::ReadOnly);
        lock(&file, Access::ReadOnly).unwrap();
        assert_eq!(locked(image.path()), [100, 201, 203]);
        drop(file);
        assert_eq!(locked(image.path()), Vec::<i64>::new());
    }

    #[test]
    fn readers_share_and_a_writer_is_alone() {
        use Access::{ReadOnly, ReadWrite};
        for (first, second, shared) in [
            (ReadOnly, ReadOnly, true),
            (ReadOnly, ReadWrite, false),
            (ReadWrite, ReadOnly, false),
            (ReadWrite, ReadWrite, false),
        ] {
            let image = tempfile::NamedTempFile::new().unwrap();
            let files = [first, second].map(|access| open(image.path(), access));
            lock(&files[0], first).unwrap();
            let result = lock(&files[1], second);
            assert_eq!(result.is_ok(), shared, "{first:?}, {second:?}: {result:?}");
            if !shared {
                assert!(matches!(result, Err(LockError::InUse)));
            }
        }
    }

    #[test]
    fn a_refused_opener_leaves_no_locks() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let first = open(image.path(), Access::ReadWrite);
        lock(&first, Access::ReadWrite).unwrap();
        let second = open(image.path(), Access::ReadWrite);
        lock(&second, Access::ReadWrite).unwrap_err();
        drop((first, second));
        assert_eq!(locked(image.path()), Vec::<i64>::new());
    }

    #[test]
    fn a_duplicate_keeps_the_lock() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let first = open(image.path(), Access::ReadWrite);
        lock(&first, Access::ReadWrite).unwrap();
        let duplicate = first.try_clone().unwrap();
        drop(first);
        let second = open(image.path(), Access::ReadWrite);
        lock(&second, Access::ReadWrite).unwrap_err();
        drop(duplicate);
        lock(&second, Access::ReadWrite).unwrap();
    }
}
