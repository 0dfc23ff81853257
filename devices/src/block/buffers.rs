//! Guest memory as the host's scatter-gather system calls take it.
//!
//! This is the only place where guest memory becomes a raw pointer.
#![expect(
    unsafe_code,
    reason = "preadv2 and pwritev2 on guest memory take raw pointers"
)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use vm_memory::{GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

use super::{Durability, Errno};

/// The kernel takes at most this many pieces in one call (`UIO_MAXIOV`).
const MAX_PIECES: usize = 1024;

/// A piece of guest memory: its first address and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Guest physical address.
    pub address: GuestAddress,
    /// Length in bytes.
    pub length: u32,
}

/// An address range that is not guest memory, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{:#x}+{:#x} is not guest memory", .0.address.0, .0.length)]
pub struct OutsideMemory(pub Segment);

/// A list of pieces of guest memory that has been checked to lie inside it.
#[derive(Clone)]
pub struct GuestBuffers {
    /// Keeps the mapping that `pieces` points into; nothing else is asked of it.
    _memory: Arc<GuestMemoryMmap>,
    pieces: Vec<libc::iovec>,
    length: u64,
}

impl std::fmt::Debug for GuestBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuestBuffers")
            .field("pieces", &self.pieces.len())
            .field("length", &self.length)
            .finish()
    }
}

// SAFETY: the pointers stay valid for as long as `_memory` is held, in every thread, and nothing
// here forms a reference from them: only the kernel reads and writes behind them.
unsafe impl Send for GuestBuffers {}
// SAFETY: as for `Send`; a shared reference only allows reading the pointers.
unsafe impl Sync for GuestBuffers {}

impl GuestBuffers {
    /// No memory at all, for a flush.
    pub fn none(memory: &Arc<GuestMemoryMmap>) -> Self {
        Self {
            _memory: memory.clone(),
            pieces: Vec::new(),
            length: 0,
        }
    }

