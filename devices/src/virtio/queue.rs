//! A split virtqueue in use (virtio 1.2 §2.7). The ring arithmetic is virtio-queue's.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_F_NO_INTERRUPT,
};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::chain::{Chain, ChainError, Table};

/// What a driver wrote into the registers of a queue. Nothing about it has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Configuration {
    /// Number of descriptors.
    pub size: u32,
    /// Guest address of the descriptor table.
    pub descriptor_table: u64,
    /// Guest address of the available ring.
    pub available_ring: u64,
    /// Guest address of the used ring.
    pub used_ring: u64,
}

/// Why a queue cannot be used, or cannot be used further. The device needs a reset.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A size that is no power of two, or more than the device offered.
    #[error("a queue of {0} descriptors")]
    Size(u32),
    /// A part of the queue is misaligned or not in guest memory.
    #[error("a queue that is misaligned or outside guest memory: {0:x?}")]
    Place(Configuration),
    /// The available index ran ahead of what the ring can hold.
    #[error("{0} chains available at once, more than the queue holds")]
    AvailableIndex(u16),
    /// A chain that cannot be followed.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Guest memory that was there is not.
    #[error(transparent)]
    Ring(#[from] virtio_queue::Error),
}

/// A queue that a driver has set up.
pub struct SplitQueue {
    queue: Queue,
    memory: Arc<GuestMemoryMmap>,
    table: Table,
    /// Something was completed since the driver was last considered for an interrupt.
    unannounced: bool,
}

impl SplitQueue {
    /// Checks what the driver configured.
    ///
    /// # Errors
    ///
    /// [`QueueError::Size`] and [`QueueError::Place`].
    pub fn new(
        configuration: Configuration,
        max_size: u16,
        features: u64,
        memory: Arc<GuestMemoryMmap>,
    ) -> Result<Self, QueueError> {
        let refused = QueueError::Size(configuration.size);
        let size = u16::try_from(configuration.size).map_err(|_| refused)?;
        let mut queue = Queue::new(max_size)?;
        queue
            .try_set_size(size)
            .map_err(|_| QueueError::Size(configuration.size))?;
        let [table, available, used] = [
            configuration.descriptor_table,
            configuration.available_ring,
            configuration.used_ring,
        ]
        .map(GuestAddress);
        queue
            .try_set_desc_table_address(table)
            .and_then(|()| queue.try_set_avail_ring_address(available))
            .and_then(|()| queue.try_set_used_ring_address(used))
            .map_err(|_| QueueError::Place(configuration))?;
        queue.set_event_idx(features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0);
        queue.set_ready(true);
        if !queue.is_valid(&*memory) {
            return Err(QueueError::Place(configuration));
        }
        Ok(Self {
            queue,
            memory,
            table: Table {
                address: table,
                length: size,
                indirect: features & (1 << VIRTIO_RING_F_INDIRECT_DESC) != 0,
            },
            unannounced: false,
        })
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.queue.size()
    }

    /// The next chain that the driver has made available.
    ///
    /// # Errors
    ///
    /// What is wrong with the ring or the chain.
    pub fn pop(&mut self) -> Result<Option<Chain>, QueueError> {
        let next = self.queue.next_avail();
        let available = self.queue.avail_idx(&*self.memory, Ordering::Acquire)?.0;
        let waiting = available.wrapping_sub(next);
        if waiting == 0 {
            return Ok(None);
        }
        if waiting > self.queue.size() {
            return Err(QueueError::AvailableIndex(waiting));
        }
        // Past flags and index (virtio 1.2 §2.7.6); the ring was checked to lie in memory.
        let entry = self.queue.avail_ring() + 4 + 2 * u64::from(next % self.queue.size());
        let head = self
            .memory
            .load(GuestAddress(entry), Ordering::Acquire)
            .map(u16::from_le)
            .map_err(virtio_queue::Error::GuestMemory)?;
        self.queue.set_next_avail(next.wrapping_add(1));
        Ok(Some(self.table.walk(&self.memory, head)?))
    }

    /// Whether the driver has made a chain available, or something is wrong with the ring.
    pub fn has_available(&self) -> bool {
        let index = self.queue.avail_idx(&*self.memory, Ordering::Acquire);
        index.map_or(true, |index| index.0 != self.queue.next_avail())
    }

    /// Puts a chain into the used ring, with the number of bytes that were written to it.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the write.
    pub fn complete(&mut self, head: u16, written: u32) -> Result<(), QueueError> {
        self.queue.add_used(&*self.memory, head, written)?;
        self.unannounced = true;
        Ok(())
    }

    /// Whether the driver wants an interrupt for what was completed since the last call.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the read.
    pub fn wants_interrupt(&mut self) -> Result<bool, QueueError> {
        if !std::mem::take(&mut self.unannounced) {
            return Ok(false);
        }
        let wanted = self.queue.needs_notification(&*self.memory)?;
        if self.queue.event_idx_enabled() {
            return Ok(wanted);
        }
        let flags: u16 = self
            .memory
            .load(GuestAddress(self.queue.avail_ring()), Ordering::Acquire)
            .map_err(virtio_queue::Error::GuestMemory)?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
    }

    /// Asks the driver not to kick: the device is looking anyway.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the write.
    pub fn disable_kicks(&mut self) -> Result<(), QueueError> {
        if self.queue.event_idx_enabled() {
            // A place that the driver has passed, and comes to again when it has gone all the way
            // round (virtio 1.2 §2.7.10).
            let passed = self.queue.next_avail().wrapping_sub(1);
            let event = self.queue.used_ring() + 4 + 8 * u64::from(self.queue.size());
            return Ok(self
                .memory
                .store(passed.to_le(), GuestAddress(event), Ordering::Relaxed)
                .map_err(virtio_queue::Error::GuestMemory)?);
        }
        Ok(self.queue.disable_notification(&*self.memory)?)
    }

    /// Asks the driver to kick from now on. True when something became available meanwhile.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the access.
    pub fn enable_kicks(&mut self) -> Result<bool, QueueError> {
        Ok(self.queue.enable_notification(&*self.memory)?)
    }
}
