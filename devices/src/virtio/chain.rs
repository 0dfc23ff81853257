//! Strict walking of descriptor chains.
//!
//! A walker that ends at the first invalid descriptor turns a broken chain into a shorter one, and
//! a driver's bug into a write to the wrong place. This one returns an error.

use std::sync::Arc;

use virtio_bindings::bindings::virtio_ring::{
    VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE,
};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, VolatileMemory,
};

use super::mapped_range::MappedRange;
use crate::block::model::segment::Segment;

/// Size of a descriptor in a table (virtio 1.2 §2.7.5).
const DESCRIPTOR_SIZE: usize = 16;

/// Why a chain is invalid. The device needs a reset after any of these.
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
    /// An index past the end of the table.
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
    /// The length of an indirect table is zero, or not a multiple of a descriptor's.
    #[error("an indirect table of {0} bytes")]
    IndirectLength(u32),
    /// A device-readable part after a device-writable one.
    #[error("a device-readable descriptor after a device-writable one")]
    Order,
}

/// A flattened chain: the device-readable parts, then the device-writable ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Index of the first descriptor; identifies the chain in the used ring.
    pub head: u16,
    /// Device-readable parts, in order.
    pub readable: Vec<Segment>,
    /// Device-writable parts, in order.
    pub writable: Vec<Segment>,
}

/// A queue's descriptor table, translated once.
pub struct Table {
    memory: Arc<GuestMemoryMmap>,
    /// Its guest address.
    address: GuestAddress,
    descriptors: MappedRange,
    /// Its number of descriptors, and the longest chain that the driver may build (virtio 1.2
    /// §2.7.5.3.1).
    length: u16,
    /// VIRTIO_F_INDIRECT_DESC.
    indirect: Indirect,
}

/// Whether the driver may use indirect descriptors (VIRTIO_F_INDIRECT_DESC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Indirect {
    /// The feature is negotiated.
    Allowed,
    /// It is not.
    Forbidden,
}

impl Table {
    /// The table of `length` descriptors at `address`; none if not all of it is guest memory.
    pub fn new(
        memory: &Arc<GuestMemoryMmap>,
        address: GuestAddress,
        length: u16,
        indirect: Indirect,
    ) -> Option<Self> {
        let bytes = DESCRIPTOR_SIZE * usize::from(length);
        Some(Self {
            memory: Arc::clone(memory),
            address,
            descriptors: MappedRange::new(memory, address, bytes)?,
            length,
            indirect,
        })
    }

    /// Walks the chain that starts at `head`, into a chain whose allocations are reused.
    ///
    /// # Errors
    ///
    /// [`ChainError`] for everything that virtio 1.2 §2.7.5 forbids.
    pub fn walk(&self, head: u16, chain: &mut Chain) -> Result<(), ChainError> {
        chain.head = head;
        chain.readable.clear();
        chain.writable.clear();
        let mut index = head;
        loop {
            let descriptor = self.descriptor(index)?;
            let flags = u32::from(descriptor.flags());
            if flags & VRING_DESC_F_INDIRECT != 0 {
                if flags & VRING_DESC_F_NEXT != 0 {
                    return Err(ChainError::Nested);
                }
                if self.indirect == Indirect::Forbidden {
                    return Err(ChainError::NotNegotiated);
                }
                return self.walk_indirect(descriptor, chain);
            }
            chain.push(descriptor, flags, self.length)?;
            if flags & VRING_DESC_F_NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next();
        }
    }

    /// Walks the rest of a chain in an indirect table.
    fn walk_indirect(&self, descriptor: Descriptor, chain: &mut Chain) -> Result<(), ChainError> {
        let (table, length) = indirect_table(descriptor)?;
        let bytes = DESCRIPTOR_SIZE * usize::from(length);
        // None if it is not all guest memory, or spans regions: each access is translated then.
        let slice = self.memory.get_slice(table, bytes).ok();
        let read = |index: u16| {
            let offset = DESCRIPTOR_SIZE * usize::from(index);
            match &slice {
                Some(slice) => Some(slice.get_ref::<Descriptor>(offset).ok()?.load()),
                None => {
                    let address = table.checked_add(offset as u64)?;
                    self.memory.read_obj(address).ok()
                }
            }
        };
        let mut index = 0;
        loop {
            if index >= length {
                return Err(ChainError::Index { index, length });
            }
            let descriptor = read(index).ok_or(ChainError::Unreadable {
                table: table.0,
                index,
            })?;
            let flags = u32::from(descriptor.flags());
            if flags & VRING_DESC_F_INDIRECT != 0 {
                return Err(ChainError::Nested);
            }
            chain.push(descriptor, flags, self.length)?;
            if flags & VRING_DESC_F_NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next();
        }
    }

    fn descriptor(&self, index: u16) -> Result<Descriptor, ChainError> {
        let length = self.length;
        if index >= length {
            return Err(ChainError::Index { index, length });
        }
        self.descriptors
            .read(DESCRIPTOR_SIZE * usize::from(index))
            .map_err(|_| ChainError::Unreadable {
                table: self.address.0,
                index,
            })
    }
}

impl Chain {
    /// Adds a descriptor to a chain of at most `limit`.
    fn push(&mut self, descriptor: Descriptor, flags: u32, limit: u16) -> Result<(), ChainError> {
        if self.readable.len() + self.writable.len() >= usize::from(limit) {
            return Err(ChainError::TooLong(limit));
        }
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

/// The table that an indirect descriptor points to. The index width limits its length; the queue
/// size limits a chain in it.
fn indirect_table(descriptor: Descriptor) -> Result<(GuestAddress, u16), ChainError> {
    let bytes = descriptor.len() as usize;
    match u16::try_from(bytes / DESCRIPTOR_SIZE) {
        Ok(length) if length > 0 && bytes.is_multiple_of(DESCRIPTOR_SIZE) => {
            Ok((descriptor.addr(), length))
        }
        _ => Err(ChainError::IndirectLength(descriptor.len())),
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
    ) -> Arc<GuestMemoryMmap> {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
        for (base, table) in [(TABLE, descriptors), (INDIRECT, indirect)] {
            for (i, (address, length, flags, next)) in table.iter().enumerate() {
                let descriptor = Descriptor::new(*address, *length, *flags, *next);
                memory
                    .write_obj(descriptor, GuestAddress(base + i as u64 * 16))
                    .unwrap();
            }
        }
        Arc::new(memory)
    }

    fn walk_with(
        memory: &Arc<GuestMemoryMmap>,
        head: u16,
        indirect: Indirect,
    ) -> Result<Chain, ChainError> {
        let table = Table::new(memory, GuestAddress(TABLE), 8, indirect).unwrap();
        // Parts of a previous chain are not in the next.
        let mut chain = Chain {
            head: 7,
            readable: vec![segment(7, 7)],
            writable: vec![segment(7, 7)],
        };
        table.walk(head, &mut chain).map(|()| chain)
    }

    fn walk(memory: &Arc<GuestMemoryMmap>, head: u16) -> Result<Chain, ChainError> {
        walk_with(memory, head, Indirect::Allowed)
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
        let refused = walk_with(&memory, 0, Indirect::Forbidden);
        assert_eq!(refused, Err(ChainError::NotNegotiated));
    }
}
