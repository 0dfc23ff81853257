//! How a device notifies its driver.

/// A device's interrupts, whatever transport delivers them. Shared by the transport and the device's thread.
///
/// An interrupt that the host refuses is logged, not reported: the device cannot do anything about it.
pub trait VirtioInterrupt: Send + Sync {
    /// Notifies the driver of used buffers in a queue (virtio 1.2 §2.3).
    fn used_buffers(&self, queue: u16);

    /// Notifies the driver of used buffers in several queues. A transport whose queues share an interrupt raises it once.
    fn used_buffers_in(&self, queues: &[u16]) {
        queues.iter().for_each(|queue| self.used_buffers(*queue));
    }

    /// Notifies a driver that has set DRIVER_OK of a change of the configuration space (virtio 1.2 §2.5).
    fn configuration_changed(&self);

    /// Sets DEVICE_NEEDS_RESET, and notifies a driver that has set DRIVER_OK (virtio 1.2 §2.1.2).
    fn needs_reset(&self);
}