    /// Checks the segments and turns them into host addresses.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] with the first segment that is not all guest memory.
    pub fn new(
        memory: &Arc<GuestMemoryMmap>,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<Self, OutsideMemory> {
        let mut buffers = Self::none(memory);
        for segment in segments {
            let slices = memory
                .get_slices(
                    segment.address,
                    segment.length as usize,
                    Permissions::ReadWrite,
                )
                .map_err(|_| OutsideMemory(segment))?;
            for slice in slices {
                let slice = slice.map_err(|_| OutsideMemory(segment))?;
                buffers.pieces.push(libc::iovec {
                    iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                    iov_len: slice.len(),
                });
            }
            buffers.length += u64::from(segment.length);
        }
        Ok(buffers)
    }

    /// Total length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Fills the buffers from `file` at `offset`. A file that ends too early is an I/O error: the
    /// disk is larger than what is left of its image.
    ///
    /// # Errors
    ///
    /// The host's errno, or [`Errno::EIO`].
    pub fn read_from(&self, file: &File, offset: u64) -> Result<(), Errno> {
        self.transfer(offset, |pieces, count, offset| {
            // SAFETY: the pieces lie in `self._memory`, which lives through the call, and the
            // guest's memory may be written at any time by anyone.
            unsafe { libc::preadv2(file.as_raw_fd(), pieces, count, offset, 0) }
        })
    }

    /// Writes the buffers to `file` at `offset`.
    ///
    /// # Errors
    ///
    /// The host's errno.
    pub fn write_to(&self, file: &File, offset: u64, durability: Durability) -> Result<(), Errno> {
        let flags = match durability {
            Durability::Cached => 0,
            Durability::Durable => libc::RWF_DSYNC,
        };
        self.transfer(offset, |pieces, count, offset| {
            // SAFETY: as in `read_from`; the kernel only reads the pieces.
            unsafe { libc::pwritev2(file.as_raw_fd(), pieces, count, offset, flags) }
        })
    }

    /// Calls `step` until every byte is moved; a step may move less than it was asked to.
    fn transfer(
        &self,
        mut offset: u64,
        step: impl Fn(*const libc::iovec, libc::c_int, libc::off_t) -> isize,
    ) -> Result<(), Errno> {
        let mut pieces = self.pieces.clone();
        let mut rest = &mut pieces[..];
        loop {
            while rest.first().is_some_and(|piece| piece.iov_len == 0) {
                rest = &mut rest[1..];
            }
            if rest.is_empty() {
                return Ok(());
            }
            let count = rest.len().min(MAX_PIECES);
            let moved = step(
                rest.as_ptr(),
                libc::c_int::try_from(count).map_err(|_| Errno::EIO)?,
                libc::off_t::try_from(offset).map_err(|_| Errno::EFBIG)?,
            );
            let mut moved = match usize::try_from(moved) {
                Ok(0) => return Err(Errno::EIO),
                Ok(moved) => moved,
                Err(_) => match Errno::of(&std::io::Error::last_os_error()) {
                    Errno(libc::EINTR) => continue,
                    errno => return Err(errno),
                },
            };
            offset += moved as u64;
            while moved > 0 {
                let piece = &mut rest[0];
                let step = moved.min(piece.iov_len);
                piece.iov_base = piece.iov_base.cast::<u8>().wrapping_add(step).cast();
                piece.iov_len -= step;
                moved -= step;
                if piece.iov_len == 0 {
                    rest = &mut rest[1..];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use vm_memory::Bytes;

    use super::*;

    fn memory() -> Arc<GuestMemoryMmap> {
        let regions = [
            (GuestAddress(0), 0x1_0000),
            (GuestAddress(0x1_0000), 0x1_0000),
            (GuestAddress(0x10_0000), 0x1_0000),
        ];
        Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap())
    }

    fn segment(address: u64, length: u32) -> Segment {
        Segment {
            address: GuestAddress(address),
            length,
        }
    }

    #[test]
    fn data_crosses_segments_and_regions_in_order() {
        let memory = memory();
        let text: Vec<u8> = (0..=252u8).cycle().take(9000).collect();
        memory
            .write_slice(&text[..6000], GuestAddress(0x1_0000 - 3000))
            .unwrap();
        memory
            .write_slice(&text[6000..], GuestAddress(0x10_0000))
            .unwrap();
        let buffers = GuestBuffers::new(
            &memory,
            [segment(0x1_0000 - 3000, 6000), segment(0x10_0000, 3000)],
        )
        .unwrap();
        assert_eq!(buffers.length(), 9000);
        let file = tempfile::tempfile().unwrap();
        buffers.write_to(&file, 512, Durability::Durable).unwrap();
        let many: Vec<_> = (0..3000u32).map(|i| segment(u64::from(i) * 3, 3)).collect();
        let read = GuestBuffers::new(&memory, many).unwrap();
        read.read_from(&file, 512).unwrap();
        let mut back = vec![0; 9000];
        memory.read_slice(&mut back, GuestAddress(0)).unwrap();
        assert!(back == text);
    }

    #[test]
    fn a_segment_outside_memory_is_refused_by_name() {
        let memory = memory();
        for outside in [
            segment(0x2_0000, 1),
            segment(0x1_ffff, 2),
            segment(u64::MAX, 2),
            segment(0, u32::MAX),
        ] {
            let refused = GuestBuffers::new(&memory, [segment(0, 1), outside]);
            assert_eq!(refused.unwrap_err(), OutsideMemory(outside));
        }
    }

    #[test]
    fn an_image_that_ends_too_early_is_an_io_error() {
        let memory = memory();
        let file = tempfile::tempfile().unwrap();
        file.set_len(700).unwrap();
        let buffers = GuestBuffers::new(&memory, [segment(0, 1024)]).unwrap();
        assert_eq!(buffers.read_from(&file, 0), Err(Errno::EIO));
        assert_eq!(buffers.read_from(&file, 4096), Err(Errno::EIO));
    }

    #[test]
    fn an_offset_past_what_files_have_is_an_error_and_not_a_negative_one() {
        let memory = memory();
        let file = tempfile::tempfile().unwrap();
        let buffers = GuestBuffers::new(&memory, [segment(0, 512)]).unwrap();
        let cached = Durability::Cached;
        assert_eq!(
            buffers.write_to(&file, u64::MAX - 511, cached),
            Err(Errno::EFBIG)
        );
    }
}
