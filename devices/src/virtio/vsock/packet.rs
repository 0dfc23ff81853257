//! Packets of virtio-vsock (virtio 1.3 §5.10.6).
//!
//! The header is defined here, not taken from the crate `virtio-vsock`: that one parses `virtio_queue`'s descriptor
//! chains, refuses a payload in several descriptors, and does not export a header by itself.

use vm_memory::{Bytes, GuestMemoryError, GuestMemoryMmap};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::block::model::segment::{self, Segment};

/// Length of a header in bytes.
pub(crate) const HEADER: usize = size_of::<Header>();

/// Maximum payload of a packet in bytes, as in Linux (`VIRTIO_VSOCK_MAX_PKT_BUF_SIZE`).
pub(crate) const MAX_PAYLOAD: u32 = 64 << 10;

/// The host's CID (virtio 1.3 §5.10.4).
pub(crate) const HOST_CID: u64 = 2;

/// A stream socket (`VIRTIO_VSOCK_TYPE_STREAM`).
pub(crate) const STREAM: u16 = 1;

/// Operations of a packet (virtio 1.3 §5.10.6).
pub(crate) mod operation {
    pub const REQUEST: u16 = 1;
    pub const RESPONSE: u16 = 2;
    pub const RESET: u16 = 3;
    pub const SHUTDOWN: u16 = 4;
    pub const DATA: u16 = 5;
    pub const CREDIT_UPDATE: u16 = 6;
    pub const CREDIT_REQUEST: u16 = 7;
}

/// Flags of `SHUTDOWN` (virtio 1.3 §5.10.6.5): what its sender does no longer.
pub(crate) mod shutdown {
    pub const RECEIVE: u32 = 1;
    pub const SEND: u32 = 2;
    pub const BOTH: u32 = RECEIVE | SEND;
}

/// The header of a packet, `struct virtio_vsock_hdr`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub(crate) struct Header {
    pub source_cid: U64,
    pub destination_cid: U64,
    pub source_port: U32,
    pub destination_port: U32,
    /// Bytes of payload behind the header.
    pub length: U32,
    pub kind: U16,
    pub operation: U16,
    pub flags: U32,
    /// Bytes that the sender's buffer holds.
    pub buffer: U32,
    /// Bytes that have left the sender's buffer, modulo 2^32.
    pub forwarded: U32,
}

impl Header {
    /// Reads the header at the start of these segments, which are at least as long.
    ///
    /// # Errors
    ///
    /// When a segment is not guest memory.
    pub(crate) fn read(
        memory: &GuestMemoryMmap,
        segments: &[Segment],
    ) -> Result<Self, GuestMemoryError> {
        let mut bytes = [0; HEADER];
        let mut rest = &mut bytes[..];
        for segment in cut(segments, 0, HEADER as u64) {
            let (part, later) = rest.split_at_mut(rest.len().min(segment.length as usize));
            memory.read_slice(part, segment.address)?;
            rest = later;
        }
        Ok(zerocopy::transmute!(bytes))
    }

    /// Writes it to the start of these segments, which are at least as long.
    ///
    /// # Errors
    ///
    /// When a segment is not guest memory.
    pub(crate) fn write(
        &self,
        memory: &GuestMemoryMmap,
        segments: &[Segment],
    ) -> Result<(), GuestMemoryError> {
        segment::write(memory, segments, self.as_bytes()).map(drop)
    }

    /// The answer that refuses a packet (virtio 1.3 §5.10.6.3).
    pub(crate) fn refusal(&self) -> Self {
        Self {
            source_cid: self.destination_cid,
            destination_cid: self.source_cid,
            source_port: self.destination_port,
            destination_port: self.source_port,
            kind: self.kind,
            operation: operation::RESET.into(),
            ..Self::default()
        }
    }
}

/// `length` bytes of these segments from `skip` on, or as many as there are.
pub(crate) fn cut(
    segments: &[Segment],
    skip: u64,
    length: u64,
) -> impl Iterator<Item = Segment> + '_ {
    let (mut skip, mut left) = (skip, length);
    segments.iter().filter_map(move |segment| {
        let mut segment = *segment;
        let skipped = u32::try_from(skip).unwrap_or(u32::MAX).min(segment.length);
        segment.skip(skipped);
        skip -= u64::from(skipped);
        segment.length = segment.length.min(u32::try_from(left).unwrap_or(u32::MAX));
        left -= u64::from(segment.length);
        (segment.length > 0).then_some(segment)
    })
}

/// Bytes of these segments behind a header; none if they are too short for one.
pub(crate) fn room(segments: &[Segment]) -> Option<u64> {
    segment::length(segments).checked_sub(HEADER as u64)
}

#[cfg(test)]
mod tests {
    use vm_memory::GuestAddress;

    use super::*;

    fn segments(parts: &[(u64, u32)]) -> Vec<Segment> {
        let segment = |(address, length): &(u64, u32)| Segment {
            address: GuestAddress(*address),
            length: *length,
        };
        parts.iter().map(segment).collect()
    }

    #[test]
    fn a_header_lies_in_memory_as_the_standard_orders_its_fields() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap();
        let header = Header {
            source_cid: 2.into(),
            destination_cid: 3.into(),
            source_port: 0x0405_0607.into(),
            destination_port: 8.into(),
            length: 9.into(),
            kind: STREAM.into(),
            operation: operation::DATA.into(),
            flags: 10.into(),
            buffer: 11.into(),
            forwarded: 12.into(),
        };
        // In three parts.
        let places = segments(&[(0x100, 1), (0x200, 0), (0x300, 20), (0x400, 100)]);
        header.write(&memory, &places).unwrap();
        assert_eq!(Header::read(&memory, &places).unwrap(), header);
        let mut bytes = [0; HEADER];
        memory
            .read_slice(&mut bytes[..1], GuestAddress(0x100))
            .unwrap();
        memory
            .read_slice(&mut bytes[1..21], GuestAddress(0x300))
            .unwrap();
        memory
            .read_slice(&mut bytes[21..], GuestAddress(0x400))
            .unwrap();
        let expected = [
            2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 7, 6, 5, 4, 8, 0, 0, 0, 9, 0, 0, 0, 1,
            0, 5, 0, 10, 0, 0, 0, 11, 0, 0, 0, 12, 0, 0, 0,
        ];
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_part_of_segments_is_their_bytes_in_order() {
        let all = segments(&[(0x100, 10), (0x200, 0), (0x300, 20)]);
        let part = |skip, length| cut(&all, skip, length).collect::<Vec<_>>();
        assert_eq!(part(0, 30), segments(&[(0x100, 10), (0x300, 20)]));
        assert_eq!(part(4, 10), segments(&[(0x104, 6), (0x300, 4)]));
        assert_eq!(part(10, u64::MAX), segments(&[(0x300, 20)]));
        assert_eq!(part(30, 1), []);
        assert_eq!(part(u64::MAX, 1), []);
        assert_eq!(part(3, 0), []);
        assert_eq!(room(&segments(&[(0, 40), (0, 5)])), Some(1));
        assert_eq!(room(&segments(&[(0, 40), (0, 3)])), None);
    }
}
