//! A file cannot be used as a qcow2 image.

use std::io;

use crate::block::model::errno::Errno;

/// What is wrong with an image. Each is the end of a sentence that begins with its path.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The host failed to read the file.
    #[error("cannot be read: {}", Errno::of(.0))]
    Read(#[source] io::Error),
    /// It lacks the magic number.
    #[error("is not a qcow2 image")]
    Magic,
    /// It has another version.
    #[error("is of qcow2 version {0}, and only 2 and 3 are known")]
    Version(u32),
    /// The file ends before something that its header refers to.
    #[error("is truncated: it ends before the end of its {0}")]
    Truncated(&'static str),
    /// Its cluster size is invalid.
    #[error("has clusters of 2^{0} bytes, and 2^9 to 2^21 are possible")]
    ClusterBits(u32),
    /// Its header length is invalid.
    #[error("has a header of {0} bytes")]
    HeaderLength(usize),
    /// Its refcount width is invalid.
    #[error("has refcounts of 2^{0} bits, and 2^6 are the most")]
    RefcountOrder(u32),
    /// A known feature that is not supported.
    #[error("cannot be used: {0}")]
    Feature(&'static str),
    /// An unknown feature.
    #[error("has incompatible features that are not known: {0:#x}")]
    UnknownFeatures(u64),
    /// Its virtual size exceeds its tables.
    #[error("says that it has {0} bytes, which is more than its clusters can lead to")]
    Size(u64),
    /// Its virtual size is not a whole number of sectors.
    #[error("has {0} bytes for the guest, which is not a multiple of 512")]
    Unaligned(u64),
    /// A table exceeds the limit of its size.
    #[error("has {1} bytes for its {0}, which is more than any image needs")]
    TableLength(&'static str, u64),
    /// A table's offset is invalid.
    #[error("has its {0} at {1:#x}, where none can be")]
    TableOffset(&'static str, u64),
    /// The L1 table does not cover the disk.
    #[error("has an L1 table that is too small for its size")]
    ShortL1,
    /// There is no refcount table.
    #[error("has no refcount table")]
    NoRefcounts,
    /// The name of the backing file is invalid.
    #[error("has an invalid backing file name")]
    BackingName,
    /// A header extension exceeds the header, or has an invalid length.
    #[error("has an invalid header extension {0:#x}")]
    Extension(u32),
    /// Two tables share a cluster.
    #[error("is corrupt: two of its tables are at {0:#x}")]
    Overlap(u64),
    /// A table's cluster has a refcount of zero, and would be allocated again.
    #[error(
        "is corrupt: its {0} at {1:#x} counts as free space; 'qemu-img check -r all' repairs that"
    )]
    NotCounted(&'static str, u64),
    /// The backing file is not a plain file.
    #[error("has the backing file '{0}', which is not a file's name")]
    Protocol(String),
    /// The backing file's format is not supported.
    #[error("has a backing file of the format '{0}', and only raw and qcow2 are supported")]
    BackingFormat(String),
    /// It has a backing file, and none may be opened.
    #[error("has the backing file '{0}', and backing=off does not allow one")]
    BackingForbidden(String),
    /// Its chain of backing files has a loop.
    #[error("is part of a loop of backing files")]
    Loop,
    /// Its chain of backing files is too long.
    #[error("has more than {0} backing files under it")]
    Depth(usize),
    /// The library found an error that is not checked here.
    #[error("cannot be used: {0}")]
    Library(#[source] io::Error),
}
