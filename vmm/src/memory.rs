//! Guest memory: where it lies in the guest's address space, and where it comes from.
#![expect(
    unsafe_code,
    reason = "guest memory is mapped, and advised on, by raw pointers"
)]

use std::io;
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

/// Below 4 GiB, memory ends here at the latest: the interrupt controllers and the devices' windows
/// follow.
pub const LOW_MEMORY_END: u64 = 0xc000_0000;

/// Memory that does not fit below [`LOW_MEMORY_END`] goes on here.
pub const HIGH_MEMORY_START: u64 = 1 << 32;

/// The host's huge pages. KVM maps the guest's with them only where guest and host addresses lie alike
/// in theirs, so that host memory must begin on such a boundary as guest memory does.
const HUGE_PAGE: usize = 2 << 20;

/// The host refused the memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {size} bytes of guest memory: {reason}")]
pub struct MemoryError {
    size: u64,
    reason: String,
}

/// Allocates guest memory. Nothing of it is resident until the guest touches it; in huge pages where
/// the host has them, which make loading a kernel and booting it two to three times as fast.
///
/// # Errors
///
/// [`MemoryError`] when the host refuses the mapping.
pub fn allocate(size: u64) -> Result<Arc<GuestMemoryMmap>, MemoryError> {
    let error = |reason: &dyn ToString| MemoryError {
        size,
        reason: reason.to_string(),
    };
    let low = size.min(LOW_MEMORY_END);
    let mut regions = Vec::new();
    for (start, length) in [(0, low), (HIGH_MEMORY_START, size - low)] {
        if length > 0 {
            let length = usize::try_from(length).map_err(|reason| error(&reason))?;
            let mapping = map(length).map_err(|reason| error(&reason))?;
            let region = GuestRegionMmap::new(mapping, GuestAddress(start))
                .ok_or_else(|| error(&"its addresses pass the end of the address space"))?;
            regions.push(region);
        }
    }
    let memory = GuestMemoryMmap::from_regions(regions).map_err(|reason| error(&reason))?;
    advise(&memory, Advice::LinuxHugepage);
    // What is the guest's is nobody's to read in a crash report. It holds for good, also when pages are given back.
    advise(&memory, Advice::LinuxDontDump);
    Ok(Arc::new(memory))
}

/// Maps anonymous memory on a huge page's boundary. The mapping stays for the life of the process, as
/// a machine's memory does.
fn map(length: usize) -> io::Result<MmapRegion> {
    let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
    let reserved = length.checked_add(HUGE_PAGE).ok_or_else(too_long)?;
    let (protection, flags) = (
        ProtFlags::READ | ProtFlags::WRITE,
        MapFlags::PRIVATE | MapFlags::NORESERVE,
    );
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), reserved, protection, flags) }?;
    let aligned = start.wrapping_byte_add(start.align_offset(HUGE_PAGE));
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
    );
    // SAFETY: `aligned` is less than a huge page past the start of a mapping that is a huge page
    // longer than `length`, and nothing unmaps it.
    unsafe { MmapRegion::build_raw(aligned.cast(), length, protection, flags) }
        .map_err(io::Error::other)
}

/// Gives every page back to the host, so that the guest starts again on zeros.
///
/// Nothing but the host and devices that are at rest may be using the memory: no vCPU runs.
pub fn clear(memory: &GuestMemoryMmap) {
    advise(memory, Advice::LinuxDontNeed);
}

/// Advises the host of all of guest memory.
fn advise(memory: &GuestMemoryMmap, advice: Advice) {
    for region in memory.iter() {
        let Ok(start) = region.get_host_address(vm_memory::MemoryRegionAddress(0)) else {
            continue;
        };
        let length = usize::try_from(region.len()).unwrap_or(usize::MAX);
        // SAFETY: the range is a private anonymous mapping that belongs to the region, which is
        // borrowed. No Rust reference into it exists, and its bytes may change at any time.
        let result = unsafe { madvise(start.cast(), length, advice) };
        if let Err(error) = result {
            tracing::debug!(%error, "madvise at {:#x}", region.start_addr().raw_value());
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
    fn guest_and_host_addresses_lie_alike_in_huge_pages() {
        let memory = allocate((3 << 30) + (64 << 20)).unwrap();
        assert_eq!(memory.num_regions(), 2);
        for region in memory.iter() {
            let host = region.get_host_address(vm_memory::MemoryRegionAddress(0));
            assert_eq!(host.unwrap().addr() % HUGE_PAGE, 0);
        }
    }

    #[test]
    fn cleared_memory_reads_as_zeros() {
        let memory = allocate(1 << 20).unwrap();
        memory.write_obj(0x5au8, GuestAddress(0x8000)).unwrap();
        clear(&memory);
        assert_eq!(memory.read_obj::<u8>(GuestAddress(0x8000)).unwrap(), 0);
    }
}
