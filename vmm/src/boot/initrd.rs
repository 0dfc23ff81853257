//! The initial RAM disk, and its place in guest memory.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::image_file::ImageFile;
use super::kernel;
use super::transfers::Transfers;

/// x86 page size.
const PAGE: u64 = 4096;
/// Every kernel can reach an initrd below this, as its first page tables map the first GiB. ELF files have no field for
/// a kernel's reach.
const REACH: u64 = 0x3800_0000;

/// There is no initrd in memory.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// The host refused to open or read it.
    #[error("cannot read initrd '{}': {}", path.display(), super::reason(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// It is empty: its creation failed.
    #[error("initrd '{}' is empty", .0.display())]
    Empty(PathBuf),
    /// Kernel and initrd together are too large.
    #[error(
        "initrd '{}' of {size} bytes does not fit into {memory} MiB of memory beside the kernel",
        path.display()
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// MiB of memory within the kernel's reach.
        memory: u64,
    },
}

/// An open initrd.
#[derive(Debug)]
pub(super) struct Initrd {
    file: Arc<ImageFile>,
    path: PathBuf,
    /// Whether it begins in a format that Linux unpacks or mounts.
    is_recognised: bool,
}

/// An initrd's place in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placed {
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl Initrd {
    /// Opens it. Its content is up to the guest.
    pub(super) fn open(path: &Path) -> Result<Self, InitrdError> {
        let read_error = |source| InitrdError::Read {
            path: path.to_owned(),
            source,
        };
        let file = ImageFile::open(path).map_err(read_error)?;
        let head = file.head(kernel::HEAD).map_err(read_error)?;
        if head.is_empty() {
            return Err(InitrdError::Empty(path.to_owned()));
        }
        if kernel::is_kernel(&head) {
            tracing::warn!("initrd '{}' looks like a kernel", path.display());
        }
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            is_recognised: kernel::is_initrd(&head) || kernel::is_kernel(&head),
        })
    }

    /// A warning about an initrd that a Linux kernel cannot use.
    pub(super) fn note(&self) -> Option<String> {
        (!self.is_recognised).then(|| {
            format!(
                "initrd '{}' begins as nothing that Linux unpacks: neither cpio nor compressed, nor a file system",
                self.path.display()
            )
        })
    }

    /// Finds its place in `room`, and what has to be copied there.
    pub(super) fn place(
        &self,
        memory: &Arc<GuestMemoryMmap>,
        room: Range<u64>,
    ) -> Result<(Placed, Transfers), InitrdError> {
        let size = self.file.size().map_err(|error| self.unreadable(error))?;
        let start = highest_within_reach(size, &room).ok_or_else(|| InitrdError::TooLarge {
            path: self.path.clone(),
            size,
            memory: room.end >> 20,
        })?;
        let mut transfers = Transfers::from(&self.file, memory);
        let length = usize::try_from(size).unwrap_or(usize::MAX);
        memory
            .read_exact_volatile_from(GuestAddress(start), &mut transfers, length)
            .map_err(|error| self.unreadable(io::Error::other(error)))?;
        Ok((Placed { start, size }, transfers))
    }

    /// Examines the result of reading its file.
    pub(super) fn unreadable(&self, source: io::Error) -> InitrdError {
        InitrdError::Read {
            path: self.path.clone(),
            source,
        }
    }
}

/// The place of an initrd in `room`: within every kernel's reach if it fits there, otherwise as high as possible.
fn highest_within_reach(size: u64, room: &Range<u64>) -> Option<u64> {
    let near = room.start..room.end.min(REACH);
    highest(size, &near).or_else(|| highest(size, room))
}

/// The highest page in `room` at which `size` bytes fit.
fn highest(size: u64, room: &Range<u64>) -> Option<u64> {
    let start = room.end.checked_sub(size)? & !(PAGE - 1);
    (start >= room.start).then_some(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initrd_lies_as_high_as_it_may_on_a_page_of_its_own() {
        assert_eq!(highest_within_reach(4097, &(0..0x1_0000)), Some(0xe000));
        assert_eq!(
            highest_within_reach(0x1000, &(0xf000..0x1_0000)),
            Some(0xf000)
        );
        assert_eq!(highest_within_reach(0x1001, &(0xf000..0x1_0000)), None);
        assert_eq!(highest_within_reach(u64::MAX, &(0..0x1_0000)), None);
        // Below 896 MiB if that is possible.
        let room = 16 << 20..3 << 30;
        assert_eq!(highest_within_reach(4096, &room), Some(REACH - PAGE));
        assert_eq!(highest_within_reach(1 << 30, &room), Some(2 << 30));
        let (start, end) = (0x2000, 0x1000);
        assert_eq!(highest_within_reach(1, &(start..end)), None);
    }

    #[test]
    fn an_empty_initrd_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Initrd::open(file.path()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("initrd '{}' is empty", file.path().display())
        );
    }

    #[test]
    fn an_initrd_of_an_unknown_format_is_noted() {
        let note = |begin: &[u8]| {
            let file = tempfile::NamedTempFile::new().unwrap();
            let mut content = begin.to_vec();
            content.resize(4096, 0);
            std::fs::write(file.path(), content).unwrap();
            Initrd::open(file.path()).unwrap().note()
        };
        let zeroes = note(&[]).unwrap();
        assert!(zeroes.ends_with(
            "begins as nothing that Linux unpacks: neither cpio nor compressed, nor a file system"
        ));
        assert!(note(b"QFI\xfb").is_some());
        let mut ext4 = vec![0; 0x43a];
        ext4[0x438..].copy_from_slice(b"\x53\xef");
        for begin in [
            b"070701".as_slice(),
            b"\x1f\x8b",
            b"\x28\xb5\x2f\xfd",
            b"\xc7\x71",
            b"hsqs",
            &ext4,
        ] {
            assert_eq!(note(begin), None);
        }
    }

    #[test]
    fn an_initrd_that_grew_between_two_starts_is_loaded_as_it_is_now_or_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "first").unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let memory = Arc::new(memory);
        let initrd = Initrd::open(file.path()).unwrap();
        let room = 0..1 << 20;
        let (placed, _) = initrd.place(&memory, room.clone()).unwrap();
        assert_eq!(placed.size, 5);
        std::fs::write(file.path(), vec![7; 5000]).unwrap();
        let (placed, _) = initrd.place(&memory, room.clone()).unwrap();
        assert_eq!((placed.start, placed.size), (0xf_e000, 5000));
        file.as_file().set_len(2 << 20).unwrap();
        let error = initrd.place(&memory, room).unwrap_err();
        assert!(matches!(error, InitrdError::TooLarge { .. }));
    }
}
