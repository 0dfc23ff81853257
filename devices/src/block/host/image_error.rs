//! A path cannot be opened as an image.

use std::io;
use std::path::PathBuf;

use crate::block::model::errno::Errno;
use crate::block::model::request::SECTOR_SIZE;

/// A path cannot be opened as an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The host refused to open it.
    #[error("cannot open '{}': {}", .0.display(), Errno::of(.1))]
    Open(PathBuf, #[source] io::Error),
    /// Another process, or another drive of this one, uses it, and one of the two writes.
    #[error("image '{}' is in use by another process or drive", .0.display())]
    InUse(PathBuf),
    /// The host refuses the lock.
    #[error("cannot lock '{}': {}", .0.display(), Errno::of(.1))]
    Lock(PathBuf, #[source] io::Error),
    /// Its file system does not support direct I/O.
    #[error("cache=none: the file system of '{}' has no direct I/O", .0.display())]
    NotDirect(PathBuf),
    /// Its size cannot be determined.
    #[error("cannot find the size of '{}': {}", .0.display(), Errno::of(.1))]
    Size(PathBuf, #[source] io::Error),
    /// A directory, socket, pipe or character device.
    #[error("'{}' is {kind}, not a file or a block device", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
        /// What it is, with its article.
        kind: &'static str,
    },
    /// It is a read-only block device.
    #[error("'{}' is a read-only block device; readonly=on uses it as such", .0.display())]
    ReadOnlyDevice(PathBuf),
    /// It was replaced while it was being opened.
    #[error("'{}' was replaced by another file while it was being opened", .0.display())]
    Replaced(PathBuf),
    /// Its size is not a whole number of sectors.
    #[error("the size of '{}', {length} bytes, is not a multiple of {SECTOR_SIZE}", path.display())]
    Unaligned {
        /// The path.
        path: PathBuf,
        /// Its size in bytes.
        length: u64,
    },
}
