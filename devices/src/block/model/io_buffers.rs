//! Memory for the host's scatter-gather system calls: iovecs in guest memory or in bounce buffers.
//!
//! Guest memory becomes a raw pointer here, when a request is submitted. The code that completes a
//! read marks its segments as written (`segment::mark_written`).
#![expect(
    unsafe_code,
    reason = "preadv2 and pwritev2 on guest memory take raw pointers"
)]

#[cfg(test)]
mod tests;

use std::any::Any;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU8;

use smallvec::SmallVec;
use vm_memory::{GuestMemoryBackend, GuestMemoryMmap, VolatileMemory, VolatileSlice};

use super::errno::Errno;
use super::request::Range;
use super::segment::Segment;

/// Maximum number of iovecs in one call (`UIO_MAXIOV`).
const MAX_PIECES: usize = 1024;

/// An address range that is not guest memory, or not all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{:#x}+{:#x} is not guest memory", .0.address.0, .0.length)]
pub struct OutsideMemory(pub Segment);

/// A sector of a bounce buffer, aligned for direct I/O on most hosts. Its bytes may be written
/// through a pointer, as a guest's.
#[repr(align(512))]
struct OwnSector(#[expect(dead_code, reason = "used by address")] [AtomicU8; SECTOR]);

/// Its size in bytes.
const SECTOR: usize = 512;

/// A page of a bounce buffer, aligned for direct I/O on any host. Its bytes may be
/// written through a pointer, as a guest's.
#[repr(align(4096))]
struct OwnPage(#[expect(dead_code, reason = "used by address")] [AtomicU8; PAGE]);

/// Its size in bytes.
const PAGE: usize = 4096;

/// Bytes that one copy fills.
const FILLED_AT_ONCE: usize = 4096;

/// Keeps memory alive while iovecs point into it.
type Memory = Arc<dyn Any + Send + Sync>;

/// A list of iovecs, each checked to lie in guest memory or in a bounce buffer.
#[derive(Clone)]
pub struct IoBuffers {
    /// Keeps the memory of `pieces`.
    memory: Option<Memory>,
    /// Keeps the bounce buffer that the first piece may lie in.
    start: Option<Memory>,
    /// None of them is empty. Most requests have one, which needs no allocation.
    pieces: SmallVec<[libc::iovec; 1]>,
    length: u64,
}

impl std::fmt::Debug for IoBuffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IoBuffers")
            .field("pieces", &self.pieces.len())
            .field("length", &self.length)
            .finish()
    }
}

// SAFETY: the pointers stay valid for as long as `memory` and `start` are held, in every thread. No
// reference is formed from them: the kernel and the guest access what is behind them, and this
// program through volatile slices only, so that accesses of several threads at once bring other
// bytes and nothing worse.
unsafe impl Send for IoBuffers {}
// SAFETY: as for `Send`; a shared reference only allows reading the pointers.
unsafe impl Sync for IoBuffers {}

impl IoBuffers {
    /// No memory, for a flush.
    pub fn none() -> Self {
        Self::nothing_of(None)
    }

    fn nothing_of(memory: Option<Memory>) -> Self {
        Self {
            memory,
            start: None,
            pieces: SmallVec::new(),
            length: 0,
        }
    }

    /// A zeroed bounce buffer of this many bytes, in one piece. The last clone frees it.
    pub(in crate::block) fn own(length: usize) -> Self {
        let sector = |_| OwnSector([const { AtomicU8::new(0) }; SECTOR]);
        Self::of_units((0..length.div_ceil(SECTOR)).map(sector).collect(), length)
    }

    /// The same, page-aligned. It comes from the heap: mapping and unmapping memory costs more than
    /// a small request.
    pub(in crate::block) fn own_pages(length: usize) -> Self {
        let page = |_| OwnPage([const { AtomicU8::new(0) }; PAGE]);
        Self::of_units((0..length.div_ceil(PAGE)).map(page).collect(), length)
    }

