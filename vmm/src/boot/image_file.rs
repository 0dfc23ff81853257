//! An image on the host that is read into guest memory, by several threads where it is large.
//!
//! It is read into memory that is all zeros: what is zero in the file is left as it is.
//!
//! Most of the time that a kernel takes to load goes into making memory resident and copying into it, which
//! every CPU of the host can do a part of.
#![expect(
    unsafe_code,
    reason = "the host writes into guest memory, which is known by its address"
)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use vm_memory::bitmap::BitmapSlice;
use vm_memory::{ReadVolatile, VolatileMemoryError, VolatileSlice};

use crate::parallel::{self, Threads};

/// What a thread reads at a time: a huge page of the host's, so that no two threads touch the same.
const PIECE: usize = 2 << 20;

/// What is looked at at a time for being zeros: no more than stays in a CPU's cache.
const LOOK: usize = 64 << 10;
static ZEROS: [u8; LOOK] = [0; LOOK];

/// A regular file that is open for as long as the machine may start again from it.
#[derive(Debug)]
pub(super) struct ImageFile {
    file: File,
    position: u64,
    threads: Threads,
}

impl ImageFile {
    /// Opens a file. What is no regular file is refused: it could not be read a second time.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // A FIFO that nobody writes to would otherwise be waited for.
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let kind = file.metadata()?.file_type();
        if kind.is_dir() {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if !kind.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            file,
            position: 0,
            threads: Threads::up_to(usize::MAX),
        })
    }

    /// Its size in bytes, now.
    pub(super) fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Its first bytes, as many as there are up to `limit`.
    pub(super) fn head(&self, limit: usize) -> io::Result<Vec<u8>> {
        self.range(0, limit)
    }

    /// Bytes from `offset` on, as many as there are up to `limit`.
    pub(super) fn range(&self, offset: u64, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; limit];
        let mut length = 0;
        while length < limit {
            match self
                .file
                .read_at(&mut bytes[length..], offset.saturating_add(length as u64))
            {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Whether there are only zeros in a part of the file. Memory has them already, and that which is not touched need
    /// not be made resident: a quarter of a kernel's is such.
    fn is_zero(&self, piece: &Piece) -> io::Result<bool> {
        let mut bytes = vec![0; LOOK.min(piece.length)];
        for done in (0..piece.length).step_by(LOOK) {
            let part = &mut bytes[..LOOK.min(piece.length - done)];
            let offset = piece.offset.saturating_add(done as u64);
            self.file.read_exact_at(part, offset)?;
            if *part != ZEROS[..part.len()] {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Reads to an address of this process until the piece is full.
    ///
    /// # Safety
    ///
    /// `piece.length` bytes at `piece.address` must be guest memory, which stays mapped during the call.
    unsafe fn fill(&self, piece: &Piece) -> io::Result<()> {
        if self.is_zero(piece)? {
            return Ok(());
        }
        let mut done = 0;
        while done < piece.length {
            let offset = piece.offset.checked_add(done as u64);
            let offset = offset.and_then(|offset| libc::off_t::try_from(offset).ok());
            let offset = offset.ok_or(io::ErrorKind::UnexpectedEof)?;
            let to = (piece.address + done) as *mut libc::c_void;
            // SAFETY: what is left of the piece is guest memory, by this function's contract.
            let count =
                unsafe { libc::pread(self.file.as_raw_fd(), to, piece.length - done, offset) };
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

/// A part of a transfer: where it is in this process, and in the file.
#[derive(Debug, PartialEq, Eq)]
struct Piece {
    address: usize,
    length: usize,
    offset: u64,
}

/// A transfer, cut where huge pages begin.
struct Transfer {
    address: usize,
    length: usize,
    offset: u64,
}

impl Transfer {
    fn pieces(&self) -> usize {
        match self.length {
            0 => 0,
            length => (self.address % PIECE + length).div_ceil(PIECE),
        }
    }

    fn piece(&self, index: usize) -> Option<Piece> {
        if index >= self.pieces() {
            return None;
        }
        let head = self.address % PIECE;
        let start = (index * PIECE).saturating_sub(head);
        let end = ((index + 1) * PIECE - head).min(self.length);
        Some(Piece {
            address: self.address + start,
            length: end - start,
            offset: self.offset.saturating_add(start as u64),
        })
    }
}

impl Read for ImageFile {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(bytes, self.position)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl Seek for ImageFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.size()?.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl ReadVolatile for ImageFile {
    fn read_volatile<B: BitmapSlice>(
        &mut self,
        buffer: &mut VolatileSlice<'_, B>,
    ) -> Result<usize, VolatileMemoryError> {
        let left = self.size().map_err(VolatileMemoryError::IOError)?;
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
        let guard = buffer.ptr_guard_mut();
        let transfer = Transfer {
            address: guard.as_ptr().addr(),
            length: buffer.len(),
            offset: self.position,
        };
        let result = parallel::for_each(self.threads, transfer.pieces(), |index| {
            let piece = transfer.piece(index);
            // SAFETY: the piece is part of `buffer`, which is guest memory and borrowed until all threads have ended.
            piece.map_or(Ok(()), |piece| unsafe { self.fill(&piece) })
        });
        buffer.bitmap().mark_dirty(0, buffer.len());
        result.map_err(VolatileMemoryError::IOError)?;
        self.position = self.position.saturating_add(transfer.length as u64);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;
    use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

    use super::*;

    proptest! {
        #[test]
        fn the_pieces_of_a_transfer_are_all_of_it_and_no_two_share_a_huge_page(
            address in 0usize..8 * PIECE,
            length in 0usize..5 * PIECE,
            offset in 0u64..1 << 40,
        ) {
            let transfer = Transfer { address, length, offset };
            let mut done = 0;
            for index in 0..transfer.pieces() {
                let piece = transfer.piece(index).unwrap();
                prop_assert_eq!(piece.address, address + done);
                prop_assert_eq!(piece.offset, offset + done as u64);
                prop_assert!(piece.length > 0);
                prop_assert_eq!(piece.address / PIECE, (piece.address + piece.length - 1) / PIECE);
                done += piece.length;
            }
            prop_assert_eq!(done, length);
            prop_assert_eq!(transfer.piece(transfer.pieces()), None);
        }
    }

    fn image(length: usize) -> (tempfile::NamedTempFile, Vec<u8>) {
        let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[test]
    fn what_many_threads_read_is_the_file() {
        let (file, bytes) = image(7 * PIECE + 123);
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap();
        let mut image = ImageFile::open(file.path()).unwrap();
        image.seek(SeekFrom::Start(77)).unwrap();
        let length = bytes.len() - 77;
        let to = GuestAddress(0x12_3000);
        memory
            .read_exact_volatile_from(to, &mut image, length)
            .unwrap();
        let mut found = vec![0; length];
        memory.read_slice(&mut found, to).unwrap();
        assert!(found == bytes[77..]);
        assert_eq!(image.stream_position().unwrap(), bytes.len() as u64);
    }

    #[test]
    fn zeros_are_taken_to_be_in_memory_already() {
        let (file, mut bytes) = image(3 * PIECE);
        bytes[PIECE..2 * PIECE].fill(0);
        file.as_file().write_all_at(&bytes, 0).unwrap();
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap();
        let start = memory.get_host_address(GuestAddress(0)).unwrap().addr();
        // So that pieces of the file are pages of the host.
        let lead = start.next_multiple_of(PIECE) - start;
        let to = GuestAddress(lead as u64);
        let inside = GuestAddress(lead as u64 + PIECE as u64 + 4096);
        memory.write_obj(0x5au8, inside).unwrap();
        let mut image = ImageFile::open(file.path()).unwrap();
        memory
            .read_exact_volatile_from(to, &mut image, bytes.len())
            .unwrap();
        assert_eq!(memory.read_obj::<u8>(inside).unwrap(), 0x5a);
        memory.write_obj(0u8, inside).unwrap();
        let mut found = vec![0xffu8; bytes.len()];
        memory.read_slice(&mut found, to).unwrap();
        assert!(found == bytes);
    }

    #[test]
    fn a_file_that_became_shorter_is_an_error() {
        let (file, bytes) = image(3 * PIECE);
        let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 32 << 20)]).unwrap();
        let mut image = ImageFile::open(file.path()).unwrap();
        file.as_file().set_len(PIECE as u64).unwrap();
        let result = memory.read_exact_volatile_from(GuestAddress(0), &mut image, bytes.len());
        assert!(result.is_err());
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let error = ImageFile::open(path).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file");
        }
    }
}
