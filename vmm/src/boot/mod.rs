//! Filling guest memory with what the first instruction needs: kernel, initrd, command line, boot
//! parameters, ACPI tables.

mod acpi;
mod image_file;
mod images;
mod initrd;
mod kernel;
pub mod layout;
mod pvh;
mod transfers;

use std::io;

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use crate::cli::Configuration;
use crate::device_manager::DeviceManager;
use crate::memory::Amount;
pub use images::{Images, Loading, Placed};
use initrd::InitrdError;
pub use kernel::{Entry, KernelError};

/// Why a guest cannot be put into memory.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The initrd.
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    /// Longer than a kernel reads.
    #[error("the kernel command line has {length} bytes with the disks announced, more than {limit}", limit = layout::COMMAND_LINE_LIMIT - 1)]
    CommandLine {
        /// Its length in bytes.
        length: usize,
    },
    /// A zero byte would end it early.
    #[error("the kernel command line contains a zero byte")]
    CommandLineZero,
    /// More disks than the tables have room for.
    #[error("{0} drives, and {limit} are the most", limit = acpi::MAX_DEVICES)]
    TooManyDevices(usize),
    /// Too little memory for anything.
    #[error("{0} of memory are too small for any kernel")]
    MemoryTooSmall(Amount),
    /// The host refused what loads the images while the machine is made.
    #[error("cannot start a thread to load the kernel: {0}")]
    Thread(#[source] io::Error),
    /// Guest memory refused a write that had been checked to fit.
    #[error("cannot write to guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// The description of the machine for the guest, the same at every start.
#[derive(Debug)]
pub struct Guest {
    command_line: String,
    /// What the DSDT says of its devices.
    dsdt: Vec<u8>,
    cpus: u8,
    acpi: bool,
    /// Whether it learns of its devices on its command line.
    is_told_by_command_line: bool,
}

/// "Undefined" boot loader (Linux `Documentation/arch/x86/boot.rst`).
const LOADER_UNDEFINED: u8 = 0xff;
/// Memory types of the memory map.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

impl Guest {
    /// A guest of a machine with some devices.
    ///
    /// The guest learns of its `devices` from the ACPI tables. One that has none (`--no-acpi`), or is told not to look
    /// at them (`acpi=off`), is told on its command line, in the words of Linux's `virtio_mmio.device` parameter; both
    /// ways at once would announce each device twice.
    ///
    /// # Errors
    ///
    /// [`BootError`] when it cannot be told of so many, or its command line is of no use.
    pub fn new(configuration: &Configuration, devices: &DeviceManager) -> Result<Self, BootError> {
        let count = devices.virtio_count();
        if count > acpi::MAX_DEVICES {
            return Err(BootError::TooManyDevices(count));
        }
        let mut command_line = configuration.append.trim().to_owned();
        let looks_away = command_line
            .split_whitespace()
            .any(|word| word == "acpi=off");
        let is_told_by_command_line = looks_away || !configuration.acpi;
        if is_told_by_command_line {
            for parameter in devices.kernel_parameters() {
                command_line.push(' ');
                command_line.push_str(&parameter);
            }
        }
        if command_line.len() >= layout::COMMAND_LINE_LIMIT {
            let length = command_line.len();
            return Err(BootError::CommandLine { length });
        }
        if command_line.contains('\0') {
            return Err(BootError::CommandLineZero);
        }
        Ok(Self {
            command_line,
            dsdt: devices.dsdt(),
            cpus: configuration.cpus,
            acpi: configuration.acpi,
            is_told_by_command_line,
        })
    }

    /// What a Linux kernel has to be configured with to find its disks.
    pub fn needed_for_disks(&self) -> &'static str {
        match self.is_told_by_command_line {
            true => {
                "CONFIG_VIRTIO_BLK, CONFIG_VIRTIO_MMIO and CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES, in the kernel or its initrd"
            }
            false => {
                "CONFIG_ACPI, CONFIG_VIRTIO_BLK and CONFIG_VIRTIO_MMIO, in the kernel or its initrd"
            }
        }
    }

    /// Writes what the guest is told into memory, below where its images are or will be, and returns the first
    /// instruction.
    ///
    /// # Errors
    ///
    /// [`BootError::Memory`].
    pub fn describe(&self, memory: &GuestMemoryMmap, placed: Placed) -> Result<Entry, BootError> {
        let Placed { kernel, initrd } = placed;
        memory.write_slice(
            self.command_line.as_bytes(),
            GuestAddress(layout::COMMAND_LINE),
        )?;
        if self.acpi {
            let tables = acpi::tables(self.cpus, &self.dsdt);
            memory.write_slice(&tables, GuestAddress(layout::ACPI_TABLES))?;
        }
        match kernel.entry {
            Entry::Linux64(_) => self.write_boot_parameters(memory, kernel.header, initrd)?,
            Entry::Pvh(_) => {
                let map = memory_map(memory);
                pvh::write_start_info(memory, &map, initrd, self.tables())?;
            }
        }
        Ok(kernel.entry)
    }

    /// Where the ACPI tables are.
    fn tables(&self) -> Option<u64> {
        self.acpi.then_some(layout::ACPI_TABLES)
    }

    /// Writes what Linux's own protocol calls the "zero page".
    fn write_boot_parameters(
        &self,
        memory: &GuestMemoryMmap,
        header: Option<setup_header>,
        initrd: Option<initrd::Placed>,
    ) -> Result<(), BootError> {
        let mut parameters = boot_params {
            hdr: header.unwrap_or_default(),
            acpi_rsdp_addr: self.tables().unwrap_or_default(),
            ..boot_params::default()
        };
        let header = &mut parameters.hdr;
        header.type_of_loader = LOADER_UNDEFINED;
        header.boot_flag = 0xaa55;
        header.header = u32::from_le_bytes(*b"HdrS");
        header.cmd_line_ptr = low_address(layout::COMMAND_LINE);
        header.cmdline_size = low_address(self.command_line.len() as u64);
        if let Some(initrd::Placed { start, size }) = initrd {
            header.ramdisk_image = low_address(start);
            header.ramdisk_size = low_address(size);
        }
        let map = memory_map(memory);
        parameters.e820_entries = u8::try_from(map.len()).unwrap_or_default();
        for (slot, range) in parameters.e820_table.iter_mut().zip(map) {
            *slot = boot_e820_entry {
                addr: range.start,
                size: range.end - range.start,
                r#type: range.kind,
            };
        }
        memory.write_obj(parameters, GuestAddress(layout::BOOT_PARAMETERS))?;
        Ok(())
    }
}

/// The text of `strerror`, without Rust's "(os error N)".
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(_) => faultvisor_devices::block::model::errno::Errno::of(error).to_string(),
        None => error.to_string(),
    }
}

/// An address below 4 GiB, as every one is that is given to the kernel in 32 bits.
fn low_address(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(u32::MAX)
}

/// A range of the memory map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct MapEntry {
    start: u64,
    end: u64,
    /// [`E820_RAM`] or [`E820_RESERVED`]; PVH has the same numbers.
    kind: u32,
}

/// The memory map for the guest.
fn memory_map(memory: &GuestMemoryMmap) -> Vec<MapEntry> {
    let entry = |start, end, kind| MapEntry { start, end, kind };
    let mut map = vec![
        entry(0, layout::CONVENTIONAL_MEMORY_END, E820_RAM),
        entry(layout::ACPI_TABLES, layout::ACPI_TABLES_END, E820_RESERVED),
    ];
    for region in memory.iter() {
        let start = region.start_addr().raw_value();
        let end = start + region.len();
        map.push(entry(start.max(layout::HIGH_MEMORY), end, E820_RAM));
    }
    map
}
