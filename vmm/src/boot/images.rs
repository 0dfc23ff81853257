//! A guest's images, which are loaded while the rest of the machine is made.

use std::panic;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use super::initrd::{self, Initrd};
use super::kernel::{self, Kernel};
use super::transfers::{Failed, Transfers};
use super::{BootError, layout};
use crate::address_map;
use crate::cli::{Configuration, SerialPort};
use crate::memory::Amount;
use crate::parallel::Threads;

const STACK: usize = 256 << 10;

/// Kernel and initrd, kept open, so that every start of the machine uses the same files.
#[derive(Debug)]
pub struct Images {
    kernel: Kernel,
    initrd: Option<Initrd>,
}

/// Their places in guest memory.
#[derive(Debug)]
pub struct Placed {
    /// The kernel.
    pub(super) kernel: kernel::Placed,
    /// The initrd, if there is one.
    pub(super) initrd: Option<initrd::Placed>,
}

impl Images {
    /// Opens the images.
    ///
    /// # Errors
    ///
    /// [`BootError`] names the image that cannot be used.
    pub fn open(configuration: &Configuration) -> Result<Self, BootError> {
        let kernel = Kernel::open(&configuration.kernel)?;
        let initrd = configuration.initrd.as_deref().map(Initrd::open);
        let initrd = initrd.transpose()?;
        Ok(Self { kernel, initrd })
    }

    /// Warnings about images that may not be the intended ones.
    pub fn notes(&self, configuration: &Configuration) -> Vec<String> {
        if !self.kernel.is_linux() {
            return Vec::new();
        }
        let mut notes = Vec::new();
        if let Some(initrd) = &self.initrd {
            notes.extend(initrd.note());
        }
        let names_console = |word: &str| {
            ["console=", "earlycon", "earlyprintk"]
                .iter()
                .any(|console| word.starts_with(console))
        };
        let has_console = configuration.append.split_whitespace().any(names_console);
        if configuration.serial != SerialPort::Null && !has_console {
            notes.push(
                "--append names no console: without console=ttyS0 a Linux kernel may say nothing on the serial port"
                    .to_owned(),
            );
        }
        notes
    }

    /// Finds their places in memory, which must be all zeroes, and begins to copy them there, in threads of their own.
    ///
    /// # Errors
    ///
    /// [`BootError`] if something does not fit, or a file is no longer usable.
    pub fn load(
        self: &Arc<Self>,
        memory: &Arc<GuestMemoryMmap>,
    ) -> Result<(Placed, Loading), BootError> {
        let low_end = low_memory_end(memory);
        if low_end <= layout::HIGH_MEMORY {
            return Err(BootError::MemoryTooSmall(Amount(low_end)));
        }
        let (kernel, transfers) = self.kernel.place(memory, low_end)?;
        let mut transfers = vec![transfers];
        let room = kernel.end..kernel.initrd_limit;
        let initrd = match &self.initrd {
            Some(initrd) => {
                let (placed, transfer) = initrd.place(memory, room)?;
                transfers.push(transfer);
                Some(placed)
            }
            None => None,
        };
        let images = self.clone();
        let copy = move || {
            let made = Transfers::make(&transfers, Threads::up_to(usize::MAX));
            made.map_err(|failed| images.unreadable(failed))
        };
        let builder = thread::Builder::new().name("loader".to_owned());
        // Not the usual two megabytes, which may become a huge page that the C library keeps.
        let thread = builder.stack_size(STACK).spawn(copy);
        let thread = thread.map_err(BootError::Thread)?;
        Ok((Placed { kernel, initrd }, Loading { thread }))
    }

    /// In the order of [`Images::load`].
    fn unreadable(&self, Failed { image, source }: Failed) -> BootError {
        match &self.initrd {
            Some(initrd) if image > 0 => initrd.unreadable(source).into(),
            _ => self.kernel.unreadable(source).into(),
        }
    }
}

/// Images that are being copied into memory.
#[derive(Debug)]
pub struct Loading {
    thread: JoinHandle<Result<(), BootError>>,
}

impl Loading {
    /// Waits until they are in memory.
    ///
    /// # Errors
    ///
    /// [`BootError`] if an image cannot be read.
    pub fn finish(self) -> Result<(), BootError> {
        let joined = self.thread.join();
        joined.unwrap_or_else(|panic| panic::resume_unwind(panic))
    }
}

/// The end of the memory that begins at address 0.
fn low_memory_end(memory: &GuestMemoryMmap) -> u64 {
    memory
        .find_region(GuestAddress(0))
        .map_or(0, GuestMemoryRegion::len)
        .min(address_map::LOW_MEMORY_END)
}
