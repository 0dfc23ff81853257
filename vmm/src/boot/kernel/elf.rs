//! The headers of an ELF file, checked before it is loaded.

use super::Refusal;
use crate::address_map::LOW_MEMORY_END;
use crate::boot::image_file::ImageFile;
use crate::boot::layout;

/// The magic number of every ELF file.
pub(super) const MAGIC: &[u8] = b"\x7fELF";
/// Size of an ELF64 header, and of one of its program headers.
pub(super) const HEADER: usize = 64;
const PROGRAM_HEADER: u16 = 56;
/// Offsets in the header.
const CLASS: usize = 4;
const ENCODING: usize = 5;
const TYPE: usize = 16;
const MACHINE: usize = 18;
const PROGRAM_HEADERS: usize = 32;
const PROGRAM_HEADER_SIZE: usize = 54;
const PROGRAM_HEADER_COUNT: usize = 56;
/// Their values.
const CLASS_32: u8 = 1;
const CLASS_64: u8 = 2;
const LITTLE_ENDIAN: u8 = 1;
const RELOCATABLE: u16 = 1;
const EXECUTABLE: u16 = 2;
const SHARED: u16 = 3;
const CORE: u16 = 4;
const X86_64: u16 = 62;
/// Offsets in a program header.
const SEGMENT_OFFSET: usize = 8;
const PHYSICAL_ADDRESS: usize = 24;
const FILE_SIZE: usize = 32;
const MEMORY_SIZE: usize = 40;
/// Types of segments.
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const NOTE: u32 = 4;

/// Kernels have five program headers and some hundred bytes of notes. Anything beyond this is ignored.
const MOST_PROGRAM_HEADERS: u16 = 128;
const MOST_NOTES: u64 = 64 << 10;

/// A file that can be loaded.
#[derive(Debug)]
pub(super) struct Elf {
    /// Where it is loaded, in ascending order.
    segments: Vec<(u64, u64)>,
    /// It is position-independent: it is a kernel only if a note of Xen's names its entry point.
    is_position_independent: bool,
    /// It has one of Linux's own notes.
    is_linux: bool,
}

/// The owner of Linux's notes (its `include/linux/elfnote.h`), as in a note.
const LINUX: &[u8] = b"Linux\0";

impl Elf {
    /// Checks the headers of a file of `size` bytes that begins with `head`.
    pub(super) fn examine(file: &ImageFile, head: &[u8], size: u64) -> Result<Self, Refusal> {
        let header = head.first_chunk::<HEADER>().ok_or(Refusal::CutShort {
            size,
            expected: HEADER as u64,
        })?;
        let kind = identify(header)?;
        if u16_at(header, PROGRAM_HEADER_SIZE) != PROGRAM_HEADER {
            return Err(Refusal::Damaged(
                "its program headers have a size of their own",
            ));
        }
        let count = u16_at(header, PROGRAM_HEADER_COUNT);
        if count > MOST_PROGRAM_HEADERS {
            return Err(Refusal::Damaged("it has more than 128 program headers"));
        }
        let offset = u64_at(header, PROGRAM_HEADERS);
        if offset < HEADER as u64 {
            return Err(Refusal::Damaged("its program headers lie in its header"));
        }
        let length = usize::from(count) * usize::from(PROGRAM_HEADER);
        check_within(size, offset, length as u64)?;
        let table = file
            .range(offset, length)
            .map_err(|_| Refusal::Damaged("its program headers cannot be read"))?;
        let mut segments = Vec::new();
        for header in table.chunks_exact(PROGRAM_HEADER.into()) {
            segments.extend(segment(header, size)?);
        }
        segments.sort_unstable();
        if segments.is_empty() {
            return Err(Refusal::Damaged("it has nothing to load"));
        }
        if segments.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Err(Refusal::Damaged("its segments overlap"));
        }
        Ok(Self {
            segments,
            is_position_independent: kind == SHARED,
            is_linux: notes(file, &table).any(|notes| is_linux(&notes)),
        })
    }

    /// Whether it is Linux, by its notes.
    pub(super) fn is_linux(&self) -> bool {
        self.is_linux
    }

    /// The end of the memory that it uses.
    pub(super) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |(_, end)| *end)
    }

    /// Checks its entry point, which is in a note of Xen's or in the ELF header.
    pub(super) fn check_entry(&self, address: u64, by_note: bool) -> Result<(), Refusal> {
        if self.is_position_independent && !by_note {
            return Err(Refusal::Program);
        }
        let is_inside = |(start, end): &(u64, u64)| (*start..*end).contains(&address);
        if self.segments.iter().any(is_inside) {
            Ok(())
        } else {
            Err(Refusal::Damaged(
                "its entry point is in none of its segments",
            ))
        }
    }
}

