//! Transfers of images into guest memory: they are recorded first, and then performed together, by several threads.
//!
//! Most of a machine's start is spent making memory resident and copying into it, which all CPUs of the host can share.
//! Memory is zeroed before: zeroes in a file are not copied.
#![expect(
    unsafe_code,
    reason = "the host writes into guest memory, which is known by its address"
)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::{
    GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, MemoryRegionAddress, ReadVolatile,
    VolatileMemoryError, VolatileSlice,
};

use super::image_file::ImageFile;
use crate::memory::HUGE_PAGE;
use crate::parallel::{self, Threads};

/// A thread's unit of work: a huge page of the host, so that no two threads touch the same one.
const PIECE: usize = HUGE_PAGE;

/// A unit that is copied, or skipped if it is all zeroes: small enough for a CPU's cache.
const BLOCK: usize = 64 << 10;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Most blocks that are not zeroes differ in their first bytes.
const PROBE: usize = 512;

/// Reads an image for the loader of its format. Reads into guest memory are recorded, to be performed later; reads
/// elsewhere, headers for one, are performed at once.
#[derive(Debug)]
pub(super) struct Transfers {
    image: Arc<ImageFile>,
    position: u64,
    /// Held, so that every recorded transfer has memory as its destination.
    memory: Arc<GuestMemoryMmap>,
    noted: Vec<Transfer>,
}

/// A transfer that failed.
#[derive(Debug)]
pub(super) struct Failed {
    /// The image that could not be read.
    pub image: usize,
    /// The host's error.
    pub source: io::Error,
}

impl Transfers {
    /// Begins to read an image at its start.
    pub(super) fn from(image: &Arc<ImageFile>, memory: &Arc<GuestMemoryMmap>) -> Self {
        Self {
            image: image.clone(),
            position: 0,
            memory: memory.clone(),
            noted: Vec::new(),
        }
    }

    /// Performs all transfers of some images. No two of them may have the same destination.
    pub(super) fn make(images: &[Self], threads: Threads) -> Result<(), Failed> {
        let pieces: Vec<_> = (0..)
            .zip(images)
            .flat_map(|(image, transfers)| {
                let pieces = transfers.noted.iter().flat_map(Transfer::pieces);
                pieces.map(move |piece| (image, transfers.image.file(), piece))
            })
            .collect();
        parallel::for_each(threads, pieces.len(), |index| {
            let Some((image, file, piece)) = pieces.get(index) else {
                return Ok(());
            };
            // SAFETY: destinations are guest memory, which `images` hold.
            unsafe { piece.fill(file) }.map_err(|source| Failed {
                image: *image,
                source,
            })
        })
    }

    /// Whether a range of this process's memory is guest memory.
    fn is_guest_memory(&self, part: &Range<usize>) -> bool {
        self.memory.iter().any(|region| {
            let Ok(start) = region.get_host_address(MemoryRegionAddress(0)) else {
                return false;
            };
            let length = usize::try_from(region.len()).unwrap_or(0);
            start.addr() <= part.start && part.end <= start.addr().saturating_add(length)
        })
    }
}

impl Read for Transfers {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.image.file().read_at(bytes, self.position)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for Transfers {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.image.size()?.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl ReadVolatile for Transfers {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        let left = self.image.size().map_err(VolatileMemoryError::IOError)?;
        let left = usize::try_from(left.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let mut part = buffer.subslice(0, count)?;
        self.read_exact_volatile(&mut part)?;
        Ok(count)
    }

