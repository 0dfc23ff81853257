//! Virtio 1.2: the split virtqueue, the MMIO transport, and virtio-blk.

pub mod block;
pub mod chain;
mod complaints;
mod interrupt;
mod mapped_range;
pub mod queue;
pub mod transport;

pub use interrupt::{Interrupt, status};

/// A device, as its transport sees it.
///
/// The transport owns the registers and the negotiation; the device owns what its queues mean.
pub trait VirtioDevice: Send + Sync {
    /// The device ID (virtio 1.2 §5).
    fn device_id(&self) -> u32;

    /// The features that it offers, transport features included.
    fn features(&self) -> u64;

    /// The largest size of each of its queues.
    fn queue_sizes(&self) -> &[u16];

    /// Reads its configuration space. What lies past its end reads as zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// A driver with these features, none before they are agreed on, writes to its configuration
    /// space. What it may not write stays as it is.
    fn write_config(&self, features: u64, offset: u64, data: &[u8]);

    /// Another number whenever the configuration space may have changed (virtio 1.2 §2.5).
    fn config_generation(&self) -> u32;

    /// Starts it: the driver has set DRIVER_OK. A queue that the driver did not make ready is
    /// `None`. What the device cannot work with it answers with
    /// [`Interrupt::needs_reset`].
    fn activate(
        &self,
        features: u64,
        queues: Vec<Option<queue::Configuration>>,
        interrupt: std::sync::Arc<Interrupt>,
    );

    /// The driver has made buffers available in a queue.
    fn notify(&self, queue: u32);

    /// Stops it, and returns when it will not touch guest memory any more.
    fn reset(&self);
}
