//! The setup header of a bzImage (Linux `Documentation/arch/x86/boot.rst`), checked before it is loaded.

use super::Refusal;
use super::elf::{u16_at, u32_at, u64_at};
use crate::boot::layout;

/// "HdrS", and its offset.
pub(super) const MAGIC: (usize, &[u8]) = (0x202, b"HdrS");
/// Offset of the 64-bit entry point in the loaded kernel.
pub(super) const ENTRY_64: u64 = 0x200;

/// Offsets of fields.
const SETUP_SECTORS: usize = 0x1f1;
const PROTECTED_SIZE: usize = 0x1f4;
const VERSION: usize = 0x206;
const LOAD_FLAGS: usize = 0x211;
const INITRD_MAX: usize = 0x22c;
const EXTENDED_LOAD_FLAGS: usize = 0x236;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;
const PREFERRED_ADDRESS: usize = 0x258;
const INIT_SIZE: usize = 0x260;
/// The header of protocol 2.12 ends here.
const HEADER_END: usize = 0x268;

/// The first protocol with [`EXTENDED_LOAD_FLAGS`].
const VERSION_2_12: u16 = 0x020c;
/// [`LOAD_FLAGS`]: the kernel is loaded at 1 MiB.
const LOADED_HIGH: u8 = 1;
/// [`EXTENDED_LOAD_FLAGS`]: there is a 64-bit entry point.
const KERNEL_64: u16 = 1;
const SECTOR: u64 = 512;
/// The unit of [`PROTECTED_SIZE`].
const PARAGRAPH: u64 = 16;

/// A file that can be loaded.
#[derive(Debug)]
pub(super) struct BzImage {
    /// The end of the memory that it uses before it knows the memory map.
    pub end: u64,
    /// The highest address of an initrd's last byte.
    pub initrd_max: u64,
}

impl BzImage {
    /// Checks the header of a file of `size` bytes that begins with `head`.
    pub(super) fn examine(head: &[u8], size: u64) -> Result<Self, Refusal> {
        let cut_short = |expected| Refusal::CutShort { size, expected };
        if head.len() < HEADER_END {
            return Err(cut_short(HEADER_END as u64));
        }
        let version = u16_at(head, VERSION);
        if head[LOAD_FLAGS] & LOADED_HIGH == 0 {
            return Err(Refusal::ZImage);
        }
        if version < VERSION_2_12 {
            return Err(Refusal::OldProtocol(version));
        }
        if u16_at(head, EXTENDED_LOAD_FLAGS) & KERNEL_64 == 0 {
            return Err(Refusal::No64BitEntry);
        }
        let sectors = match head[SETUP_SECTORS] {
            0 => 4, // As old boot sectors had it.
            sectors => u64::from(sectors),
        };
        let setup = (sectors + 1) * SECTOR;
        // The last paragraph need not be full.
        let code =
            (u64::from(u32_at(head, PROTECTED_SIZE)) * PARAGRAPH).saturating_sub(PARAGRAPH - 1);
        let payload =
            u64::from(u32_at(head, PAYLOAD_OFFSET)) + u64::from(u32_at(head, PAYLOAD_LENGTH));
        let expected = setup + code.max(payload).max(ENTRY_64 + 1);
        if size < expected {
            return Err(cut_short(expected));
        }
        let unpacked = u64_at(head, PREFERRED_ADDRESS)
            .max(layout::HIGH_MEMORY)
            .checked_add(u32_at(head, INIT_SIZE).into());
        let in_place = layout::HIGH_MEMORY.checked_add(size - setup);
        match (unpacked, in_place) {
            (Some(unpacked), Some(in_place)) => Ok(Self {
                end: unpacked.max(in_place),
                initrd_max: u32_at(head, INITRD_MAX).into(),
            }),
            _ => Err(Refusal::Damaged(
                "it wants to lie past the end of all addresses",
            )),
        }
    }
}
