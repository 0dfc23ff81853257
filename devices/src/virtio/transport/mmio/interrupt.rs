//! The one interrupt of a virtio-mmio device, and the two registers with its cause.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vmm_sys_util::eventfd::EventFd;

use crate::virtio::interrupt::VirtioInterrupt;
use crate::virtio::transport::status;

/// Bits of the interrupt status register (virtio 1.2 §4.2.2).
const USED_BUFFER: u32 = 1;
const CONFIGURATION_CHANGE: u32 = 2;

/// All bits of the interrupt status register.
pub(super) const CAUSES: u32 = USED_BUFFER | CONFIGURATION_CHANGE;

/// An interrupt line with the interrupt status and the device status.
pub struct MmioInterrupt {
    line: Arc<EventFd>,
    interrupt_status: AtomicU32,
    device_status: AtomicU32,
}

impl MmioInterrupt {
    /// An interrupt on a line, not raised.
    pub fn new(line: Arc<EventFd>) -> Self {
        Self {
            line,
            interrupt_status: AtomicU32::new(0),
            device_status: AtomicU32::new(0),
        }
    }

    /// The eventfd that raises the interrupt.
    pub(super) fn line(&self) -> &EventFd {
        &self.line
    }

    fn raise(&self, cause: u32) {
        self.interrupt_status.fetch_or(cause, Ordering::SeqCst);
        if let Err(error) = self.line.write(1) {
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
        self.set(0, 0);
    }

    /// Sets both registers.
    pub(super) fn set(&self, device_status: u32, interrupt_status: u32) {
        self.device_status.store(device_status, Ordering::SeqCst);
        self.interrupt_status
            .store(interrupt_status, Ordering::SeqCst);
    }
}

impl VirtioInterrupt for MmioInterrupt {
    fn used_buffers(&self, _queue: u16) {
        self.raise(USED_BUFFER);
    }

    fn used_buffers_in(&self, queues: &[u16]) {
        if !queues.is_empty() {
            self.raise(USED_BUFFER);
        }
    }

    fn configuration_changed(&self) {
        if self.device_status() & status::DRIVER_OK != 0 {
            self.raise(CONFIGURATION_CHANGE);
        }
    }

    fn needs_reset(&self) {
        let before = self
            .device_status
            .fetch_or(status::DEVICE_NEEDS_RESET, Ordering::SeqCst);
        if before & status::DRIVER_OK != 0 {
            self.raise(CONFIGURATION_CHANGE);
        }
    }
}
