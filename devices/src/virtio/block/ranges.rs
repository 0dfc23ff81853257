//! The data of discard and write-zeroes requests: ranges of the disk (virtio 1.2 §5.2.6).

use virtio_bindings::bindings::virtio_blk::VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
use vm_memory::{Bytes, GuestMemoryMmap};

use super::request::little_endian;
use super::space::max_sectors;
use crate::block::model::request::{Range, RangeLimits, SECTOR_SIZE, Zeroing};
use crate::block::model::segment::Segment;

/// Maximum number of ranges in one request.
pub(super) const MAX_RANGES: u32 = 32;

/// Length of one: sector, number of sectors, flags.
const LENGTH: usize = 16;

/// The result of reading a list of ranges.
pub(super) enum Listed {
    /// Valid ranges.
    Ranges(Vec<Range>, Zeroing),
    /// The list is malformed, or a range is invalid for this disk.
    Invalid,
    /// A flag that the device does not know.
    Unsupported,
}

/// Reads a list of ranges, of which these flags are permitted.
pub(super) fn read(
    memory: &GuestMemoryMmap,
    data: &[Segment],
    limits: RangeLimits,
    sectors: u64,
    allowed: u32,
) -> Listed {
    let Some(bytes) = gather(memory, data) else {
        return Listed::Invalid;
    };
    let mut ranges = Vec::new();
    // Cleared by a range that forbids it.
    let mut zeroing = Zeroing::MayUnmap;
    for entry in bytes.chunks_exact(LENGTH) {
        let [first, count, flags] = [&entry[..8], &entry[8..12], &entry[12..]].map(little_endian);
        if flags & !u64::from(allowed) != 0 {
            return Listed::Unsupported;
        }
        if flags & u64::from(VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) == 0 {
            zeroing = Zeroing::KeepSpace;
        }
        let is_inside = first.checked_add(count).is_some_and(|end| end <= sectors);
        if count > u64::from(max_sectors(Some(limits))) || !is_inside {
            return Listed::Invalid;
        }
        ranges.push(Range {
            offset: first * SECTOR_SIZE,
            length: count * SECTOR_SIZE,
        });
    }
    Listed::Ranges(ranges, zeroing)
}

/// Copies a list once, since a driver may change it meanwhile. None if it is malformed.
fn gather(memory: &GuestMemoryMmap, data: &[Segment]) -> Option<Vec<u8>> {
    let length: u64 = data.iter().map(|segment| u64::from(segment.length)).sum();
    let length = usize::try_from(length).ok()?;
    let is_list = length > 0
        && length.is_multiple_of(LENGTH)
        && length <= LENGTH * usize::try_from(MAX_RANGES).ok()?;
    if !is_list {
        return None;
    }
    let mut bytes = vec![0; length];
    let mut rest = &mut bytes[..];
    for segment in data {
        let (now, later) = rest.split_at_mut(usize::try_from(segment.length).ok()?);
        memory.read_slice(now, segment.address).ok()?;
        rest = later;
    }
    Some(bytes)
}
