//! Makes guest memory resident in advance, and zeroes it.
#![expect(unsafe_code, reason = "guest memory is known by its address")]

use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::mm::{Advice, madvise};
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress};

use crate::parallel::{self, Threads};

/// A thread's unit of work: many huge pages, for few system calls.
const PIECE: usize = 64 << 20;
/// The smallest page there is.
const PAGE: usize = 4096;

/// A part of guest memory in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    address: usize,
    length: usize,
}

impl Piece {
    fn start(self) -> *mut u8 {
        self.address as *mut u8
    }
}

/// All of guest memory, in pieces of at most [`PIECE`].
fn pieces(memory: &GuestMemoryMmap) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for region in memory.iter() {
        let Ok(start) = region.get_host_address(MemoryRegionAddress(0)) else {
            continue;
        };
        let length = usize::try_from(region.len()).unwrap_or(usize::MAX);
        pieces.extend((0..length).step_by(PIECE).map(|offset| Piece {
            address: start.addr() + offset,
            length: PIECE.min(length - offset),
        }));
    }
    pieces
}

/// Makes every page resident, without changing its content.
pub(super) fn populate(memory: &GuestMemoryMmap, threads: Threads) -> io::Result<()> {
    let pieces = pieces(memory);
    parallel::for_each(threads, pieces.len(), |index| {
        let piece = pieces[index];
        // SAFETY: the piece is a part of `memory`, which is borrowed; populating it changes no byte.
        let result = unsafe {
            madvise(
                piece.start().cast(),
                piece.length,
                Advice::LinuxPopulateWrite,
            )
        };
        match result {
            Ok(()) => Ok(()),
            // Linux before 5.14.
            Err(Errno::INVAL) => {
                touch(piece);
                Ok(())
            }
            Err(error) => Err(io::Error::from(error)),
        }
    })
}

/// Writes to each page of memory that is all zeroes.
fn touch(piece: Piece) {
    for offset in (0..piece.length).step_by(PAGE) {
        // SAFETY: `offset` is inside of the piece, a part of guest memory, into which no Rust reference exists.
        unsafe { piece.start().add(offset).write_volatile(0) };
    }
}

/// Writes zeroes to all of memory, which stays resident. No guest may run.
pub(super) fn zero(memory: &GuestMemoryMmap, threads: Threads) {
    let pieces = pieces(memory);
    let zeroed = parallel::for_each(threads, pieces.len(), |index| -> Result<(), Never> {
        let piece = pieces[index];
        // SAFETY: as in `touch`; the caller guarantees that no device and no vCPU uses the memory.
        unsafe { piece.start().write_bytes(0, piece.length) };
        Ok(())
    });
    match zeroed {
        Ok(()) => {}
        Err(never) => match never {},
    }
}

enum Never {}

/// Bytes that the host could make resident now, swap included; `None` if it does not say.
pub(super) fn available() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    Some(field(&text, "MemAvailable:")? + field(&text, "SwapFree:").unwrap_or(0))
}

/// Huge pages of 2 MiB that are neither in use nor reserved; `None` if the host has none.
pub(super) fn free_huge_pages() -> Option<u64> {
    let read = |name: &str| {
        let path = format!("/sys/kernel/mm/hugepages/hugepages-2048kB/{name}");
        fs::read_to_string(path).ok()?.trim().parse::<u64>().ok()
    };
    Some(read("free_hugepages")?.saturating_sub(read("resv_hugepages")?))
}

/// A field of /proc/meminfo, in bytes.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use vm_memory::{Bytes, GuestAddress};

    use super::*;

    fn memory() -> GuestMemoryMmap {
        let ranges = [
            (GuestAddress(0), PIECE + PAGE),
            (GuestAddress(1 << 32), PAGE),
        ];
        GuestMemoryMmap::from_ranges(&ranges).unwrap()
    }

    #[test]
    fn pieces_are_all_of_memory() {
        let lengths: Vec<_> = pieces(&memory()).iter().map(|piece| piece.length).collect();
        assert_eq!(lengths, [PIECE, PAGE, PAGE]);
    }

    #[test]
    fn zeroed_memory_is_zero_at_both_ends_of_each_region() {
        let memory = memory();
        let places = [0, PIECE as u64 - 1, PIECE as u64, 1 << 32, (1 << 32) + 4095];
        for place in places {
            memory.write_obj(7u8, GuestAddress(place)).unwrap();
        }
        zero(&memory, Threads::up_to(2));
        for place in places {
            assert_eq!(memory.read_obj::<u8>(GuestAddress(place)).unwrap(), 0);
        }
    }

    #[test]
    fn a_host_that_cannot_populate_touches_each_page() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 16 * PAGE)]).unwrap();
        for piece in pieces(&memory) {
            touch(piece);
        }
        let start = memory.get_host_address(GuestAddress(0)).unwrap();
        assert_eq!(resident(start.addr(), 16 * PAGE), 16 * PAGE);
    }

    #[test]
    fn populated_memory_is_resident_and_keeps_what_is_in_it() {
        let memory = memory();
        memory.write_obj(7u8, GuestAddress(PAGE as u64)).unwrap();
        populate(&memory, Threads::up_to(2)).unwrap();
        assert_eq!(memory.read_obj::<u8>(GuestAddress(PAGE as u64)).unwrap(), 7);
        let start = memory.get_host_address(GuestAddress(0)).unwrap();
        assert_eq!(resident(start.addr(), PIECE + PAGE), PIECE + PAGE);
    }

    /// Resident bytes of a range, by bit 63 of each page's entry (Linux `Documentation/admin-guide/mm/pagemap.rst`).
    fn resident(address: usize, length: usize) -> usize {
        use std::os::unix::fs::FileExt;
        let pagemap = fs::File::open("/proc/self/pagemap").unwrap();
        let mut entries = vec![0; length / PAGE * 8];
        let offset = address / PAGE * 8;
        pagemap.read_exact_at(&mut entries, offset as u64).unwrap();
        let is_present = |entry: &&[u8]| entry[7] & 0x80 != 0;
        entries.chunks_exact(8).filter(is_present).count() * PAGE
    }

    #[test]
    fn the_hosts_memory_is_read_in_kib() {
        let text = "MemTotal:       16000 kB\nMemAvailable:    1024 kB\nHugePages_Free:    3\n";
        assert_eq!(field(text, "MemAvailable:"), Some(1 << 20));
        assert_eq!(field(text, "SwapFree:"), None);
        assert_eq!(field(text, "HugePages_Free:"), None);
        assert!(available().unwrap() > 0);
    }
}
