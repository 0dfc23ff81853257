//! Guest memory: its place in the guest's address space, and its pages on the host.
#![expect(
    unsafe_code,
    reason = "guest memory is mapped, and advised on, by raw pointers"
)]

mod presence;

use std::fmt;
use std::io;
use std::sync::Arc;

use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags, madvise, mmap_anonymous, mprotect};
use vm_memory::{
    Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MmapRegion,
};

use crate::address_map::{HIGH_MEMORY_START, LOW_MEMORY_END};
use crate::parallel::Threads;

/// The host's huge pages. KVM maps guest memory with them only where guest and host addresses have the same offset in
/// theirs, so that host memory must begin on such a boundary as guest memory does.
pub const HUGE_PAGE: usize = 2 << 20;

/// An amount of memory in bytes, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount(pub u64);

impl fmt::Display for Amount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes.is_multiple_of(1 << 20) => write!(formatter, "{} MiB", bytes >> 20),
            bytes => write!(formatter, "{} KiB", bytes >> 10),
        }
    }
}

/// The host refused the memory.
#[derive(Debug, thiserror::Error)]
#[error("cannot allocate {size} bytes of guest memory: {reason}")]
pub struct MemoryError {
    size: u64,
    reason: String,
}

/// The host's pages that back guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    /// Huge pages where the host has some, which make loading and booting a kernel two to three times as fast; small
    /// ones elsewhere.
    #[default]
    Transparent,
    /// Huge pages of 2 MiB from the host's pool (hugetlbfs), all of them reserved at the start.
    Pool,
}

/// When guest memory becomes resident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// When the guest touches it.
    #[default]
    OnTouch,
    /// At the start.
    Always,
}

/// The backing of guest memory.
#[derive(Debug, Clone, Copy)]
pub struct Backing {
    /// Its pages.
    pub pages: Pages,
    /// When they become resident.
    pub presence: Presence,
    /// The threads that write to all of it.
    pub threads: Threads,
}

/// Allocates guest memory, within the host's own rules on overcommitment.
///
/// # Errors
///
/// [`MemoryError`] if the host refuses the mapping, or lacks what is to be resident at the start.
pub fn allocate(size: u64, backing: &Backing) -> Result<Arc<GuestMemoryMmap>, MemoryError> {
    let error = |reason: &dyn ToString| MemoryError {
        size,
        reason: reason.to_string(),
    };
    if backing.presence == Presence::Always && backing.pages == Pages::Transparent {
        check_available(size, presence::available()).map_err(|reason| error(&reason))?;
    }
    let low = size.min(LOW_MEMORY_END);
    let mut regions = Vec::new();
    for (start, length) in [(0, low), (HIGH_MEMORY_START, size - low)] {
        if length > 0 {
            let length = usize::try_from(length).map_err(|reason| error(&reason))?;
            let mapping = match backing.pages {
                Pages::Transparent => map(length).map_err(|reason| error(&reason)),
                Pages::Pool => map_from_pool(length).map_err(|reason| error(&pool(size, &reason))),
            };
            let region = GuestRegionMmap::new(mapping?, GuestAddress(start))
                .ok_or_else(|| error(&"its addresses pass the end of the address space"))?;
            regions.push(region);
        }
    }
    let memory = GuestMemoryMmap::from_regions(regions).map_err(|reason| error(&reason))?;
    if backing.pages == Pages::Transparent {
        advise(&memory, Advice::LinuxHugepage);
    }
    // Core dumps leave out guest memory. The advice is permanent, also for pages that are freed.
    advise(&memory, Advice::LinuxDontDump);
    if backing.presence == Presence::Always {
        presence::populate(&memory, backing.threads).map_err(|reason| error(&reason))?;
    }
    Ok(Arc::new(memory))
}

