//! Kernel images: telling them apart, and loading them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use linux_loader::loader::bootparam::setup_header;
use linux_loader::loader::bzimage::BzImage;
use linux_loader::loader::elf::Elf;
use linux_loader::loader::{self, KernelLoader};
use vm_memory::{GuestAddress, GuestMemoryMmap};

use super::layout;

/// Why an image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The host refused to open or read it.
    #[error("cannot read kernel '{}': {}", path.display(), reason(source))]
    Read {
        /// The image.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// Neither format.
    #[error("'{}' is neither a bzImage nor an x86-64 ELF vmlinux", .0.display())]
    NoKernel(PathBuf),
    /// A bzImage that cannot start in 64-bit mode.
    #[error("kernel '{}' has no 64-bit entry point", .0.display())]
    No64BitEntry(PathBuf),
    /// It would lie where the boot parameters and tables are.
    #[error("kernel '{}' is linked to lie below 1 MiB", .0.display())]
    TooLow(PathBuf),
    /// It would end past the end of memory.
    #[error(
        "{memory} MiB of memory are too small for kernel '{}', which needs {needed} MiB",
        path.display()
    )]
    MemoryTooSmall {
        /// The image.
        path: PathBuf,
        /// MiB that it needs.
        needed: u64,
        /// MiB that there are.
        memory: u64,
    },
    /// The loader refused it.
    #[error("cannot load kernel '{}': {source}", path.display())]
    Load {
        /// The image.
        path: PathBuf,
        /// Why.
        source: loader::Error,
    },
}

/// The text of `strerror`, without Rust's "(os error N)".
pub(super) fn reason(error: &io::Error) -> String {
    faultvisor_devices::block::Errno::of(error).to_string()
}

/// The two formats that are booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    BzImage,
    Elf,
}

/// A kernel image, open and recognised.
#[derive(Debug)]
pub struct Kernel {
    file: File,
    path: PathBuf,
    format: Format,
    /// The end of the memory that it needs before it knows how much there is.
    end: u64,
}

/// A kernel in guest memory.
#[derive(Debug)]
pub struct Loaded {
    /// Where the vCPU starts.
    pub entry: u64,
    /// The setup header of a bzImage.
    pub header: Option<setup_header>,
}

/// Offsets in a bzImage (Linux `Documentation/arch/x86/boot.rst`).
mod bzimage {
    /// "HdrS".
    pub const MAGIC: (u64, [u8; 4]) = (0x202, *b"HdrS");
    /// Flags of the 64-bit boot protocol; bit 0 says that there is a 64-bit entry point.
    pub const XLOADFLAGS: u64 = 0x236;
    pub const PREFERRED_ADDRESS: u64 = 0x258;
    /// Memory that it needs from its preferred address on.
    pub const INIT_SIZE: u64 = 0x260;
    /// The 64-bit entry point is this far into the loaded kernel.
    pub const ENTRY_64: u64 = 0x200;
}

/// Offsets in an ELF64 header and its program headers.
mod elf {
    /// 64-bit, little-endian, version 1.
    pub const MAGIC: (u64, [u8; 7]) = (0, *b"\x7fELF\x02\x01\x01");
    pub const MACHINE: u64 = 0x12;
    pub const MACHINE_X86_64: u16 = 62;
    pub const PROGRAM_HEADERS: u64 = 0x20;
    pub const PROGRAM_HEADER_SIZE: u64 = 0x36;
    pub const PROGRAM_HEADER_COUNT: u64 = 0x38;
    pub const TYPE_LOAD: u32 = 1;
    pub const PHYSICAL_ADDRESS: u64 = 0x18;
    pub const MEMORY_SIZE: u64 = 0x28;
}

