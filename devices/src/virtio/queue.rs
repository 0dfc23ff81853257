//! A split virtqueue in use (virtio 1.2 §2.7): ring layout, and notification suppression.

use std::num::Wrapping;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use serde::{Deserialize, Serialize};
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC, VRING_AVAIL_F_NO_INTERRUPT,
    VRING_USED_F_NO_NOTIFY,
};
use virtio_queue::{Queue, QueueT};
use vm_memory::{GuestAddress, GuestMemoryError, GuestMemoryMmap, Le64};

use super::chain::{Chain, ChainError, Indirect, Table};
use super::mapped_range::MappedRange;
use super::queue_state::QueueState;

/// Offset of the flags in either ring (virtio 1.2 §2.7.6, §2.7.8).
const FLAGS: usize = 0;

/// Offset of the index in either ring.
const INDEX: usize = 2;

/// Offset of the entries in either ring.
const ENTRIES: usize = 4;

/// Length of an entry of the available ring, and of the `used_event` behind the last.
const AVAILABLE_ENTRY: usize = 2;

/// Length of an entry of the used ring.
const USED_ENTRY: usize = 8;

/// Length of the field behind the entries of either ring: `used_event` or `avail_event`.
const EVENT: usize = 2;

/// A queue's registers as the driver wrote them, unchecked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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

/// Why a queue cannot be used any further. The device needs a reset.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// A size that is no power of two, or more than the device offered.
    #[error("a queue of {0} descriptors")]
    Size(u32),
    /// A part of the queue is misaligned or not in guest memory.
    #[error("a queue that is misaligned or outside guest memory: {0:x?}")]
    Place(Configuration),
    /// The available index is further ahead than the ring's size.
    #[error("{0} chains available at once, more than the queue holds")]
    AvailableIndex(u16),
    /// More chains are unanswered than the queue holds.
    #[error("more than {0} requests at once, with a chain made available twice")]
    TooMany(u16),
    /// An invalid chain.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// An access to the ring in guest memory failed.
    #[error(transparent)]
    Ring(#[from] virtio_queue::Error),
}

impl From<GuestMemoryError> for QueueError {
    fn from(error: GuestMemoryError) -> Self {
        Self::Ring(virtio_queue::Error::GuestMemory(error))
    }
}

/// How driver and device suppress each other's notifications.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Suppression {
    /// By an index in the ring (VIRTIO_F_EVENT_IDX).
    EventIndex,
    /// By a flag in the ring.
    Flags,
}

/// A queue that a driver has set up.
pub struct SplitQueue {
    configuration: Configuration,
    size: u16,
    table: Table,
    available: MappedRange,
    used: MappedRange,
    suppression: Suppression,
    /// The next entry of the available ring that the device takes.
    next_available: Wrapping<u16>,
    /// The next entry of the used ring that the device writes.
    next_used: Wrapping<u16>,
    /// Used entries since the last decision about an interrupt.
    unannounced: u16,
}

impl SplitQueue {
    /// Checks the driver's configuration, and translates it.
    ///
    /// # Errors
    ///
    /// [`QueueError::Size`] and [`QueueError::Place`].
    pub fn new(
        state: QueueState,
        max_size: u16,
        features: u64,
        memory: &Arc<GuestMemoryMmap>,
    ) -> Result<Self, QueueError> {
        let QueueState {
            configuration,
            next_available,
            next_used,
        } = state;
        let size = checked_size(configuration, max_size, memory)?;
        let entries = usize::from(size);
        let [table, available, used] = [
            configuration.descriptor_table,
            configuration.available_ring,
            configuration.used_ring,
        ]
        .map(GuestAddress);
        let indirect = match features & (1 << VIRTIO_RING_F_INDIRECT_DESC) {
            0 => Indirect::Forbidden,
            _ => Indirect::Allowed,
        };
        let ring = |address, entry: usize| {
            MappedRange::new(memory, address, ENTRIES + entry * entries + EVENT)
        };
        let outside = || QueueError::Place(configuration);
        Ok(Self {
            configuration,
            size,
            table: Table::new(memory, table, size, indirect).ok_or_else(outside)?,
            available: ring(available, AVAILABLE_ENTRY).ok_or_else(outside)?,
            used: ring(used, USED_ENTRY).ok_or_else(outside)?,
            suppression: match features & (1 << VIRTIO_RING_F_EVENT_IDX) {
                0 => Suppression::Flags,
                _ => Suppression::EventIndex,
            },
            next_available: Wrapping(next_available),
            next_used: Wrapping(next_used),
            unannounced: 0,
        })
    }

    /// The device's position in the queue.
    pub fn state(&self) -> QueueState {
        QueueState {
            configuration: self.configuration,
            next_available: self.next_available.0,
            next_used: self.next_used.0,
        }
    }

    /// Number of descriptors.
    pub fn size(&self) -> u16 {
        self.size
    }