    /// The first `length` bytes of these units, which are zeroed, writable and long enough.
    fn of_units<U: Send + Sync + 'static>(units: Vec<U>, length: usize) -> Self {
        let units = Arc::new(units);
        let start = units.as_ptr().cast_mut();
        let mut own = Self::nothing_of(Some(units));
        if length > 0 {
            own.pieces.push(libc::iovec {
                iov_base: start.cast(),
                iov_len: length,
            });
            own.length = length as u64;
        }
        own
    }

    /// Checks the segments and translates them to host addresses.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] with the first segment that is not all guest memory.
    pub fn new(
        memory: &Arc<GuestMemoryMmap>,
        segments: impl IntoIterator<Item = Segment>,
    ) -> Result<Self, OutsideMemory> {
        let mut buffers = Self::nothing_of(Some(memory.clone()));
        for segment in segments {
            let (address, length) = (segment.address, segment.length as usize);
            if length == 0 {
                continue;
            }
            buffers.length += u64::from(segment.length);
            if let Ok(slice) = memory.get_slice(address, length) {
                buffers.add(&slice);
                continue;
            }
            // It may span several regions.
            for slice in memory.get_slices(address, length) {
                buffers.add(&slice.map_err(|_| OutsideMemory(segment))?);
            }
        }
        Ok(buffers)
    }

    fn add(&mut self, slice: &VolatileSlice<'_>) {
        self.pieces.push(libc::iovec {
            iov_base: slice.ptr_guard_mut().as_ptr().cast(),
            iov_len: slice.len(),
        });
    }

    /// Total length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The iovecs for one system call: their address and number, zero when nothing is left. The
    /// address is valid until these buffers are moved or changed.
    pub(crate) fn pieces(&self) -> (*const libc::iovec, usize) {
        (self.pieces.as_ptr(), self.pieces.len().min(MAX_PIECES))
    }

    /// The only piece, for calls without an iovec list, which spare the kernel a copy of it.
    pub(in crate::block) fn single(&self) -> Option<(*mut u8, u32)> {
        match self.pieces[..] {
            [piece] => Some((piece.iov_base.cast(), u32::try_from(piece.iov_len).ok()?)),
            _ => None,
        }
    }

    /// The rest behind the first `count` bytes.
    pub(crate) fn after(&self, mut count: usize) -> Self {
        let mut rest = Self {
            memory: self.memory.clone(),
            start: self.start.clone(),
            pieces: SmallVec::new(),
            length: self.length.saturating_sub(count as u64),
        };
        for piece in &self.pieces {
            let step = count.min(piece.iov_len);
            count -= step;
            if step < piece.iov_len {
                rest.pieces.push(libc::iovec {
                    iov_base: piece.iov_base.cast::<u8>().wrapping_add(step).cast(),
                    iov_len: piece.iov_len - step,
                });
            }
        }
        rest
    }

    /// The first `count` bytes, or all if there are fewer.
    pub(in crate::block) fn first(&self, count: u64) -> Self {
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        let mut first = Self {
            start: self.start.clone(),
            ..Self::nothing_of(self.memory.clone())
        };
        for piece in &self.pieces {
            let step = left.min(piece.iov_len);
            if step == 0 {
                break;
            }
            left -= step;
            first.length += step as u64;
            first.pieces.push(libc::iovec {
                iov_base: piece.iov_base,
                iov_len: step,
            });
        }
        first
    }

    /// `length` bytes from `offset` on, or as many as there are.
    pub(in crate::block) fn part(&self, offset: u64, length: u64) -> Self {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.after(offset).first(length)
    }

    /// Its parts at these ranges, each with the offset of its first byte. A range that overlaps the
    /// one before, or begins behind the last byte, is skipped.
    pub(in crate::block) fn parts(
        &self,
        ranges: impl IntoIterator<Item = Range>,
    ) -> Vec<(u64, Self)> {
        let in_memory = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let mut parts = Vec::new();
        // The first piece that is not done, its offset, and the bytes done.
        let (mut from, mut begin, mut done) = (0, 0, 0);
        for range in ranges {
            let start = in_memory(range.offset);
            let end = in_memory(range.end().min(self.length));
            if start < done || start >= end {
                continue;
            }
            let mut part = Self {
                start: self.start.clone(),
                ..Self::nothing_of(self.memory.clone())
            };
            while let Some(piece) = self.pieces.get(from) {
                let piece_end = begin + piece.iov_len;
                let (first, last) = (begin.max(start), piece_end.min(end));
                if first < last {
                    let address = piece.iov_base.cast::<u8>().wrapping_add(first - begin);
                    part.pieces.push(libc::iovec {
                        iov_base: address.cast(),
                        iov_len: last - first,
                    });
                    part.length += (last - first) as u64;
                }
                if piece_end > end {
                    break;
                }
                (from, begin) = (from + 1, piece_end);
            }
            done = end;
            parts.push((range.offset, part));
        }
        parts
    }

    /// A copy of the bytes in a bounce buffer.
    pub(in crate::block) fn copy(&self) -> Self {
        let length = usize::try_from(self.length).unwrap_or(usize::MAX);
        let copy = Self::own(length);
        self.copy_to(&copy, length);
        copy
    }

    /// The same bytes, the first of which are copied to `start` and replaced by it.
    pub(in crate::block) fn with_start_in(&self, start: &Self) -> Self {
        let count = usize::try_from(start.length.min(self.length)).unwrap_or(usize::MAX);
        self.copy_to(start, count);
        let mut whole = self.after(count);
        let rest = std::mem::replace(&mut whole.pieces, start.first(count as u64).pieces);
        whole.pieces.extend(rest);
        whole.length = self.length;
        whole.start.clone_from(&start.memory);
        whole
    }

    /// The pieces as volatile memory: the guest and the kernel may change it at any time.
    fn slices(&self) -> impl Iterator<Item = VolatileSlice<'_>> {
        self.pieces.iter().map(|piece| {
            // SAFETY: the piece is that long and lies in memory that is held for as long as `self`
            // is borrowed. No Rust reference into it exists: all accesses are the kernel's, the
            // guest's, or go through such slices.
            unsafe { VolatileSlice::new(piece.iov_base.cast(), piece.iov_len) }
        })
    }

    /// Copies the first bytes, as many as fit.
    pub(in crate::block) fn copy_into(&self, mut bytes: &mut [u8]) {
        for slice in self.slices() {
            let copied = slice.copy_to(bytes);
            bytes = bytes.split_at_mut(copied).1;
        }
    }

    /// Zeroes all of it.
    pub(in crate::block) fn fill_with_zeroes(&self) {
        for slice in self.slices() {
            let mut rest = Ok(slice);
            while let Ok(slice) = rest
                && !slice.is_empty()
            {
                let count = slice.len().min(FILLED_AT_ONCE);
                slice.copy_from(&[0u8; FILLED_AT_ONCE]);
                rest = slice.offset(count);
            }
        }
    }

    /// Fills all of it with these bytes, repeated; does nothing if there are none.
    pub(in crate::block) fn fill_with(&self, bytes: &[u8]) {
        let mut bytes = bytes.iter().copied().cycle();
        for slice in self.slices() {
            let mut rest = Ok(slice);
            while let Ok(slice) = rest
                && !slice.is_empty()
            {
                let mut next = [0; FILLED_AT_ONCE];
                let count = slice.len().min(next.len());
                let mut filled = 0;
                for (byte, new) in next.iter_mut().zip(bytes.by_ref().take(count)) {
                    *byte = new;
                    filled += 1;
                }
                if filled == 0 {
                    return;
                }
                let (now, _) = next.split_at(filled);
                slice.copy_from(now);
                rest = slice.offset(filled);
            }
        }
    }

    /// Inverts bits, numbered from bit 0 of the first byte. The numbers ascend; those past the end
    /// are skipped. A concurrent write to such a byte may be lost.
    pub(in crate::block) fn invert(&self, bits: &[u64]) {
        let place = |bit: u64| {
            (
                usize::try_from(bit / 8).unwrap_or(usize::MAX),
                1 << (bit % 8),
            )
        };
        let mut bits = bits.iter().copied().map(place).peekable();
        let mut begin = 0;
        for slice in self.slices() {
            let end = begin + slice.len();
            while let Some((at, mask)) = bits.next_if(|(at, _)| *at < end) {
                let byte = at.checked_sub(begin).map(|at| slice.get_ref::<u8>(at));
                if let Some(Ok(byte)) = byte {
                    byte.store(byte.load() ^ mask);
                }
            }
            begin = end;
        }
    }

    /// Copies the bytes to the beginning, as many as fit.
    pub(in crate::block) fn copy_from(&self, mut bytes: &[u8]) {
        for slice in self.slices() {
            let (now, later) = bytes.split_at(slice.len().min(bytes.len()));
            slice.copy_from(now);
            bytes = later;
        }
    }

    /// Whether every piece begins and ends at a multiple of these.
    pub(in crate::block) fn is_aligned(&self, address: usize, length: usize) -> bool {
        self.pieces.iter().all(|piece| {
            piece.iov_base.addr().is_multiple_of(address) && piece.iov_len.is_multiple_of(length)
        })
    }

    /// Copies the first `count` bytes, or as many as both hold, to the start of `to`. The two may
    /// overlap only in one piece each.
    pub(in crate::block) fn copy_to(&self, to: &Self, count: usize) {
        let mut left = count;
        let (mut sources, mut targets) = (self.slices(), to.slices());
        let (mut source, mut target) = (sources.next(), targets.next());
        while let (Some(a), Some(b), 1..) = (source, target, left) {
            let step = a.len().min(b.len()).min(left);
            if let (Ok(from), Ok(into)) = (a.subslice(0, step), b.subslice(0, step)) {
                from.copy_to_volatile_slice(into);
            }
            left -= step;
            let rest = |slice: VolatileSlice<'_>| slice.len() > step;
            source = if rest(a) {
                a.offset(step).ok()
            } else {
                sources.next()
            };
            target = if rest(b) {
                b.offset(step).ok()
            } else {
                targets.next()
            };
        }
    }

    /// Fills the buffers from `file` at `offset`, in one call. Returns the bytes that it moved.
    pub(crate) fn read_from(&self, file: &File, offset: i64) -> Result<usize, Errno> {
        let (pieces, count) = self.pieces();
        let count = libc::c_int::try_from(count).map_err(|_| Errno::EIO)?;
        // SAFETY: the pieces lie in `self.memory`, which lives through the call, and the guest's
        // memory may be written at any time by anyone.
        Errno::check(unsafe { libc::preadv2(file.as_raw_fd(), pieces, count, offset, 0) })
    }

    /// Writes the buffers to `file` at `offset`, in one call. Returns the bytes that it moved.
    pub(crate) fn write_to(&self, file: &File, offset: i64, flags: i32) -> Result<usize, Errno> {
        let (pieces, count) = self.pieces();
        let count = libc::c_int::try_from(count).map_err(|_| Errno::EIO)?;
        // SAFETY: as in `read_from`; the kernel only reads the pieces.
        Errno::check(unsafe { libc::pwritev2(file.as_raw_fd(), pieces, count, offset, flags) })
    }
}
