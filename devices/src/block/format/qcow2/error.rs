//! Why a file cannot be used as a qcow2 image.

use std::io;

use crate::block::model::errno::Errno;

/// What is wrong with an image. Each is the end of a sentence that begins with its path.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// The host would not read the file.
    #[error("cannot be read: {}", Errno::of(.0))]
    Read(#[source] io::Error),
    /// It does not begin as an image does.
    #[error("is not a qcow2 image")]
    Magic,
    /// It is of another version.
    #[error("is of qcow2 version {0}, and only 2 and 3 are known")]
    Version(u32),
    /// The file ends before something that it says it has.
    #[error("is truncated: it ends before the end of its {0}")]
    Truncated(&'static str),
    /// The size of its clusters.
    #[error("has clusters of 2^{0} bytes, and 2^9 to 2^21 are possible")]
    ClusterBits(u32),
    /// The length of its header.
    #[error("has a header of {0} bytes")]
    HeaderLength(usize),
    /// The width of its refcounts.
    #[error("has refcounts of 2^{0} bits, and 2^6 are the most")]
    RefcountOrder(u32),
    /// Something that is known and not supported.
    #[error("cannot be used: {0}")]
    Feature(&'static str),
    /// Something that is not known.
    #[error("has incompatible features that are not known: {0:#x}")]
    UnknownFeatures(u64),
    /// What the guest would see is larger than its tables can be.
    #[error("says that it has {0} bytes, which is more than its clusters can lead to")]
    Size(u64),
    /// What the guest would see is not a whole number of sectors.
    #[error("has {0} bytes for the guest, which is not a multiple of 512")]
    Unaligned(u64),
    /// A table is larger than any can be.
    #[error("has {1} bytes for its {0}, which is more than any image needs")]
    TableLength(&'static str, u64),
    /// A table is where none can be.
    #[error("has its {0} at {1:#x}, where none can be")]
    TableOffset(&'static str, u64),
    /// The first-level table does not cover the disk.
    #[error("has an L1 table that is too small for its size")]
    ShortL1,
    /// Nothing would say which clusters are in use.
    #[error("has no refcount table")]
    NoRefcounts,
    /// The name of the image under it is not one.
    #[error("has an invalid backing file name")]
    BackingName,
    /// A header extension is longer than the header, or not of a length that it can have.
    #[error("has an invalid header extension {0:#x}")]
    Extension(u32),
    /// Two tables share a cluster.
    #[error("is corrupt: two of its tables are at {0:#x}")]
    Overlap(u64),
    /// A table's cluster counts as free, and would be given away.
    #[error(
        "is corrupt: its {0} at {1:#x} counts as free space; 'qemu-img check -r all' repairs that"
    )]
    NotCounted(&'static str, u64),
    /// The backing file is not a plain file.
    #[error("has the backing file '{0}', which is not a file's name")]
    Protocol(String),
    /// The backing file has a format that nothing here can read.
    #[error("has a backing file of the format '{0}', and only raw and qcow2 are supported")]
    BackingFormat(String),
    /// It has a backing file where none may be opened.
    #[error("has the backing file '{0}', and backing=off does not allow one")]
    BackingForbidden(String),
    /// Its backing files lead back to one that was there before.
    #[error("is part of a loop of backing files")]
    Loop,
    /// Its backing files have more backing files than anybody needs.
    #[error("has more than {0} backing files under it")]
    Depth(usize),
    /// The library found something that was not looked for here.
    #[error("cannot be used: {0}")]
    Library(#[source] io::Error),
}
