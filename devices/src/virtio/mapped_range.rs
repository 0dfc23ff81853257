//! A range of guest memory that is translated to a host address once.
//!
//! A ring does not move from activation to reset, and a region lookup costs more than the access.
//! Each access checks bounds and alignment, and writes go through the region's own slice, which
//! marks them for dirty tracking.
#![expect(
    unsafe_code,
    reason = "a reference to the region is kept beside the memory that owns it"
)]

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vm_memory::bitmap::BS;
use vm_memory::{
    Address, ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryError,
    GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap, MemoryRegionAddress, VolatileMemory,
    VolatileSlice,
};

/// The dirty bitmap of guest memory.
type Dirty = <GuestRegionMmap as GuestMemoryRegion>::B;

/// A range of guest memory. Integers in it are little-endian.
pub struct MappedRange {
    /// Owns `region`.
    memory: Arc<GuestMemoryMmap>,
    address: GuestAddress,
    length: usize,
    /// The region that contains the range, and the range's offset in it. None if the range spans
    /// regions: each access is translated then.
    region: Option<(NonNull<GuestRegionMmap>, MemoryRegionAddress)>,
}

// SAFETY: the pointer is only ever read as a shared reference, and a region may be shared between
// threads (`MmapRegion` is `Sync`). `memory` goes with it.
unsafe impl Send for MappedRange {}

impl MappedRange {
    /// A range of `length` bytes at `address`; none if not all of it is guest memory.
    pub fn new(
        memory: &Arc<GuestMemoryMmap>,
        address: GuestAddress,
        length: usize,
    ) -> Option<Self> {
        if !memory.check_range(address, length) {
            return None;
        }
        let region = memory
            .to_region_addr(address)
            .filter(|(region, offset)| region.get_slice(*offset, length).is_ok())
            .map(|(region, offset)| (NonNull::from(region), offset));
        Some(Self {
            memory: Arc::clone(memory),
            address,
            length,
            region,
        })
    }

    /// All of the range, if it lies in one region.
    fn slice(&self) -> Option<VolatileSlice<'_, BS<'_, Dirty>>> {
        let (region, offset) = self.region.as_ref()?;
        // SAFETY: `new` took the pointer from a reference to a region of `memory`. A collection of
        // regions behind an `Arc` neither moves nor drops its regions, which it holds in `Arc`s of
        // their own, and `memory` lives for as long as `self`, to which the reference is bound.
        let region = unsafe { region.as_ref() };
        region.get_slice(*offset, self.length).ok()
    }

    /// The guest address of `count` bytes at `offset`, for a range in several regions.
    fn address(&self, offset: usize, count: usize) -> Result<GuestAddress, GuestMemoryError> {
        offset
            .checked_add(count)
            .filter(|end| *end <= self.length)
            .and_then(|_| self.address.checked_add(offset as u64))
            .ok_or(GuestMemoryError::InvalidBackendAddress)
    }

    /// Loads the integer at `offset`, which is aligned, atomically.
    ///
    /// # Errors
    ///
    /// When it is misaligned or outside the range.
    pub fn load(&self, offset: usize, order: Ordering) -> Result<u16, GuestMemoryError> {
        let value: u16 = match self.slice() {
            Some(slice) => slice.load(offset, order)?,
            None => self
                .memory
                .load(self.address(offset, size_of::<u16>())?, order)?,
        };
        Ok(u16::from_le(value))
    }

    /// Stores an integer at `offset`, which is aligned, atomically.
    ///
    /// # Errors
    ///
    /// When it is misaligned or outside the range.
    pub fn store(
        &self,
        value: u16,
        offset: usize,
        order: Ordering,
    ) -> Result<(), GuestMemoryError> {
        let value = value.to_le();
        match self.slice() {
            Some(slice) => Ok(slice.store(value, offset, order)?),
            None => self
                .memory
                .store(value, self.address(offset, size_of::<u16>())?, order),
        }
    }

    /// Reads an object at `offset`.
    ///
    /// # Errors
    ///
    /// When it is not all in the range.
    pub fn read<T: ByteValued>(&self, offset: usize) -> Result<T, GuestMemoryError> {
        match self.slice() {
            Some(slice) => Ok(slice.get_ref::<T>(offset)?.load()),
            None => self.memory.read_obj(self.address(offset, size_of::<T>())?),
        }
    }

    /// Writes an object at `offset`.
    ///
    /// # Errors
    ///
    /// When it is not all in the range.
    pub fn write<T: ByteValued>(&self, value: T, offset: usize) -> Result<(), GuestMemoryError> {
        match self.slice() {
            Some(slice) => {
                slice.get_ref::<T>(offset)?.store(value);
                Ok(())
            }
            None => self
                .memory
                .write_obj(value, self.address(offset, size_of::<T>())?),
        }
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Le32;

    use super::*;

    /// Two regions, adjacent at 0x1000.
    fn memory() -> Arc<GuestMemoryMmap> {
        let regions = [(GuestAddress(0), 0x1000), (GuestAddress(0x1000), 0x1000)];
        Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap())
    }

    #[test]
    fn a_range_is_the_guest_memory_at_its_address_in_one_region_and_across_two() {
        let memory = memory();
        for start in [0x100, 0xff8, 0x1000] {
            let range = MappedRange::new(&memory, GuestAddress(start), 16).unwrap();
            range.store(0x1234, 2, Ordering::Release).unwrap();
            range.write(Le32::from(0x5678_9abc), 7).unwrap();
            let mut bytes = [0; 16];
            memory.read_slice(&mut bytes, GuestAddress(start)).unwrap();
            assert_eq!(bytes[2..4], [0x34, 0x12], "{start:#x}");
            assert_eq!(bytes[7..11], [0xbc, 0x9a, 0x78, 0x56], "{start:#x}");
            assert_eq!(range.load(2, Ordering::Acquire).unwrap(), 0x1234);
            assert_eq!(u32::from(range.read::<Le32>(7).unwrap()), 0x5678_9abc);
        }
    }

    #[test]
    fn nothing_outside_the_range_is_reached() {
        let memory = memory();
        memory
            .write_slice(&[0xee; 0x2000], GuestAddress(0))
            .unwrap();
        for start in [0x100, 0xff8, 0x1000] {
            let range = MappedRange::new(&memory, GuestAddress(start), 16).unwrap();
            for offset in [15, 16, 0x100, usize::MAX] {
                assert!(range.load(offset, Ordering::Relaxed).is_err());
                assert!(range.store(0, offset, Ordering::Relaxed).is_err());
                assert!(range.read::<Le32>(offset).is_err());
                assert!(range.write(Le32::from(0), offset).is_err());
            }
            assert!(range.load(1, Ordering::Relaxed).is_err(), "misaligned");
        }
        let mut bytes = vec![0; 0x2000];
        memory.read_slice(&mut bytes, GuestAddress(0)).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0xee));
    }

    #[test]
    fn a_range_that_is_not_all_memory_is_none() {
        let memory = memory();
        for (start, length) in [(0x1ff8, 16), (0x2000, 1), (u64::MAX - 7, 16), (0, 0x2001)] {
            assert!(MappedRange::new(&memory, GuestAddress(start), length).is_none());
        }
    }

    #[test]
    fn a_range_keeps_the_memory_alive() {
        let memory = memory();
        let range = MappedRange::new(&memory, GuestAddress(0), 16).unwrap();
        drop(memory);
        range.store(7, 0, Ordering::Relaxed).unwrap();
        assert_eq!(range.load(0, Ordering::Relaxed).unwrap(), 7);
    }
}