/// The segments of notes, which are known to be small, as far as they can be read.
fn notes(file: &ImageFile, table: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let headers = table.chunks_exact(PROGRAM_HEADER.into());
    let of_notes = headers.filter(|header| u32_at(header, 0) == NOTE);
    of_notes.filter_map(|header| {
        let length = u64_at(header, FILE_SIZE).min(MOST_NOTES);
        let length = usize::try_from(length).ok()?;
        file.range(u64_at(header, SEGMENT_OFFSET), length).ok()
    })
}

/// Whether one of these notes is Linux's: three words precede its owner's name.
fn is_linux(notes: &[u8]) -> bool {
    let mut words = notes.chunks_exact(4).enumerate();
    words.any(|(index, _)| index >= 3 && notes[index * 4..].starts_with(LINUX))
}

/// Refuses files for other machines and of types that are not kernels; returns the type.
fn identify(header: &[u8; HEADER]) -> Result<u16, Refusal> {
    if header[ENCODING] != LITTLE_ENDIAN {
        return Err(Refusal::OtherMachine("a big-endian machine"));
    }
    let machine = u16_at(header, MACHINE);
    if let Some(name) = other_machine(machine) {
        return Err(Refusal::OtherMachine(name));
    }
    match header[CLASS] {
        CLASS_32 => return Err(Refusal::Elf32),
        CLASS_64 => {}
        _ => return Err(Refusal::Damaged("it is neither of 32 nor of 64 bits")),
    }
    if machine != X86_64 {
        return Err(Refusal::OtherMachine("another machine"));
    }
    match u16_at(header, TYPE) {
        RELOCATABLE => Err(Refusal::ObjectFile),
        CORE => Err(Refusal::CoreDump),
        kind @ (EXECUTABLE | SHARED) => Ok(kind),
        _ => Err(Refusal::Damaged("it is of no known type")),
    }
}

/// Machines that kernels are built for (`EM_*`).
fn other_machine(number: u16) -> Option<&'static str> {
    Some(match number {
        8 => "MIPS",
        21 => "64-bit PowerPC",
        22 => "s390x",
        40 => "32-bit ARM",
        183 => "arm64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => return None,
    })
}

/// Where a segment is loaded, if it is.
fn segment(header: &[u8], size: u64) -> Result<Option<(u64, u64)>, Refusal> {
    let (offset, length) = (u64_at(header, SEGMENT_OFFSET), u64_at(header, FILE_SIZE));
    match u32_at(header, 0) {
        LOAD => {}
        INTERPRETER => return Err(Refusal::Program),
        NOTE if length > MOST_NOTES => {
            return Err(Refusal::Damaged("it has more than 64 KiB of notes"));
        }
        NOTE => {
            check_within(size, offset, length)?;
            return Ok(None);
        }
        _ => return Ok(None),
    }
    let memory = u64_at(header, MEMORY_SIZE);
    if length > memory {
        return Err(Refusal::Damaged("a segment is longer than its memory"));
    }
    if memory == 0 {
        return Ok(None);
    }
    check_within(size, offset, length)?;
    let start = u64_at(header, PHYSICAL_ADDRESS);
    if start < layout::HIGH_MEMORY {
        return Err(Refusal::TooLow);
    }
    match start.checked_add(memory) {
        Some(end) if end <= LOW_MEMORY_END => Ok(Some((start, end))),
        end => Err(Refusal::TooHigh(end.unwrap_or(u64::MAX))),
    }
}

fn check_within(size: u64, offset: u64, length: u64) -> Result<(), Refusal> {
    match offset.checked_add(length) {
        Some(end) if end <= size => Ok(()),
        end => Err(Refusal::CutShort {
            size,
            expected: end.unwrap_or(u64::MAX),
        }),
    }
}

/// Fields, which the caller knows to be in bounds; zero if they are not.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let chunk = bytes.get(at..).and_then(<[u8]>::first_chunk);
    chunk.copied().unwrap_or([0; N])
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}
