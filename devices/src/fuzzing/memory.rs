//! Guest memory between guard pages: an access outside it ends the program.

#![expect(
    unsafe_code,
    reason = "the pages between the regions are made inaccessible, and the regions are told where they are"
)]

use std::cell::OnceCell;
use std::io::Error;
use std::ptr;
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

/// The regions: two that are adjacent for the guest, and a separate one.
pub const REGIONS: [(u64, usize); 3] = [(0, 0x8000), (SEAM, 0x8000), (0x2_0000, 0x1000)];

/// The end of the first region and start of the second.
pub const SEAM: u64 = 0x8000;

/// The end of the second, with nothing behind it.
pub const END: u64 = 0x1_0000;

/// Inaccessible bytes before and behind each region.
const GUARD: usize = 0x1_0000;

thread_local! {
    static MEMORY: OnceCell<Arc<GuestMemoryMmap>> = const { OnceCell::new() };
}

/// This thread's guest memory, zeroed. Its previous user must have ended.
pub fn cleared() -> Arc<GuestMemoryMmap> {
    let memory = MEMORY.with(|memory| memory.get_or_init(guarded).clone());
    for (base, length) in REGIONS {
        let zeroes = vec![0; length];
        memory.write_slice(&zeroes, GuestAddress(base)).unwrap();
    }
    memory
}

/// Its contents.
pub fn contents(memory: &GuestMemoryMmap) -> Vec<u8> {
    let mut contents = Vec::new();
    for (base, length) in REGIONS {
        let mut region = vec![0; length];
        memory.read_slice(&mut region, GuestAddress(base)).unwrap();
        contents.append(&mut region);
    }
    contents
}

fn guarded() -> Arc<GuestMemoryMmap> {
    let length = GUARD + REGIONS.iter().map(|(_, size)| size + GUARD).sum::<usize>();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new mapping at unused addresses, inaccessible so far.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, libc::PROT_NONE, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "{}", Error::last_os_error());
    let (mut at, mut regions) = (GUARD, Vec::new());
    for (base, size) in REGIONS {
        let region = start.cast::<u8>().wrapping_add(at);
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: whole pages of the mapping from above, which holds no objects yet.
        let result = unsafe { libc::mprotect(region.cast(), size, access) };
        assert_eq!(result, 0, "{}", Error::last_os_error());
        // SAFETY: those pages, which stay mapped for as long as the program runs, and which
        // nothing else uses.
        let mapping = unsafe { MmapRegion::build_raw(region, size, access, flags) };
        regions.push(GuestRegionMmap::new(mapping.unwrap(), GuestAddress(base)).unwrap());
        at += size + GUARD;
    }
    Arc::new(GuestMemoryMmap::from_regions(regions).unwrap())
}
