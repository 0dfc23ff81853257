//! Guest memory: where it lies in the guest's address space, and where it comes from.
#![expect(unsafe_code, reason = "madvise on the mapping takes a raw pointer")]

use std::sync::Arc;

use rustix::mm::{Advice, madvise};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

/// Below 4 GiB, memory ends here at the latest: the interrupt controllers and the devices' windows
/// follow.
pub const LOW_MEMORY_END: u64 = 0xc000_0000;

/// Memory that does not fit below [`LOW_MEMORY_END`] goes on here.
pub const HIGH_MEMORY_START: u64 = 1 << 32;

/// The host refused the memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {size} bytes of guest memory: {source}")]
pub struct MemoryError {
    size: u64,
    source: vm_memory::mmap::FromRangesError,
}

/// Allocates guest memory. Nothing of it is resident until the guest touches it, and then page by
/// page: a guest that boots touches little of much, and huge pages would have the host zero it all.
///
/// # Errors
///
/// [`MemoryError`] when the host refuses the mapping.
pub fn allocate(size: u64) -> Result<Arc<GuestMemoryMmap>, MemoryError> {
    let low = size.min(LOW_MEMORY_END);
    let mut ranges = vec![(GuestAddress(0), usize::try_from(low).unwrap_or(usize::MAX))];
    if size > low {
        let high = usize::try_from(size - low).unwrap_or(usize::MAX);
        ranges.push((GuestAddress(HIGH_MEMORY_START), high));
    }
    let memory =
        GuestMemoryMmap::from_ranges(&ranges).map_err(|source| MemoryError { size, source })?;
    Ok(Arc::new(memory))
}

/// Gives every page back to the host, so that the guest starts again on zeros.
///
/// Nothing but the host and devices that are at rest may be using the memory: no vCPU runs.
pub fn clear(memory: &GuestMemoryMmap) {
    for region in memory.iter() {
        let Ok(start) = region.get_host_address(vm_memory::MemoryRegionAddress(0)) else {
            continue;
        };
        let length = usize::try_from(region.len()).unwrap_or(usize::MAX);
        // SAFETY: the range is a private anonymous mapping that belongs to the region, which is
        // borrowed. No Rust reference into it exists, and its bytes may change at any time.
        let result = unsafe { madvise(start.cast(), length, Advice::LinuxDontNeed) };
        if let Err(error) = result {
            tracing::warn!(%error, "memory at {:#x} is not cleared", region.start_addr().raw_value());
        }
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    #[test]
    fn memory_leaves_the_hole_below_four_gigabytes_free() {
        let memory = allocate(5 << 30).unwrap();
        let last = GuestAddress(HIGH_MEMORY_START + (5 << 30) - LOW_MEMORY_END - 1);
        assert_eq!(memory.last_addr(), last);
        let inside = |address| memory.read_obj::<u8>(GuestAddress(address)).is_ok();
        assert!(inside(LOW_MEMORY_END - 1) && inside(HIGH_MEMORY_START));
        assert!(!inside(LOW_MEMORY_END) && !inside(HIGH_MEMORY_START - 1));
    }

    #[test]
    fn cleared_memory_reads_as_zeros() {
        let memory = allocate(1 << 20).unwrap();
        memory.write_obj(0x5au8, GuestAddress(0x8000)).unwrap();
        clear(&memory);
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x8000)).unwrap(), 0);
    }
}