impl Kernel {
    /// Opens an image and finds out what it is.
    ///
    /// # Errors
    ///
    /// [`KernelError`] when it cannot be read or is no kernel.
    pub fn open(path: &Path) -> Result<Self, KernelError> {
        let read_error = |source| KernelError::Read {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(read_error)?;
        if file.metadata().map_err(read_error)?.is_dir() {
            return Err(read_error(io::Error::from_raw_os_error(libc::EISDIR)));
        }
        let matches = |(offset, magic): (u64, &[u8])| {
            let mut bytes = vec![0; magic.len()];
            file.read_exact_at(&mut bytes, offset).is_ok() && bytes == magic
        };
        let found = if matches((elf::MAGIC.0, &elf::MAGIC.1)) {
            let place = elf_place(&file);
            if place.is_some_and(|(start, _)| start < layout::HIGH_MEMORY) {
                return Err(KernelError::TooLow(path.to_owned()));
            }
            Some((Format::Elf, place.map(|(_, end)| end)))
        } else if matches((bzimage::MAGIC.0, &bzimage::MAGIC.1)) {
            let flags = read_u16(&file, bzimage::XLOADFLAGS);
            if flags.is_none_or(|flags| flags & 1 == 0) {
                return Err(KernelError::No64BitEntry(path.to_owned()));
            }
            Some((Format::BzImage, bzimage_end(&file)))
        } else {
            None
        };
        match found {
            Some((format, Some(end))) => Ok(Self {
                file,
                path: path.to_owned(),
                format,
                end,
            }),
            _ => Err(KernelError::NoKernel(path.to_owned())),
        }
    }

    /// The end of the memory that the kernel takes.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Puts the kernel into guest memory.
    ///
    /// # Errors
    ///
    /// [`KernelError::MemoryTooSmall`], or what the loader found wrong.
    pub fn load(
        &mut self,
        memory: &GuestMemoryMmap,
        low_memory_end: u64,
    ) -> Result<Loaded, KernelError> {
        if self.end > low_memory_end {
            return Err(KernelError::MemoryTooSmall {
                path: self.path.clone(),
                needed: self.end.div_ceil(1 << 20),
                memory: low_memory_end >> 20,
            });
        }
        let result = match self.format {
            Format::BzImage => {
                let start = Some(GuestAddress(layout::HIGH_MEMORY));
                BzImage::load(memory, start, &mut self.file, None)
            }
            Format::Elf => Elf::load(memory, None, &mut self.file, None),
        };
        let loaded = result.map_err(|source| KernelError::Load {
            path: self.path.clone(),
            source,
        })?;
        Ok(Loaded {
            entry: match self.format {
                Format::BzImage => loaded.kernel_load.0 + bzimage::ENTRY_64,
                Format::Elf => loaded.kernel_load.0,
            },
            header: loaded.setup_header,
        })
    }
}

/// The start of the lowest loaded segment and the end of the highest, if the headers make sense.
fn elf_place(file: &File) -> Option<(u64, u64)> {
    if read_u16(file, elf::MACHINE)? != elf::MACHINE_X86_64 {
        return None;
    }
    let table = read_u64(file, elf::PROGRAM_HEADERS)?;
    let size = u64::from(read_u16(file, elf::PROGRAM_HEADER_SIZE)?);
    let mut place: Option<(u64, u64)> = None;
    for index in 0..u64::from(read_u16(file, elf::PROGRAM_HEADER_COUNT)?) {
        let header = table.checked_add(index * size)?;
        if read_u32(file, header)? == elf::TYPE_LOAD {
            let start = read_u64(file, header.checked_add(elf::PHYSICAL_ADDRESS)?)?;
            let length = read_u64(file, header.checked_add(elf::MEMORY_SIZE)?)?;
            let end = start.checked_add(length)?;
            let (lowest, highest) = place.unwrap_or((start, end));
            place = Some((lowest.min(start), highest.max(end)));
        }
    }
    place
}

fn bzimage_end(file: &File) -> Option<u64> {
    let start = read_u64(file, bzimage::PREFERRED_ADDRESS)?.max(layout::HIGH_MEMORY);
    let in_place = file
        .metadata()
        .ok()?
        .len()
        .checked_add(layout::HIGH_MEMORY)?;
    let unpacked = start.checked_add(u64::from(read_u32(file, bzimage::INIT_SIZE)?))?;
    Some(unpacked.max(in_place))
}

fn read<const N: usize>(file: &File, offset: u64) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn read_u16(file: &File, offset: u64) -> Option<u16> {
    read(file, offset).map(u16::from_le_bytes)
}

fn read_u32(file: &File, offset: u64) -> Option<u32> {
    read(file, offset).map(u32::from_le_bytes)
}

fn read_u64(file: &File, offset: u64) -> Option<u64> {
    read(file, offset).map(u64::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Kernel, KernelError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        Kernel::open(file.path())
    }

    /// An ELF file with one segment of `length` bytes at 16 MiB.
    fn elf_image(length: u64) -> Vec<u8> {
        let mut image = vec![0; 0x100];
        image[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        image[0x12] = 62;
        image[0x20] = 0x40;
        image[0x34] = 64;
        image[0x36] = 56;
        image[0x38] = 1;
        image[0x40] = 1;
        image[0x58..0x60].copy_from_slice(&(16u64 << 20).to_le_bytes());
        image[0x68..0x70].copy_from_slice(&length.to_le_bytes());
        image
    }

    #[test]
    fn what_is_no_kernel_is_refused_by_name() {
        let error = Kernel::open(Path::new("/nonexistent/kernel")).unwrap_err();
        let text = "cannot read kernel '/nonexistent/kernel': No such file or directory";
        assert_eq!(error.to_string(), text);
        let error = Kernel::open(Path::new("/tmp")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot read kernel '/tmp': Is a directory"
        );
        for bytes in [
            &b""[..],
            b"#!/bin/sh\n",
            &[0; 4096],
            &elf_image(u64::MAX),
            b"\x7fELF",
        ] {
            assert!(matches!(open(bytes), Err(KernelError::NoKernel(_))));
        }
        let mut other_machine = elf_image(4096);
        other_machine[0x12] = 183;
        assert!(matches!(
            open(&other_machine),
            Err(KernelError::NoKernel(_))
        ));
    }

    #[test]
    fn a_bzimage_without_64_bit_entry_is_refused() {
        let mut image = vec![0; 0x300];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        assert!(matches!(open(&image), Err(KernelError::No64BitEntry(_))));
    }

    #[test]
    fn a_kernel_that_does_not_fit_says_what_it_needs() {
        let mut kernel = open(&elf_image(100 << 20)).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 64 << 20)]).unwrap();
        let error = kernel.load(&memory, 64 << 20).unwrap_err().to_string();
        assert!(
            error.starts_with("64 MiB of memory are too small"),
            "{error}"
        );
        assert!(error.ends_with("which needs 116 MiB"), "{error}");
    }
}
