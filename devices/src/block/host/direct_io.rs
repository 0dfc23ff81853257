//! The use of the host's page cache (QEMU `cache`), and the alignment that direct I/O needs.
#![expect(unsafe_code, reason = "the standard library has no statx")]

use std::fs::File;
use std::os::fd::AsRawFd;

/// The meaning of a completed write and of a flush on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMode {
    /// A write completes when the host's page cache has it; a flush makes it durable.
    #[default]
    Writeback,
    /// Transfers bypass the page cache (`O_DIRECT`); a flush empties the device's own cache.
    None,
    /// As writeback, but a flush does nothing: a crash of the host may lose everything.
    Unsafe,
}

/// The alignment of direct transfers in bytes. Powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::block) struct Alignment {
    /// Of addresses in memory.
    pub memory: usize,
    /// Of offsets in the file, and of lengths.
    pub file: usize,
}

impl Alignment {
    /// Whether an offset or a length is aligned.
    pub(in crate::block) fn is_whole(self, bytes: u64) -> bool {
        bytes.is_multiple_of(self.file as u64)
    }
}

/// Sufficient for common storage, where the host does not say.
const CAUTIOUS: Alignment = Alignment {
    memory: 4096,
    file: 4096,
};

/// The alignment that the host reports for an open file; `None` if it supports buffered I/O only.
pub(in crate::block) fn alignment(file: &File) -> Option<Alignment> {
    // SAFETY: every field of the structure is an integer, for which zero is a value.
    let mut found: libc::statx = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for as long as `file` is borrowed, the path is an empty
    // string with its end, and the structure is valid to be written.
    let result = unsafe {
        libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            libc::STATX_DIOALIGN,
            &raw mut found,
        )
    };
    if result != 0 || found.stx_mask & libc::STATX_DIOALIGN == 0 {
        // A kernel before 6.1, or a file system that does not report it.
        return Some(CAUTIOUS);
    }
    let of = |bytes: u32| usize::try_from(bytes).ok().filter(|bytes| *bytes > 0);
    Some(Alignment {
        memory: of(found.stx_dio_mem_align)?,
        file: of(found.stx_dio_offset_align)?,
    })
}
