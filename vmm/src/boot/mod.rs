//! Filling guest memory with what the first instruction needs: kernel, initrd, command line, boot
//! parameters, ACPI tables.

mod acpi;
mod kernel;
pub mod layout;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use crate::cli::Configuration;
use crate::memory;
pub use acpi::POWER_BUTTON_INTERRUPT;
pub use kernel::{Kernel, KernelError};

/// Why a guest cannot be put into memory.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The host refused to open or read the initrd.
    #[error("cannot read initrd '{}': {}", path.display(), kernel::reason(source))]
    Initrd {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// Kernel and initrd together are too large.
    #[error(
        "initrd '{}' of {size} bytes does not fit into {memory} MiB of memory beside the kernel",
        path.display()
    )]
    InitrdTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
        /// MiB of memory.
        memory: u64,
    },
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
    #[error("{0} MiB of memory are too small for any kernel")]
    MemoryTooSmall(u64),
    /// Guest memory refused a write that had been checked to fit.
    #[error("cannot write to guest memory: {0}")]
    Memory(#[from] vm_memory::GuestMemoryError),
}

/// The images of a guest, open, so that every start of the machine finds the same.
#[derive(Debug)]
pub struct Guest {
    kernel: Kernel,
    initrd: Option<(File, PathBuf, u64)>,
    command_line: String,
    devices: Vec<DeviceWindow>,
    cpus: u8,
    acpi: bool,
}

/// A virtio-mmio device, as the guest is told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceWindow {
    /// First address of its registers.
    pub base: u32,
    /// Their length in bytes.
    pub length: u32,
    /// Its interrupt.
    pub interrupt: u32,
}

/// x86 page size.
const PAGE: u64 = 4096;
/// An initrd above this address is out of reach of kernels that do not say otherwise.
const INITRD_LIMIT: u64 = 0x3800_0000;
/// "Undefined" boot loader (Linux `Documentation/arch/x86/boot.rst`).
const LOADER_UNDEFINED: u8 = 0xff;
/// Memory types of the memory map.
const E820_RAM: u32 = 1;
const E820_RESERVED: u32 = 2;

impl Guest {
    /// Opens the images.
    ///
    /// The guest learns of its `devices` from the ACPI tables. One that has none (`--no-acpi`), or is told not to look
    /// at them (`acpi=off`), is told on its command line, in the words of Linux's `virtio_mmio.device` parameter; both
    /// ways at once would announce each device twice.
    ///
    /// # Errors
    ///
    /// [`BootError`] names the image that cannot be used.
    pub fn open(
        configuration: &Configuration,
        devices: Vec<DeviceWindow>,
    ) -> Result<Self, BootError> {
        if devices.len() > acpi::MAX_DEVICES {
            return Err(BootError::TooManyDevices(devices.len()));
        }
        let mut command_line = configuration.append.trim().to_owned();
        let looks_away = command_line
            .split_whitespace()
            .any(|word| word == "acpi=off");
        if looks_away || !configuration.acpi {
            for device in &devices {
                command_line.push_str(&format!(
                    " virtio_mmio.device={}K@{:#x}:{}",
                    device.length >> 10,
                    device.base,
                    device.interrupt
                ));
            }
        }
        if command_line.len() >= layout::COMMAND_LINE_LIMIT {
            let length = command_line.len();
            return Err(BootError::CommandLine { length });
        }
        if command_line.contains('\0') {
            return Err(BootError::CommandLineZero);
        }
        let kernel = Kernel::open(&configuration.kernel)?;
        let initrd = match &configuration.initrd {
            None => None,
            Some(path) => {
                let error = |source| BootError::Initrd {
                    path: path.clone(),
                    source,
                };
                let file = File::open(path).map_err(error)?;
                let metadata = file.metadata().map_err(error)?;
                if metadata.is_dir() {
                    return Err(error(io::Error::from_raw_os_error(libc::EISDIR)));
                }
                Some((file, path.clone(), metadata.len()))
            }
        };
        Ok(Self {
            kernel,
            initrd,
            command_line,
            devices,
            cpus: configuration.cpus,
            acpi: configuration.acpi,
        })
    }