    /// Takes the next available chain. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// The defect of the ring or the chain.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, QueueError> {
        let next = self.next_available;
        let waiting = (self.available_index(Ordering::Acquire)? - next).0;
        if waiting == 0 {
            return Ok(false);
        }
        if waiting > self.size {
            return Err(QueueError::AvailableIndex(waiting));
        }
        let entry = ENTRIES + AVAILABLE_ENTRY * usize::from(next.0 % self.size);
        let head = self.available.load(entry, Ordering::Acquire)?;
        self.next_available = next + Wrapping(1);
        self.table.walk(head, chain)?;
        Ok(true)
    }

    /// Returns the last `count` chains that were taken to the available ring. None of them has been completed.
    pub fn put_back(&mut self, count: u16) {
        self.next_available -= Wrapping(count);
    }

    /// Whether a chain is available, or the ring is invalid.
    pub fn has_available(&self) -> bool {
        let index = self.available_index(Ordering::Acquire);
        index.map_or(true, |index| index != self.next_available)
    }

    fn available_index(&self, order: Ordering) -> Result<Wrapping<u16>, GuestMemoryError> {
        self.available.load(INDEX, order).map(Wrapping)
    }

    /// Puts a chain into the used ring, with the number of bytes that were written to it.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the write.
    pub fn complete(&mut self, head: u16, written: u32) -> Result<(), QueueError> {
        if head >= self.size {
            return Err(virtio_queue::Error::InvalidDescriptorIndex.into());
        }
        let entry = ENTRIES + USED_ENTRY * usize::from(self.next_used.0 % self.size);
        // The head as 32 bits, and then the length (virtio 1.2 §2.7.8).
        let element = u64::from(head) | u64::from(written) << 32;
        self.used.write(Le64::from(element), entry)?;
        self.next_used += 1;
        self.unannounced = self.unannounced.saturating_add(1);
        // A driver that sees the index sees the entry.
        self.used
            .store(self.next_used.0, INDEX, Ordering::Release)?;
        Ok(())
    }

    /// Whether the driver wants an interrupt for the completions since the last call
    /// (virtio 1.2 §2.7.7).
    ///
    /// # Errors
    ///
    /// When guest memory refuses the read.
    pub fn wants_interrupt(&mut self) -> Result<bool, QueueError> {
        let completed = Wrapping(std::mem::take(&mut self.unannounced));
        if completed.0 == 0 {
            return Ok(false);
        }
        // The driver sets its event and then reads the index: one side sees the other's write.
        fence(Ordering::SeqCst);
        Ok(match self.suppression {
            Suppression::EventIndex => {
                let event = ENTRIES + AVAILABLE_ENTRY * usize::from(self.size);
                let event = Wrapping(self.available.load(event, Ordering::Relaxed)?);
                // Whether the index has passed the event since the last call.
                self.next_used - event - Wrapping(1) < completed
            }
            Suppression::Flags => {
                let flags = self.available.load(FLAGS, Ordering::Acquire)?;
                u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0
            }
        })
    }

    /// Suppresses kicks: the device polls the ring.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the write.
    pub fn disable_kicks(&mut self) -> Result<(), QueueError> {
        match self.suppression {
            // An index that the driver has passed, and reaches again only after wrapping around
            // (virtio 1.2 §2.7.10).
            Suppression::EventIndex => self.ask_for_kick_at(self.next_available - Wrapping(1))?,
            Suppression::Flags => self.set_used_flags(VRING_USED_F_NO_NOTIFY)?,
        }
        Ok(())
    }

    /// Enables kicks. Returns whether a chain became available meanwhile.
    ///
    /// # Errors
    ///
    /// When guest memory refuses the access.
    pub fn enable_kicks(&mut self) -> Result<bool, QueueError> {
        match self.suppression {
            Suppression::EventIndex => self.ask_for_kick_at(self.next_available)?,
            Suppression::Flags => self.set_used_flags(0)?,
        }
        // The driver writes its index and then reads the event: one side sees the other's write.
        fence(Ordering::SeqCst);
        Ok(self.available_index(Ordering::Relaxed)? != self.next_available)
    }

    /// Writes `avail_event`.
    fn ask_for_kick_at(&self, index: Wrapping<u16>) -> Result<(), GuestMemoryError> {
        let event = ENTRIES + USED_ENTRY * usize::from(self.size);
        self.used.store(index.0, event, Ordering::Relaxed)
    }

    fn set_used_flags(&self, flags: u32) -> Result<(), GuestMemoryError> {
        // A flag fits into 16 bits.
        let flags = u16::try_from(flags).unwrap_or_default();
        self.used.store(flags, FLAGS, Ordering::Relaxed)
    }
}

/// The size of a queue, after checking its size, alignment and addresses.
fn checked_size(
    configuration: Configuration,
    max_size: u16,
    memory: &Arc<GuestMemoryMmap>,
) -> Result<u16, QueueError> {
    let refused = QueueError::Size(configuration.size);
    let size = u16::try_from(configuration.size).map_err(|_| refused)?;
    let mut queue = Queue::new(max_size)?;
    queue
        .try_set_size(size)
        .map_err(|_| QueueError::Size(configuration.size))?;
    queue
        .try_set_desc_table_address(GuestAddress(configuration.descriptor_table))
        .and_then(|()| queue.try_set_avail_ring_address(GuestAddress(configuration.available_ring)))
        .and_then(|()| queue.try_set_used_ring_address(GuestAddress(configuration.used_ring)))
        .map_err(|_| QueueError::Place(configuration))?;
    queue.set_ready(true);
    if !queue.is_valid(&**memory) {
        return Err(QueueError::Place(configuration));
    }
    Ok(size)
}
