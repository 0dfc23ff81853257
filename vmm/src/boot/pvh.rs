//! The start information in memory for a guest that starts by PVH (Xen `include/public/arch-x86/hvm/start_info.h`).

use linux_loader::loader::elf::start_info::{
    XEN_HVM_START_MAGIC_VALUE, hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::initrd::Placed;
use super::{MapEntry, layout};

/// The version that has the memory map.
const VERSION: u32 = 1;

/// Writes the start information, which refers to the command line and to the ACPI `tables`.
pub(super) fn write_start_info(
    memory: &GuestMemoryMmap,
    map: &[MapEntry],
    initrd: Option<Placed>,
    tables: Option<u64>,
) -> Result<(), GuestMemoryError> {
    let mut information = hvm_start_info {
        magic: XEN_HVM_START_MAGIC_VALUE,
        version: VERSION,
        cmdline_paddr: layout::COMMAND_LINE,
        rsdp_paddr: tables.unwrap_or_default(),
        memmap_paddr: layout::MEMORY_MAP,
        memmap_entries: u32::try_from(map.len()).unwrap_or_default(),
        ..hvm_start_info::default()
    };
    if let Some(Placed { start, size }) = initrd {
        information.nr_modules = 1;
        information.modlist_paddr = layout::MODULES;
        let module = hvm_modlist_entry {
            paddr: start,
            size,
            ..hvm_modlist_entry::default()
        };
        memory.write_obj(module, GuestAddress(layout::MODULES))?;
    }
    for (range, address) in map.iter().zip((layout::MEMORY_MAP..).step_by(ENTRY)) {
        let entry = hvm_memmap_table_entry {
            addr: range.start,
            size: range.end - range.start,
            type_: range.kind,
            reserved: 0,
        };
        memory.write_obj(entry, GuestAddress(address))?;
    }
    memory.write_obj(information, GuestAddress(layout::START_INFO))
}

/// Size of an entry of the memory map.
const ENTRY: usize = size_of::<hvm_memmap_table_entry>();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_information_points_to_every_part() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        let map = [(0, 0x9_fc00, 1), (0x10_0000, 0x800_0000, 1)]
            .map(|(start, end, kind)| MapEntry { start, end, kind });
        let initrd = Placed {
            start: 0x700_0000,
            size: 77,
        };
        write_start_info(&memory, &map, Some(initrd), Some(0xe_0000)).unwrap();
        let word = |address| memory.read_obj::<u32>(GuestAddress(address)).unwrap();
        let long = |address| memory.read_obj::<u64>(GuestAddress(address)).unwrap();
        let base = layout::START_INFO;
        assert_eq!(word(base), 0x336e_c578);
        assert_eq!((word(base + 4), word(base + 12)), (1, 1));
        let module = long(base + 16);
        assert_eq!((long(module), long(module + 8)), (0x700_0000, 77));
        assert_eq!(long(base + 24), layout::COMMAND_LINE);
        assert_eq!(long(base + 32), 0xe_0000);
        let (entries, count) = (long(base + 40), word(base + 48));
        assert_eq!(count, 2);
        let second = entries + 24;
        assert_eq!((long(second), long(second + 8)), (0x10_0000, 0x7f0_0000));
        assert_eq!(word(second + 16), 1);
    }

    #[test]
    fn without_initrd_and_tables_their_fields_are_zero() {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap();
        write_start_info(&memory, &[], None, None).unwrap();
        let word = |address| memory.read_obj::<u32>(GuestAddress(address)).unwrap();
        assert_eq!(word(layout::START_INFO + 12), 0);
        assert_eq!(word(layout::START_INFO + 32), 0);
    }
}
