//! Where a request's data is in guest memory.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use vm_memory::bitmap::Bitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError, GuestMemoryMmap};

/// A range of guest memory: its first address and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Guest physical address.
    #[serde(with = "address")]
    pub address: GuestAddress,
    /// Length in bytes.
    pub length: u32,
}

/// A request's scatter-gather list, in the order of the data. Most requests have one segment.
pub type Segments = SmallVec<[Segment; 2]>;

impl Segment {
    /// Skips its first `count` bytes, at most its length.
    pub(crate) fn skip(&mut self, count: u32) {
        let count = count.min(self.length);
        self.address = GuestAddress(self.address.0.wrapping_add(u64::from(count)));
        self.length -= count;
    }

    /// Whether all of it is guest memory.
    pub(crate) fn is_in(self, memory: &GuestMemoryMmap) -> bool {
        self.length == 0 || memory.check_range(self.address, self.length as usize)
    }
}

/// Sum of their lengths, in bytes.
pub fn length(segments: &[Segment]) -> u64 {
    segments
        .iter()
        .map(|segment| u64::from(segment.length))
        .sum()
}

/// Writes bytes to the start of these segments, and returns how many had room.
///
/// # Errors
///
/// A segment is not guest memory.
pub(crate) fn write(
    memory: &GuestMemoryMmap,
    segments: &[Segment],
    bytes: &[u8],
) -> Result<usize, GuestMemoryError> {
    let mut rest = bytes;
    for segment in segments {
        if rest.is_empty() {
            break;
        }
        let (part, later) = rest.split_at(rest.len().min(segment.length as usize));
        memory.write_slice(part, segment.address)?;
        rest = later;
    }
    Ok(bytes.len() - rest.len())
}

/// Marks guest memory as written, for dirty tracking, which does not see writes by system calls and
/// through host addresses.
pub(crate) fn mark_written(memory: &GuestMemoryMmap, segments: &[Segment]) {
    for segment in segments {
        // Addresses outside guest memory have not been written.
        for slice in memory
            .get_slices(segment.address, segment.length as usize)
            .flatten()
        {
            slice.bitmap().mark_dirty(0, slice.len());
        }
    }
}

/// Serialises a guest address as its number.
pub(crate) mod address {
    use serde::{Deserialize, Deserializer, Serializer};
    use vm_memory::GuestAddress;

    pub(crate) fn serialize<S: Serializer>(
        address: &GuestAddress,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.serialize_u64(address.0)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<GuestAddress, D::Error> {
        u64::deserialize(from).map(GuestAddress)
    }
}