    fn read_exact_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<(), VolatileMemoryError> {
        let length = buffer.len();
        let address = buffer.ptr_guard_mut().as_ptr().addr();
        if self.is_guest_memory(&(address..address.saturating_add(length))) {
            buffer.bitmap().mark_dirty(0, length);
            self.noted.push(Transfer {
                address,
                length,
                offset: self.position,
            });
        } else {
            let mut bytes = vec![0; length];
            let read = self.image.file().read_exact_at(&mut bytes, self.position);
            read.map_err(VolatileMemoryError::IOError)?;
            buffer.copy_from(&bytes);
        }
        self.position = self.position.saturating_add(length as u64);
        Ok(())
    }
}

/// A transfer, or a part of one: its address in this process, and its offset in the file.
#[derive(Debug, PartialEq, Eq)]
struct Transfer {
    address: usize,
    length: usize,
    offset: u64,
}

impl Transfer {
    /// Its parts, cut at huge page boundaries.
    fn pieces(&self) -> impl Iterator<Item = Self> {
        let lead = self.address % PIECE;
        let count = match self.length {
            0 => 0,
            length => (lead + length).div_ceil(PIECE),
        };
        (0..count).map(move |index| {
            let start = (index * PIECE).saturating_sub(lead);
            self.part(start, ((index + 1) * PIECE - lead).min(self.length))
        })
    }

    fn part(&self, start: usize, end: usize) -> Self {
        Self {
            address: self.address + start,
            length: end - start,
            offset: self.offset.saturating_add(start as u64),
        }
    }

    /// Copies what is not zero.
    ///
    /// # Safety
    ///
    /// `length` bytes at `address` must be guest memory, which stays mapped during the call.
    unsafe fn fill(&self, file: &File) -> io::Result<()> {
        let mut buffer = vec![0; BLOCK.min(self.length)];
        for start in (0..self.length).step_by(BLOCK) {
            let block = self.part(start, (start + BLOCK).min(self.length));
            if !block.is_zero(file, &mut buffer)? {
                // SAFETY: a part of the range that this function's contract covers.
                unsafe { block.read(file) }?;
            }
        }
        Ok(())
    }

    /// Whether this part of the file is all zeroes. Memory has them already; they are a third of a kernel.
    fn is_zero(&self, file: &File, buffer: &mut [u8]) -> io::Result<bool> {
        let bytes = &mut buffer[..self.length];
        let (probe, rest) = bytes.split_at_mut(PROBE.min(self.length));
        let mut offset = self.offset;
        for part in [probe, rest] {
            file.read_exact_at(part, offset)?;
            if *part != ZEROS[..part.len()] {
                return Ok(false);
            }
            offset = offset.saturating_add(part.len() as u64);
        }
        Ok(true)
    }

