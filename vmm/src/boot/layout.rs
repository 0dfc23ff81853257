//! The layout of the first megabyte of guest memory, and the memory map for the guest.

/// The global descriptor table that the vCPU starts with.
pub const GDT: u64 = 0x500;
/// An empty interrupt descriptor table.
pub const IDT: u64 = 0x520;
/// The "zero page": `struct boot_params` of the Linux boot protocol.
pub const BOOT_PARAMETERS: u64 = 0x7000;
/// For a guest that starts by PVH, the start information (`struct hvm_start_info`) is in that place.
pub const START_INFO: u64 = BOOT_PARAMETERS;
/// Its list of modules.
pub const MODULES: u64 = START_INFO + 0x40;
/// Its memory map.
pub const MEMORY_MAP: u64 = START_INFO + 0x80;
/// The stack that the vCPU starts with grows down from here.
pub const STACK: u64 = 0x8ff0;
/// Page tables: one page for each level.
pub const PAGE_MAP: u64 = 0x9000;
/// Second level.
pub const PAGE_DIRECTORY_POINTERS: u64 = 0xa000;
/// Third level, with 2 MiB pages: a page for each GiB below 4 GiB.
pub const PAGE_DIRECTORIES: u64 = 0xb000;
/// The kernel's command line, with its terminating zero.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// Bytes of the command line that any x86-64 kernel reads (`COMMAND_LINE_SIZE`), zero included.
pub const COMMAND_LINE_LIMIT: usize = 2048;
/// Conventional memory ends here, where a PC keeps its extended BIOS data area.
pub const CONVENTIONAL_MEMORY_END: u64 = 0x9_fc00;
/// The ACPI tables, beginning with the RSDP, in the range that is searched for it.
pub const ACPI_TABLES: u64 = 0xe_0000;
/// Their range ends here, and memory continues.
pub const ACPI_TABLES_END: u64 = 0x10_0000;
/// Where a bzImage is loaded, and the lowest place for a kernel.
pub const HIGH_MEMORY: u64 = 0x10_0000;
