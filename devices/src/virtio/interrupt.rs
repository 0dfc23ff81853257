//! What a device tells its driver besides used buffers: the interrupt status and the device status.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::interrupt::InterruptLine;

/// Bits of the device status register (virtio 1.2 §2.1).
pub mod status {
    /// The guest has noticed the device.
    pub const ACKNOWLEDGE: u32 = 1;
    /// The guest has a driver for it.
    pub const DRIVER: u32 = 2;
    /// The driver is set up.
    pub const DRIVER_OK: u32 = 4;
    /// The features are agreed on.
    pub const FEATURES_OK: u32 = 8;
    /// The device met something that it cannot recover from.
    pub const DEVICE_NEEDS_RESET: u32 = 64;
    /// The driver has given up on the device.
    pub const FAILED: u32 = 128;
}

/// Bits of the interrupt status register (virtio 1.2 §4.2.2).
const USED_BUFFER: u32 = 1;
const CONFIGURATION_CHANGE: u32 = 2;

/// A device's interrupt line with the two registers that say why it was raised. Shared by the
/// transport and the device's thread.
pub struct Interrupt {
    line: Arc<dyn InterruptLine>,
    interrupt_status: AtomicU32,
    device_status: AtomicU32,
}

impl Interrupt {
    /// A quiet interrupt on a line.
    pub fn new(line: Arc<dyn InterruptLine>) -> Self {
        Self {
            line,
            interrupt_status: AtomicU32::new(0),
            device_status: AtomicU32::new(0),
        }
    }

    /// Tells the driver that a used ring has grown.
    pub fn used_buffer(&self) {
        self.raise(USED_BUFFER);
    }

    /// Sets DEVICE_NEEDS_RESET, and tells the driver if it is already running (virtio 1.2 §2.1.2).
    pub fn needs_reset(&self) {
        let before = self
            .device_status
            .fetch_or(status::DEVICE_NEEDS_RESET, Ordering::SeqCst);
        if before & status::DRIVER_OK != 0 {
            self.raise(CONFIGURATION_CHANGE);
        }
    }

    /// Tells a driver that is running to read the configuration space again (virtio 1.2 §2.5).
    pub fn configuration_changed(&self) {
        if self.device_status() & status::DRIVER_OK != 0 {
            self.raise(CONFIGURATION_CHANGE);
        }
    }

    fn raise(&self, cause: u32) {
        self.interrupt_status.fetch_or(cause, Ordering::SeqCst);
        if let Err(error) = self.line.raise() {
            tracing::error!(%error, "virtio: cannot raise an interrupt");
        }
    }

    pub(super) fn interrupt_status(&self) -> u32 {
        self.interrupt_status.load(Ordering::SeqCst)
    }

    pub(super) fn acknowledge(&self, causes: u32) {
        self.interrupt_status.fetch_and(!causes, Ordering::SeqCst);
    }

    /// The device status register.
    pub fn device_status(&self) -> u32 {
        self.device_status.load(Ordering::SeqCst)
    }

    pub(super) fn set_status_bits(&self, bits: u32) {
        self.device_status.fetch_or(bits, Ordering::SeqCst);
    }

    pub(super) fn clear(&self) {
        self.device_status.store(0, Ordering::SeqCst);
        self.interrupt_status.store(0, Ordering::SeqCst);
    }
}
