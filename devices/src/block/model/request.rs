//! What a disk is asked for, and how that ends.

use serde::{Deserialize, Serialize};

use super::errno::Errno;
use super::segment::{self, Segments};

/// The unit of the virtio-blk protocol, whatever the block size is (virtio 1.2 §5.2.6).
pub const SECTOR_SIZE: u64 = 512;

/// Names a request between its submission and its completion. The submitter chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// When a write may be called complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When the host has taken it; a flush makes it durable.
    Cached,
    /// When it would survive a power cut: for a driver that has no flush.
    Durable,
}

/// A part of the disk, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Range {
    /// The first byte behind it.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Whether a part of the disk that is to read as zeroes may lose its space on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zeroing {
    /// It keeps its space: a later write there does not run out of it.
    KeepSpace,
    /// Its space may be given back.
    MayUnmap,
}

/// What to do, and where on the disk. Offsets and lengths are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation {
    /// Fill the buffers from the disk.
    Read {
        /// First byte on the disk.
        offset: u64,
    },
    /// Put the buffers on the disk.
    Write {
        /// First byte on the disk.
        offset: u64,
        /// When it counts as written.
        durability: Durability,
    },
    /// Make every completed write durable.
    Flush,
    /// Nobody needs what is there any more. What is read there later is anything.
    Discard {
        /// Where, in this order.
        ranges: Vec<Range>,
    },
    /// Let these read as zeroes.
    WriteZeroes {
        /// Where, in this order.
        ranges: Vec<Range>,
        /// What may become of their space.
        zeroing: Zeroing,
        /// When they count as written.
        durability: Durability,
    },
}

impl Operation {
    /// Whether the error policy for reads applies. Everything else counts as a write.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// The first sector that it is about; zero for a flush.
    pub fn sector(&self) -> u64 {
        let offset = match self {
            Self::Read { offset } | Self::Write { offset, .. } => *offset,
            Self::Flush => 0,
            Self::Discard { ranges } | Self::WriteZeroes { ranges, .. } => {
                ranges.first().map_or(0, |range| range.offset)
            }
        };
        offset / SECTOR_SIZE
    }

    /// Bytes of the disk that it is about, if it moves `data_length` bytes.
    pub fn length(&self, data_length: u64) -> u64 {
        match self {
            Self::Read { .. } | Self::Write { .. } => data_length,
            Self::Flush => 0,
            Self::Discard { ranges } | Self::WriteZeroes { ranges, .. } => ranges
                .iter()
                .fold(0, |sum, range| range.length.saturating_add(sum)),
        }
    }

    /// The first byte behind all that it is about, if it moves `data_length` bytes; zero for a
    /// flush.
    pub fn end(&self, data_length: u64) -> u64 {
        match self {
            Self::Read { offset } | Self::Write { offset, .. } => {
                offset.saturating_add(data_length)
            }
            Self::Flush => 0,
            Self::Discard { ranges } | Self::WriteZeroes { ranges, .. } => {
                ranges.iter().map(|range| range.end()).max().unwrap_or(0)
            }
        }
    }
}

/// One request to a disk, as its driver sent it: plain data, which can be held, delayed and saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// The guest memory to move; empty for a flush, a discard and zeroes.
    pub segments: Segments,
}

/// The end of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The token that it was submitted with.
    pub token: Token,
    /// Whether the whole of it was done. After an error, part of it may have been.
    pub result: Result<(), Errno>,
}

impl Request {
    /// Bytes of the disk that it is about.
    pub fn length(&self) -> u64 {
        self.operation.length(self.data_length())
    }

    /// The first byte behind all that it is about; zero for a flush.
    pub fn end(&self) -> u64 {
        self.operation.end(self.data_length())
    }

    /// The first sector that it is about; zero for a flush.
    pub fn sector(&self) -> u64 {
        self.operation.sector()
    }

    /// Bytes of guest memory that it moves.
    pub fn data_length(&self) -> u64 {
        segment::length(&self.segments)
    }
}

/// What a host can do with one range at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeLimits {
    /// Longest range, in bytes.
    pub max_length: u64,
    /// What its ends should be multiples of, in bytes, to be worth it.
    pub alignment: u32,
}

/// What a backend offers beside reading, writing and flushing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// [`Operation::Discard`], if it does anything.
    pub discard: Option<RangeLimits>,
    /// [`Operation::WriteZeroes`].
    pub write_zeroes: Option<RangeLimits>,
    /// Whether [`Zeroing::MayUnmap`] gives space back.
    pub unmaps: bool,
}