/// Refuses resident memory that the host cannot provide: the OOM killer would end processes, perhaps this one, before a
/// page is refused.
fn check_available(size: u64, available: Option<u64>) -> Result<(), String> {
    match available {
        Some(available) if available < size => Err(format!(
            "all of it is to be there (--mem-prealloc), and the host has {} MiB left",
            available >> 20
        )),
        _ => Ok(()),
    }
}

/// There are no huge pages.
fn pool(size: u64, error: &io::Error) -> String {
    let needed = size.div_ceil(HUGE_PAGE as u64);
    match presence::free_huge_pages() {
        None => "the host has no huge pages of 2 MiB".to_owned(),
        Some(free) if free < needed => format!(
            "it takes {needed} huge pages, and the host has {free} free (sysctl vm.nr_hugepages makes more)"
        ),
        Some(_) => error.to_string(),
    }
}

/// Maps reserved huge pages of the host's pool: every access to the mapping succeeds. It lasts for the life of the
/// process.
fn map_from_pool(length: usize) -> io::Result<MmapRegion> {
    let (protection, flags) = (
        ProtFlags::READ | ProtFlags::WRITE,
        MapFlags::PRIVATE | MapFlags::HUGETLB | MapFlags::HUGE_2MB,
    );
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), length, protection, flags) }?;
    // SAFETY: the range is a mapping of that length, and nothing unmaps it.
    unsafe { region_at(start.cast(), length) }
}

/// Maps anonymous memory on a huge page's boundary, for the life of the process, as a machine's memory lasts.
///
/// The remainders before and after it are inaccessible. If they were not, the kernel might merge them with a
/// neighbouring mapping, a thread's stack for one, into a huge page of both.
fn map(length: usize) -> io::Result<MmapRegion> {
    let too_long = || io::Error::from(io::ErrorKind::OutOfMemory);
    let reserved = length.checked_add(HUGE_PAGE).ok_or_else(too_long)?;
    let (nothing, flags) = (ProtFlags::empty(), MapFlags::PRIVATE);
    // SAFETY: a new mapping at a place of the kernel's choice touches no memory that is in use.
    let start = unsafe { mmap_anonymous(std::ptr::null_mut(), reserved, nothing, flags) }?;
    let aligned = start.wrapping_byte_add(start.align_offset(HUGE_PAGE));
    // SAFETY: `aligned` is less than a huge page past the start of a mapping that is a huge page longer than `length`,
    // and that nothing else refers to.
    unsafe { mprotect(aligned, length, MprotectFlags::READ | MprotectFlags::WRITE) }?;
    // SAFETY: it is the mapping just made, and nothing unmaps it.
    unsafe { region_at(aligned.cast(), length) }
}

/// Memory that is mapped for the life of the process.
///
/// # Safety
///
/// It must be such memory, readable and writable.
unsafe fn region_at(start: *mut u8, length: usize) -> io::Result<MmapRegion> {
    let (protection, flags) = (
        libc::PROT_READ | libc::PROT_WRITE,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
    );
    // SAFETY: by this function's contract.
    unsafe { MmapRegion::build_raw(start, length, protection, flags) }.map_err(io::Error::other)
}

/// The size of guest memory in bytes.
pub fn size(memory: &GuestMemoryMmap) -> u64 {
    memory.iter().map(GuestMemoryRegion::len).sum()
}

/// Zeroes all of memory for the guest's next start.
///
/// Pages that need not stay resident are returned to the host. The others are written to, as are those of the host's
/// pool, which another process could take once they are returned.
///
/// Only the host and quiesced devices may use the memory: no vCPU runs.
pub fn clear(memory: &GuestMemoryMmap, backing: &Backing) {
    let gives_back = backing.presence == Presence::OnTouch && backing.pages == Pages::Transparent;
    if !gives_back || !advise(memory, Advice::LinuxDontNeed) {
        presence::zero(memory, backing.threads);
    }
}

