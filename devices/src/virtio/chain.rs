//! Walking a descriptor chain, strictly.
//!
//! A walker that just ends at the first descriptor it does not like turns a broken chain into a
//! shorter one, and a driver's bug into a write to the wrong place. This one says what is wrong.

use virtio_bindings::bindings::virtio_ring::{
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE,
};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryMmap};

use crate::block::model::io_buffers::Segment;

/// Size of a descriptor in a table (virtio 1.2 §2.7.5).
const DESCRIPTOR_SIZE: u32 = 16;

/// Why a chain cannot be used. After any of these the device cannot know what the driver meant,
/// and needs a reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A descriptor lies outside guest memory.
    #[error("descriptor {index} of the table at {table:#x} is outside guest memory")]
    Unreadable {
        /// Guest address of the table.
        table: u64,
        /// Index in the table.
        index: u16,
    },
    /// An index that the table does not have.
    #[error("descriptor {index} is past the end of a table of {length}")]
    Index {
        /// The index.
        index: u16,
        /// The table's length.
        length: u16,
    },
    /// More descriptors than the queue has: a loop, or a chain that the standard forbids.
    #[error("a chain of more than {0} descriptors")]
    TooLong(u16),
    /// An indirect table inside an indirect table, or a descriptor after it.
    #[error("an indirect descriptor inside an indirect table, or with a successor")]
    Nested,
    /// The driver did not negotiate indirect descriptors.
    #[error("an indirect descriptor that was not negotiated")]
    NotNegotiated,
    /// The length of an indirect table is not a whole number of descriptors, or none.
    #[error("an indirect table of {0} bytes")]
    IndirectLength(u32),
    /// A part that the device reads after one that it writes.
    #[error("a device-readable descriptor after a device-writable one")]
    Order,
}

/// A chain, flattened: what the device reads, then what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Index of the first descriptor; names the chain in the used ring.
    pub head: u16,
    /// Device-readable parts, in order.
    pub readable: Vec<Segment>,
    /// Device-writable parts, in order.
    pub writable: Vec<Segment>,
}

/// A descriptor table, the limits of a chain in it, and what was negotiated.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// Guest address of the queue's descriptor table.
    pub address: GuestAddress,
    /// Its length, and the longest chain that the driver may build (virtio 1.2 §2.7.5.3.1).
    pub length: u16,
    /// VIRTIO_F_INDIRECT_DESC.
    pub indirect: bool,
}

impl Table {
    /// Follows the chain that starts at `head`.
    ///
    /// # Errors
    ///
    /// [`ChainError`] for everything that virtio 1.2 §2.7.5 forbids.
    pub fn walk(self, memory: &GuestMemoryMmap, head: u16) -> Result<Chain, ChainError> {
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let (mut table, mut length, mut index) = (self.address, self.length, head);
        let mut in_indirect = false;
        let mut descriptors = 0u16;
        loop {
            let descriptor = read(memory, table, length, index)?;
            let flags = u32::from(descriptor.flags());
            if flags & VRING_DESC_F_INDIRECT != 0 {
                if in_indirect || flags & VRING_DESC_F_NEXT != 0 {
                    return Err(ChainError::Nested);
                }
                if !self.indirect {
                    return Err(ChainError::NotNegotiated);
                }
                (table, length) = indirect_table(descriptor)?;
                (index, in_indirect) = (0, true);
                continue;
            }
            descriptors += 1;
            if descriptors > self.length {
                return Err(ChainError::TooLong(self.length));
            }
            chain.push(descriptor, flags)?;
            if flags & VRING_DESC_F_NEXT == 0 {
                return Ok(chain);
            }
            index = descriptor.next();
        }
    }
}

impl Chain {
    fn push(&mut self, descriptor: Descriptor, flags: u32) -> Result<(), ChainError> {
        let segment = Segment {
            address: descriptor.addr(),
            length: descriptor.len(),
        };
        if flags & VRING_DESC_F_WRITE != 0 {
            self.writable.push(segment);
        } else if self.writable.is_empty() {
            self.readable.push(segment);
        } else {
            return Err(ChainError::Order);
        }
        Ok(())
    }
}

fn read(
    memory: &GuestMemoryMmap,
    table: GuestAddress,
    length: u16,
    index: u16,
) -> Result<Descriptor, ChainError> {
    if index >= length {
        return Err(ChainError::Index { index, length });
    }
    table
        .checked_add(u64::from(index) * u64::from(DESCRIPTOR_SIZE))
        .and_then(|address| memory.read_obj(address).ok())
        .ok_or(ChainError::Unreadable {
            table: table.0,
            index,
        })
}

