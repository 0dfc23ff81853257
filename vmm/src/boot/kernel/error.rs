//! Why a file is not booted: what it is instead, and what to do with it.

use std::io;
use std::path::PathBuf;

use linux_loader::loader;

use crate::memory::Amount;

/// An image cannot be booted.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The host refused to open or read it.
    #[error("cannot read kernel '{}': {}", path.display(), crate::boot::reason(source))]
    Read {
        /// The image.
        path: PathBuf,
        /// The host's error.
        source: io::Error,
    },
    /// It is not a bootable kernel.
    #[error("kernel '{}' {refusal}", path.display())]
    Refused {
        /// The image.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// It would end beyond memory.
    #[error(
        "{memory} of memory are too small for kernel '{}', which needs {needed} MiB",
        path.display()
    )]
    MemoryTooSmall {
        /// The image.
        path: PathBuf,
        /// MiB that it needs.
        needed: u64,
        /// What there is.
        memory: Amount,
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

/// What is wrong with an image. Each text continues after the image's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is empty.
    #[error("is empty")]
    Empty,
    /// It has no known format.
    #[error("is neither a bzImage nor an x86-64 ELF vmlinux")]
    Unknown,
    /// A whole file that was compressed.
    #[error("is compressed by {by}: unpack it first, by '{tool}'")]
    Compressed {
        /// The format.
        by: &'static str,
        /// The command that unpacks it to standard output.
        tool: &'static str,
    },
    /// A PE file that is not a bzImage.
    #[error(
        "is an EFI program: if it is a unified kernel image, its kernel is the section .linux, which objcopy takes out"
    )]
    EfiProgram,
    /// Linux's self-decompressing EFI program.
    #[error("is a kernel that only EFI unpacks: boot the image that it was made from")]
    EfiZboot,
    /// Another architecture's.
    #[error("is for {0}, not for x86-64")]
    OtherMachine(&'static str),
    /// An ELF file for i386 or x32.
    #[error("is a 32-bit ELF file, and only 64-bit ones are booted")]
    Elf32,
    /// A relocatable ELF file.
    #[error("is an object file or a kernel module, not a linked kernel")]
    ObjectFile,
    /// An ELF executable of a process.
    #[error("is an ordinary program or a shared library, not a kernel")]
    Program,
    /// A core dump.
    #[error("is a core dump, not a kernel")]
    CoreDump,
    /// A cpio archive.
    #[error("is an initramfs: give it with --initrd")]
    Initramfs,
    /// A file system, a partition table or an image format.
    #[error("is a disk ({0}): give it with --drive")]
    Disk(&'static str),
    /// An archive or package that may contain a kernel.
    #[error("is {0}: boot the kernel that is in it")]
    Container(&'static str),
    /// It begins with "#!".
    #[error("is a script")]
    Script,
    /// A text file.
    #[error("is a text file")]
    Text,
    /// Shorter than its own header says.
    #[error("is cut short: it has {size} bytes, and its header speaks of {expected}")]
    CutShort {
        /// Its size.
        size: u64,
        /// The size by its header.
        expected: u64,
    },
    /// A bzImage older than the 64-bit protocol.
    #[error(
        "speaks boot protocol {}.{}, and only 2.12 and later (Linux 3.8) start in 64-bit mode", .0 >> 8, .0 & 0xff
    )]
    OldProtocol(u16),
    /// Not loaded high.
    #[error("is a zImage, and only a bzImage lies above 1 MiB")]
    ZImage,
    /// A bzImage without a 64-bit entry point.
    #[error("has no 64-bit entry point: it is a 32-bit kernel")]
    No64BitEntry,
    /// It would overlap the boot parameters and tables.
    #[error("is linked to lie below 1 MiB")]
    TooLow,
    /// It would be outside of memory.
    #[error("is linked to end at {0:#x}, above all memory that there can be below 4 GiB")]
    TooHigh(u64),
    /// Its headers are inconsistent.
    #[error("is damaged: {0}")]
    Damaged(&'static str),
}
