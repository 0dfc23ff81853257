//! A path cannot be a disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::block::format::qcow2::error::FormatError;
use crate::block::model::errno::Errno;
use crate::block::model::request::SECTOR_SIZE;

/// A file's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::block) enum Contents {
    /// The disk's bytes: whole sectors.
    Disk,
    /// A format that contains them.
    Container,
}

/// A path cannot be a disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
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
    /// It was probed as a format that is not supported.
    #[error(
        "'{}' looks like an image in the format {format}, and only raw and qcow2 can be used (if the disk is to have \
        these bytes as they are, say that its format is raw)",
        path.display()
    )]
    Foreign {
        /// The path.
        path: PathBuf,
        /// QEMU's name of the format.
        format: &'static str,
    },
    /// Its size is not a whole number of sectors.
    #[error("the size of '{}', {length} bytes, is not a multiple of {SECTOR_SIZE}", path.display())]
    Unaligned {
        /// The path.
        path: PathBuf,
        /// Its size in bytes.
        length: u64,
    },
    /// It is not valid in its format.
    #[error("'{}' {reason}", path.display())]
    Format {
        /// The path.
        path: PathBuf,
        /// The error.
        #[source]
        reason: FormatError,
    },
    /// A backing image cannot be used.
    #[error("backing file of '{}': {source}", of.display())]
    Backing {
        /// The path of the image that names it.
        of: PathBuf,
        /// The error.
        source: Box<OpenError>,
    },
}

impl OpenError {
    /// An image is in an unsupported format.
    pub fn foreign(path: &Path, format: &'static str) -> Self {
        Self::Foreign {
            path: path.to_owned(),
            format,
        }
    }

    /// An image is not valid in its format.
    pub(in crate::block) fn format(path: &Path, reason: FormatError) -> Self {
        Self::Format {
            path: path.to_owned(),
            reason,
        }
    }
}
