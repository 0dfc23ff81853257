//! Kernel images: recognition and loading.

mod bzimage;
mod elf;
mod error;
mod recognition;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::{self, KernelLoader, KernelLoaderResult};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::image_file::ImageFile;
use super::layout;
use super::transfers::Transfers;
use crate::memory::Amount;
use bzimage::BzImage;
use elf::Elf;
pub use error::{KernelError, Refusal};
pub(super) use recognition::{HEAD, is_initrd};
use recognition::{has, recognise};

/// The two bootable formats.
#[derive(Debug)]
enum Format {
    BzImage(BzImage),
    Elf(Elf),
}

impl Format {
    /// Recognises a file's format. Nothing else is kept of it: it is examined again before each start, in case the file
    /// has changed.
    fn examine(file: &ImageFile) -> Result<Self, Examined> {
        let size = file.size().map_err(Examined::Unreadable)?;
        let head = file.head(HEAD).map_err(Examined::Unreadable)?;
        if has(&head, (0, elf::MAGIC)) {
            Ok(Self::Elf(Elf::examine(file, &head, size)?))
        } else if has(&head, bzimage::MAGIC) {
            Ok(Self::BzImage(BzImage::examine(&head, size)?))
        } else {
            Err(recognise(&head).into())
        }
    }

    /// Whether it is Linux, by its own headers.
    fn is_linux(&self) -> bool {
        match self {
            Self::BzImage(_) => true,
            Self::Elf(image) => image.is_linux(),
        }
    }

    /// The end of the memory that the kernel uses.
    fn end(&self) -> u64 {
        match self {
            Self::BzImage(image) => image.end,
            Self::Elf(image) => image.end(),
        }
    }

    fn load(
        &self,
        transfers: &mut Transfers,
        memory: &GuestMemoryMmap,
    ) -> Result<KernelLoaderResult, loader::Error> {
        match self {
            Self::BzImage(_) => {
                let start = Some(GuestAddress(layout::HIGH_MEMORY));
                loader::bzimage::BzImage::load(memory, start, transfers, None)
            }
            Self::Elf(_) => loader::elf::Elf::load(memory, None, transfers, None),
        }
    }

    /// The entry of the loaded kernel.
    fn entry(&self, loaded: &KernelLoaderResult) -> Result<Entry, Refusal> {
        let elf = match self {
            Self::BzImage(_) => {
                let address = loaded.kernel_load.0.saturating_add(bzimage::ENTRY_64);
                return Ok(Entry::Linux64(address));
            }
            Self::Elf(elf) => elf,
        };
        let entry = match loaded.pvh_boot_cap {
            PvhBootCapability::PvhEntryPresent(address) => Entry::Pvh(address.0),
            _ => Entry::Linux64(loaded.kernel_load.0),
        };
        elf.check_entry(entry.address(), matches!(entry, Entry::Pvh(_)))?;
        Ok(entry)
    }
}

/// Why a file has neither format.
enum Examined {
    Unreadable(std::io::Error),
    Refused(Refusal),
}

impl From<Refusal> for Examined {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Examined {
    fn of(self, path: &Path) -> KernelError {
        let path = path.to_owned();
        match self {
            Self::Unreadable(source) => KernelError::Read { path, source },
            Self::Refused(refusal) => KernelError::Refused { path, refusal },
        }
    }
}

/// The first instruction, and the protocol by which the kernel learns about its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Linux's, in 64-bit mode (Linux `Documentation/arch/x86/boot.rst`, "64-bit boot protocol").
    Linux64(u64),
    /// Xen's, in 32-bit mode without paging (Xen `docs/misc/pvh.pandoc`).
    Pvh(u64),
}

impl Entry {
    /// The address of the first instruction.
    pub fn address(self) -> u64 {
        match self {
            Self::Linux64(address) | Self::Pvh(address) => address,
        }
    }
}

/// An open kernel image of a known format.
#[derive(Debug)]
pub struct Kernel {
    file: Arc<ImageFile>,
    path: PathBuf,
    is_linux: bool,
}

/// A kernel's place in guest memory.
#[derive(Debug)]
pub struct Placed {
    /// The vCPU's entry.
    pub entry: Entry,
    /// The end of the memory that the kernel uses.
    pub end: u64,
    /// The end of an initrd is at or below this address.
    pub initrd_limit: u64,
    /// The setup header of a bzImage.
    pub header: Option<setup_header>,
}

impl Kernel {
    /// Opens an image and recognises it.
    ///
    /// # Errors
    ///
    /// [`KernelError`] if it cannot be read or is not a kernel.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let file = ImageFile::open(path).map_err(|error| Examined::Unreadable(error).of(path))?;
        let format = Format::examine(&file).map_err(|examined| examined.of(path))?;
        Ok(Self {
            file: Arc::new(file),
            path: path.to_owned(),
            is_linux: format.is_linux(),
        })
    }

    /// Whether it is Linux by its own headers, which old ELF kernels do not say.
    pub fn is_linux(&self) -> bool {
        self.is_linux
    }

    /// Finds the kernel's place in guest memory, and what has to be copied there.
    ///
    /// # Errors
    ///
    /// [`KernelError::MemoryTooSmall`], or what is wrong with the image now.
    pub(super) fn place(
        &self,
        memory: &Arc<GuestMemoryMmap>,
        low_memory_end: u64,
    ) -> Result<(Placed, Transfers), KernelError> {
        let format = Format::examine(&self.file).map_err(|examined| examined.of(&self.path))?;
        let end = format.end();
        if end > low_memory_end {
            return Err(KernelError::MemoryTooSmall {
                path: self.path.clone(),
                needed: end.div_ceil(1 << 20),
                memory: Amount(low_memory_end),
            });
        }
        let mut transfers = Transfers::from(&self.file, memory);
        let loaded = format
            .load(&mut transfers, memory.as_ref())
            .map_err(|source| KernelError::Load {
                path: self.path.clone(),
                source,
            })?;
        let entry = format
            .entry(&loaded)
            .map_err(|refusal| Examined::Refused(refusal).of(&self.path))?;
        let placed = Placed {
            entry,
            end,
            initrd_limit: match &format {
                Format::BzImage(image) => image.initrd_max.saturating_add(1).min(low_memory_end),
                Format::Elf(_) => low_memory_end,
            },
            header: loaded.setup_header,
        };
        Ok((placed, transfers))
    }

    /// Examines the result of reading its file.
    pub(super) fn unreadable(&self, error: std::io::Error) -> KernelError {
        Examined::Unreadable(error).of(&self.path)
    }
}

/// Whether a file that begins like this is a kernel, and so not an initrd.
pub(super) fn is_kernel(head: &[u8]) -> bool {
    has(head, bzimage::MAGIC) || has(head, (0, elf::MAGIC))
}