/// Advises the host about all of guest memory. False if it did not take the advice.
fn advise(memory: &GuestMemoryMmap, advice: Advice) -> bool {
    let mut taken = true;
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
            taken = false;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    fn backing(pages: Pages, presence: Presence) -> Backing {
        let threads = Threads::up_to(2);
        Backing {
            pages,
            presence,
            threads,
        }
    }

    fn on_touch() -> Backing {
        backing(Pages::Transparent, Presence::OnTouch)
    }

    #[test]
    fn memory_leaves_the_hole_below_four_gigabytes_free() {
        let memory = allocate(4 << 30, &on_touch()).unwrap();
        let last = GuestAddress(HIGH_MEMORY_START + (4 << 30) - LOW_MEMORY_END - 1);
        assert_eq!(memory.last_addr(), last);
        let inside = |address| memory.read_obj::<u8>(GuestAddress(address)).is_ok();
        assert!(inside(LOW_MEMORY_END - 1) && inside(HIGH_MEMORY_START));
        assert!(!inside(LOW_MEMORY_END) && !inside(HIGH_MEMORY_START - 1));
    }

    #[test]
    fn guest_and_host_addresses_lie_alike_in_huge_pages() {
        let memory = allocate((3 << 30) + (64 << 20), &on_touch()).unwrap();
        assert_eq!(memory.num_regions(), 2);
        for region in memory.iter() {
            let host = region.get_host_address(vm_memory::MemoryRegionAddress(0));
            assert_eq!(host.unwrap().addr() % HUGE_PAGE, 0);
        }
    }

    #[test]
    fn guest_memory_is_surrounded_by_guard_pages() {
        let memory = allocate(6 << 20, &on_touch()).unwrap();
        let region = memory.iter().next().unwrap();
        let host = region.get_host_address(vm_memory::MemoryRegionAddress(0));
        let start = host.unwrap().addr();
        let end = start + (6 << 20);
        let number = |text: &str| usize::from_str_radix(text, 16).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let beside: usize = maps
            .lines()
            .filter_map(|line| {
                let (range, rest) = line.split_once(' ')?;
                let (from, to) = range.split_once('-')?;
                let (from, to) = (number(from), number(to));
                let touches = to == start || from == end;
                (touches && rest.starts_with("---p")).then_some(to - from)
            })
            .sum();
        assert!(beside >= HUGE_PAGE, "{beside} bytes, in {maps}");
    }

    #[test]
    fn cleared_memory_reads_as_zeros() {
        for presence in [Presence::OnTouch, Presence::Always] {
            let backing = backing(Pages::Transparent, presence);
            let memory = allocate(1 << 20, &backing).unwrap();
            memory.write_obj(0x5au8, GuestAddress(0x8000)).unwrap();
            clear(&memory, &backing);
            assert_eq!(memory.read_obj::<u8>(GuestAddress(0x8000)).unwrap(), 0);
        }
    }

    #[test]
    fn memory_that_the_host_does_not_have_is_refused_in_one_line() {
        let always = backing(Pages::Transparent, Presence::Always);
        for (backing, reason) in [
            (on_touch(), "Cannot allocate memory"),
            (
                always,
                "all of it is to be there (--mem-prealloc), and the host has ",
            ),
        ] {
            let error = allocate(1 << 46, &backing).unwrap_err().to_string();
            let start = format!("cannot allocate {} bytes of guest memory: ", 1u64 << 46);
            let rest = error.strip_prefix(&start).unwrap();
            assert!(rest.starts_with(reason) && !rest.contains('\n'), "{error}");
        }
        assert!(check_available(4096, None).is_ok() && check_available(4096, Some(4096)).is_ok());
    }

    #[test]
    fn more_huge_pages_than_the_pool_has_are_refused_in_one_line() {
        let backing = backing(Pages::Pool, Presence::OnTouch);
        let error = allocate(1 << 46, &backing).unwrap_err().to_string();
        let said = error.contains("it takes 33554432 huge pages, and the host has ")
            || error.contains("the host has no huge pages of 2 MiB");
        assert!(said, "{error}");
    }
}