    /// Reads until it is full.
    ///
    /// # Safety
    ///
    /// As for [`Transfer::fill`].
    unsafe fn read(&self, file: &File) -> io::Result<()> {
        let mut done = 0;
        while done < self.length {
            let rest = self.part(done, self.length);
            let offset = libc::off_t::try_from(rest.offset);
            let offset = offset.map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let to = rest.address as *mut libc::c_void;
            // SAFETY: the rest is guest memory, by this function's contract.
            let count = unsafe { libc::pread(file.as_raw_fd(), to, rest.length, offset) };
            match usize::try_from(count) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use tempfile::NamedTempFile;
    use vm_memory::{Bytes, GuestAddress};

    use super::*;

    proptest! {
        #[test]
        fn the_pieces_of_a_copy_are_all_of_it_and_no_two_share_a_huge_page(
            address in 0usize..8 * PIECE,
            length in 0usize..5 * PIECE,
            offset in 0u64..1 << 40,
        ) {
            let transfer = Transfer { address, length, offset };
            let mut done = 0;
            for piece in transfer.pieces() {
                prop_assert_eq!(piece.address, address + done);
                prop_assert_eq!(piece.offset, offset + done as u64);
                prop_assert!(piece.length > 0);
                prop_assert_eq!(piece.address / PIECE, (piece.address + piece.length - 1) / PIECE);
                done += piece.length;
            }
            prop_assert_eq!(done, length);
        }
    }

    const START: GuestAddress = GuestAddress(0x12_3000);

    fn file(length: usize) -> (NamedTempFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    fn memory() -> Arc<GuestMemoryMmap> {
        Arc::new(GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap())
    }

    fn open(file: &NamedTempFile) -> Arc<ImageFile> {
        Arc::new(ImageFile::open(file.path()).unwrap())
    }

    fn make(transfers: Transfers) -> Result<(), Failed> {
        Transfers::make(&[transfers], Threads::up_to(4))
    }

    #[test]
    fn a_copy_by_many_threads_equals_the_file() {
        let (file, bytes) = file(7 * PIECE + 123);
        let (memory, image) = (memory(), open(&file));
        let mut transfers = Transfers::from(&image, &memory);
        transfers.seek(SeekFrom::Start(77)).unwrap();
        let length = bytes.len() - 77;
        memory
            .read_exact_volatile_from(START, &mut transfers, length)
            .unwrap();
        assert_eq!(transfers.stream_position().unwrap(), bytes.len() as u64);
        let mut found = vec![0xff; length];
        memory.read_slice(&mut found, START).unwrap();
        assert!(found.iter().all(|byte| *byte == 0), "it is only noted");
        make(transfers).unwrap();
        memory.read_slice(&mut found, START).unwrap();
        assert!(found == bytes[77..]);
    }

    #[test]
    fn reads_to_other_memory_are_performed_at_once() {
        let (file, bytes) = file(5000);
        let (memory, image) = (memory(), open(&file));
        let mut transfers = Transfers::from(&image, &memory);
        transfers.seek(SeekFrom::End(-1000)).unwrap();
        let mut header = [0; 2000];
        let mut slice = VolatileSlice::from(&mut header[..]);
        assert_eq!(transfers.read_volatile(&mut slice).unwrap(), 1000);
        assert_eq!(header[..1000], bytes[4000..]);
        let mut slice = VolatileSlice::from(&mut header[..]);
        assert!(transfers.read_exact_volatile(&mut slice).is_err());
        assert!(transfers.noted.is_empty());
    }

    #[test]
    fn zeroes_are_not_written_to_fresh_memory() {
        let (file, mut bytes) = file(PIECE);
        // A block of zeroes, and one that only begins with them.
        bytes[BLOCK..2 * BLOCK].fill(0);
        bytes[3 * BLOCK..4 * BLOCK - 1].fill(0);
        file.as_file().write_all_at(&bytes, 0).unwrap();
        let (memory, image) = (memory(), open(&file));
        // Aligned, so that blocks of the file are blocks of a huge page.
        let start = memory.get_host_address(GuestAddress(0)).unwrap().addr();
        let to = GuestAddress((start.next_multiple_of(PIECE) - start) as u64);
        let marks = [1, 3].map(|block: u64| GuestAddress(to.0 + block * BLOCK as u64));
        for mark in marks {
            memory.write_obj(0x5au8, mark).unwrap();
        }
        let mut transfers = Transfers::from(&image, &memory);
        memory
            .read_exact_volatile_from(to, &mut transfers, bytes.len())
            .unwrap();
        make(transfers).unwrap();
        assert_eq!(
            marks.map(|mark| memory.read_obj::<u8>(mark).unwrap()),
            [0x5a, 0]
        );
        memory.write_obj(0u8, marks[0]).unwrap();
        let mut found = vec![0xff; bytes.len()];
        memory.read_slice(&mut found, to).unwrap();
        assert!(found == bytes);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error_that_names_it() {
        let (whole, _) = file(100);
        let (short, bytes) = file(3 * PIECE);
        let memory = memory();
        let images = [&whole, &short].map(open);
        let places = [GuestAddress(0), START];
        let mut transfers = [0, 1].map(|index: usize| Transfers::from(&images[index], &memory));
        for ((transfers, to), length) in transfers.iter_mut().zip(places).zip([100, bytes.len()]) {
            memory
                .read_exact_volatile_from(to, transfers, length)
                .unwrap();
        }
        short.as_file().set_len(PIECE as u64).unwrap();
        let failed = Transfers::make(&transfers, Threads::up_to(4)).unwrap_err();
        assert_eq!(failed.image, 1);
        assert_eq!(failed.source.kind(), io::ErrorKind::UnexpectedEof);
    }
}
