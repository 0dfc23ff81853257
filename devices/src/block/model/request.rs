//! Disk requests and their completions.

use serde::{Deserialize, Serialize};

use super::errno::Errno;
use super::segment::{self, Segments};

/// The unit of the virtio-blk protocol, whatever the block size is (virtio 1.2 §5.2.6).
pub const SECTOR_SIZE: u64 = 512;

/// Upper bound on a disk's requests since its creation, beyond any real run: of saved ordinals and
/// counts.
pub const MOST_REQUESTS: u64 = 1 << 62;

/// Identifies a request from submission to completion. The submitter chooses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(pub u64);

/// When a write may be called complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// Once the host has accepted it; a flush makes it durable.
    Cached,
    /// Once it survives a power cut: for a driver without flushes.
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

/// Whether zeroing a range may deallocate it on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zeroing {
    /// It stays allocated: a later write there does not fail with ENOSPC.
    KeepSpace,
    /// It may be deallocated.
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
    /// Write the buffers to the disk.
    Write {
        /// First byte on the disk.
        offset: u64,
        /// When it is complete.
        durability: Durability,
    },
    /// Make every completed write durable.
    Flush,
    /// Deallocate the ranges. Subsequent reads there return unspecified data.
    Discard {
        /// The ranges, in order.
        ranges: Vec<Range>,
    },
    /// Make the ranges read as zeroes.
    WriteZeroes {
        /// The ranges, in order.
        ranges: Vec<Range>,
        /// Whether they may be deallocated.
        zeroing: Zeroing,
        /// When it is complete.
        durability: Durability,
    },
}

impl Operation {
    /// Whether the error policy for reads applies. All other operations count as writes.
    pub fn is_read(&self) -> bool {
        matches!(self, Self::Read { .. })
    }

    /// Its first sector; zero for a flush.
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

    /// Bytes of the disk that it covers, if it moves `data_length` bytes.
    pub fn length(&self, data_length: u64) -> u64 {
        match self {
            Self::Read { .. } | Self::Write { .. } => data_length,
            Self::Flush => 0,
            Self::Discard { ranges } | Self::WriteZeroes { ranges, .. } => ranges
                .iter()
                .fold(0, |sum, range| range.length.saturating_add(sum)),
        }
    }

    /// The offset behind its last byte, if it moves `data_length` bytes; zero for a flush.
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

/// One request as its driver sent it: plain data, which can be held, delayed and saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What to do.
    pub operation: Operation,
    /// The guest memory to move; empty for a flush, a discard and zeroes.
    pub segments: Segments,
}

/// The completion of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// The token that it was submitted with.
    pub token: Token,
    /// Whether all of it was performed. After an error, part of it may have been.
    pub result: Result<(), Errno>,
}

impl Request {
    /// Bytes of the disk that it covers.
    pub fn length(&self) -> u64 {
        self.operation.length(self.data_length())
    }

    /// The offset behind its last byte; zero for a flush.
    pub fn end(&self) -> u64 {
        self.operation.end(self.data_length())
    }

    /// Its first sector; zero for a flush.
    pub fn sector(&self) -> u64 {
        self.operation.sector()
    }

    /// Bytes of guest memory that it moves.
    pub fn data_length(&self) -> u64 {
        segment::length(&self.segments)
    }
}

/// The host's limits for one range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeLimits {
    /// Longest range, in bytes.
    pub max_length: u64,
    /// Recommended alignment of its ends, in bytes.
    pub alignment: u32,
}

/// A backend's operations beside reading, writing and flushing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// [`Operation::Discard`], if it has an effect.
    pub discard: Option<RangeLimits>,
    /// [`Operation::WriteZeroes`].
    pub write_zeroes: Option<RangeLimits>,
    /// Whether [`Zeroing::MayUnmap`] deallocates.
    pub unmaps: bool,
}