    /// Fills memory, which must be all zeros, and returns the address of the first instruction.
    ///
    /// # Errors
    ///
    /// [`BootError`] when something does not fit.
    pub fn load(&mut self, memory: &GuestMemoryMmap) -> Result<u64, BootError> {
        let low_end = low_memory_end(memory);
        if low_end <= layout::HIGH_MEMORY {
            return Err(BootError::MemoryTooSmall(low_end >> 20));
        }
        let kernel = self.kernel.load(memory, low_end)?;
        let mut parameters = boot_params {
            hdr: kernel.header.unwrap_or_default(),
            acpi_rsdp_addr: if self.acpi { layout::ACPI_TABLES } else { 0 },
            ..boot_params::default()
        };
        let header = &mut parameters.hdr;
        header.type_of_loader = LOADER_UNDEFINED;
        header.boot_flag = 0xaa55;
        header.header = u32::from_le_bytes(*b"HdrS");
        header.cmd_line_ptr = low_address(layout::COMMAND_LINE);
        header.cmdline_size = low_address(self.command_line.len() as u64);
        if let Some((address, size)) = self.load_initrd(memory, low_end)? {
            header.ramdisk_image = low_address(address);
            header.ramdisk_size = low_address(size);
        }
        set_memory_map(&mut parameters, memory);
        memory.write_slice(
            self.command_line.as_bytes(),
            GuestAddress(layout::COMMAND_LINE),
        )?;
        if self.acpi {
            let tables = acpi::tables(self.cpus, &self.devices);
            memory.write_slice(&tables, GuestAddress(layout::ACPI_TABLES))?;
        }
        memory.write_obj(parameters, GuestAddress(layout::BOOT_PARAMETERS))?;
        Ok(kernel.entry)
    }

    /// Puts the initrd as high as it may lie, and returns its place and size.
    fn load_initrd(
        &mut self,
        memory: &GuestMemoryMmap,
        low_end: u64,
    ) -> Result<Option<(u64, u64)>, BootError> {
        let Some((file, path, size)) = &mut self.initrd else {
            return Ok(None);
        };
        let limit = low_end.min(INITRD_LIMIT);
        let start = limit.checked_sub(*size).map(|start| start & !(PAGE - 1));
        let Some(start) = start.filter(|start| *start >= self.kernel.end()) else {
            return Err(BootError::InitrdTooLarge {
                path: path.clone(),
                size: *size,
                memory: low_end >> 20,
            });
        };
        let read_error = |source| BootError::Initrd {
            path: path.clone(),
            source,
        };
        io::Seek::rewind(file).map_err(read_error)?;
        memory
            .read_exact_volatile_from(
                GuestAddress(start),
                file,
                usize::try_from(*size).unwrap_or(usize::MAX),
            )
            .map_err(|error| read_error(io::Error::other(error)))?;
        Ok(Some((start, *size)))
    }
}

/// The end of the memory that begins at address 0.
fn low_memory_end(memory: &GuestMemoryMmap) -> u64 {
    memory
        .find_region(GuestAddress(0))
        .map_or(0, GuestMemoryRegion::len)
        .min(memory::LOW_MEMORY_END)
}

/// An address below 4 GiB, as every one is that is given to the kernel in 32 bits.
fn low_address(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(u32::MAX)
}

fn set_memory_map(parameters: &mut boot_params, memory: &GuestMemoryMmap) {
    let mut entries = vec![
        (0, layout::CONVENTIONAL_MEMORY_END, E820_RAM),
        (layout::ACPI_TABLES, layout::ACPI_TABLES_END, E820_RESERVED),
    ];
    for region in memory.iter() {
        let start = region.start_addr().raw_value().max(layout::HIGH_MEMORY);
        let end = region.start_addr().raw_value() + region.len();
        entries.push((start, end, E820_RAM));
    }
    parameters.e820_entries = u8::try_from(entries.len()).unwrap_or_default();
    for (slot, (start, end, kind)) in parameters.e820_table.iter_mut().zip(entries) {
        *slot = boot_e820_entry {
            addr: start,
            size: end - start,
            r#type: kind,
        };
    }
}