/// The table that an indirect descriptor points to. Its length is limited by what an index can
/// name; a chain in it is limited by the queue's size.
fn indirect_table(descriptor: Descriptor) -> Result<(GuestAddress, u16), ChainError> {
    let bytes = descriptor.len();
    let length = bytes / DESCRIPTOR_SIZE;
    match u16::try_from(length) {
        Ok(length) if length > 0 && bytes.is_multiple_of(DESCRIPTOR_SIZE) => {
            Ok((descriptor.addr(), length))
        }
        _ => Err(ChainError::IndirectLength(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: u64 = 0x1000;
    const INDIRECT: u64 = 0x4000;
    const NEXT: u16 = 1;
    const WRITE: u16 = 2;
    const IN_TABLE: u16 = 4;

    fn memory(
        descriptors: &[(u64, u32, u16, u16)],
        indirect: &[(u64, u32, u16, u16)],
    ) -> GuestMemoryMmap {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
        for (base, table) in [(TABLE, descriptors), (INDIRECT, indirect)] {
            for (i, (address, length, flags, next)) in table.iter().enumerate() {
                let descriptor = Descriptor::new(*address, *length, *flags, *next);
                memory
                    .write_obj(descriptor, GuestAddress(base + i as u64 * 16))
                    .unwrap();
            }
        }
        memory
    }

    fn walk(memory: &GuestMemoryMmap, head: u16) -> Result<Chain, ChainError> {
        let table = Table {
            address: GuestAddress(TABLE),
            length: 8,
            indirect: true,
        };
        table.walk(memory, head)
    }

    fn segment(address: u64, length: u32) -> Segment {
        Segment {
            address: GuestAddress(address),
            length,
        }
    }

    #[test]
    fn a_chain_is_followed_through_an_indirect_table() {
        let memory = memory(
            &[(0, 0, 0, 0), (INDIRECT, 48, IN_TABLE, 0)],
            &[
                (1, 16, NEXT, 2),
                (3, 1, WRITE, 0),
                (2, 512, NEXT | WRITE, 1),
            ],
        );
        let chain = walk(&memory, 1).unwrap();
        assert_eq!(chain.head, 1);
        assert_eq!(chain.readable, [segment(1, 16)]);
        assert_eq!(chain.writable, [segment(2, 512), segment(3, 1)]);
    }

    #[test]
    fn a_broken_chain_is_an_error_and_never_a_shorter_chain() {
        let walk = |direct: &[_], indirect: &[_]| walk(&memory(direct, indirect), 0).unwrap_err();
        let loops = walk(&[(0, 1, NEXT, 1), (0, 1, NEXT, 0)], &[]);
        assert_eq!(loops, ChainError::TooLong(8));
        let index = walk(&[(0, 1, NEXT, 8)], &[]);
        assert_eq!(
            index,
            ChainError::Index {
                index: 8,
                length: 8
            }
        );
        let order = walk(&[(0, 1, NEXT | WRITE, 1), (0, 1, 0, 0)], &[]);
        assert_eq!(order, ChainError::Order);
        let nested = walk(
            &[(INDIRECT, 16, IN_TABLE, 0)],
            &[(INDIRECT, 16, IN_TABLE, 0)],
        );
        assert_eq!(nested, ChainError::Nested);
        let continued = walk(&[(INDIRECT, 16, IN_TABLE | NEXT, 1)], &[(0, 1, 0, 0)]);
        assert_eq!(continued, ChainError::Nested);
        for length in [0, 8, 17, u32::MAX, 16 << 16] {
            let error = walk(&[(INDIRECT, length, IN_TABLE, 0)], &[(0, 1, 0, 0)]);
            assert_eq!(error, ChainError::IndirectLength(length));
        }
        let long: Vec<_> = (1..=9).map(|next| (0, 1, NEXT, next)).collect();
        let error = walk(&[(INDIRECT, 16 * 10, IN_TABLE, 0)], &long);
        assert_eq!(error, ChainError::TooLong(8));
        let outside = walk(&[(u64::MAX - 3, 32, IN_TABLE, 0)], &[]);
        assert!(matches!(outside, ChainError::Unreadable { index: 0, .. }));
    }

    #[test]
    fn an_indirect_descriptor_needs_the_feature() {
        let memory = memory(&[(INDIRECT, 16, IN_TABLE, 0)], &[(0, 1, 0, 0)]);
        let table = Table {
            address: GuestAddress(TABLE),
            length: 8,
            indirect: false,
        };
        assert_eq!(table.walk(&memory, 0), Err(ChainError::NotNegotiated));
    }
}
