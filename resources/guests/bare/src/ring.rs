//! A split virtqueue (virtio 1.2 §2.7) with rings and tables at known addresses, and the requests in flight on it.

use core::sync::atomic::{Ordering, fence};

use crate::memory::{load, store};

/// Most requests in flight on a queue, and its largest size.
pub const SLOTS: usize = 1024;

/// Bytes of a queue's memory, without its data.
pub const EACH: u64 = 0x2_0000;

/// Offsets of its parts.
pub mod place {
    pub const TABLE: u64 = 0;
    pub const AVAILABLE: u64 = 0x4000;
    pub const USED: u64 = 0x5000;
    pub const HEADERS: u64 = 0x8000;
    pub const STATUSES: u64 = 0xc000;
    pub const RAW_HEADER: u64 = 0xd000;
    pub const RAW_STATUS: u64 = 0xd800;
    pub const RAW_INDIRECT: u64 = 0xe000;
    pub const INDIRECT: u64 = 0x1_0000;
}

/// Flag of the available ring, for a device without EVENT_IDX.
const NO_INTERRUPT: u16 = 1;

/// An entry of the used ring.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// The head descriptor's index.
    pub head: u16,
    /// Bytes that the device reports as written.
    pub length: u32,
}

/// A queue and its driver's state.
#[derive(Debug, Clone, Copy)]
pub struct Ring {
    /// Guest address of its memory.
    pub memory: u64,
    /// Its descriptors.
    pub size: u16,
    event_idx: bool,
    available: u16,
    announced: u16,
    used: u16,
    in_flight: [u64; SLOTS / 64],
}

impl Ring {
    /// A ring that is not set up, in this memory.
    pub const fn new(memory: u64) -> Self {
        Self {
            memory,
            size: 0,
            event_idx: false,
            available: 0,
            announced: 0,
            used: 0,
            in_flight: [0; SLOTS / 64],
        }
    }

    /// An empty ring of that many descriptors, in this memory.
    pub fn empty(memory: u64, size: u16, event_idx: bool) -> Self {
        // SAFETY: only this driver uses the rings' memory, and the device has been reset.
        unsafe { core::ptr::write_bytes(memory as *mut u8, 0, place::HEADERS as usize) };
        Self {
            size,
            event_idx,
            ..Self::new(memory)
        }
    }

    /// Clears the record of requests in flight.
    pub fn forget(&mut self) {
        self.in_flight = [0; SLOTS / 64];
    }

    /// Records a slot's request as in flight.
    pub fn begin(&mut self, slot: usize) {
        self.in_flight[slot / 64] |= 1 << (slot % 64);
    }

    /// Records a slot's completion. Returns whether its request was in flight.
    pub fn end(&mut self, slot: usize) -> bool {
        let Some(slots) = self.in_flight.get_mut(slot / 64) else {
            return false;
        };
        let bit = 1 << (slot % 64);
        let was = *slots & bit != 0;
        *slots &= !bit;
        was
    }

    /// Asks the device not to interrupt, since this driver polls.
    pub fn silence(&mut self) {
        let ring = self.memory + place::AVAILABLE;
        // SAFETY: this driver's ring.
        unsafe {
            if self.event_idx {
                // As far ahead as the index reaches: one interrupt in 65536 completions.
                let event = ring + 4 + 2 * u64::from(self.size);
                store(event, self.used.wrapping_sub(1));
            } else {
                store(ring, NO_INTERRUPT);
            }
        }
    }

    /// Puts a head into the available ring.
    pub fn offer(&mut self, head: u16) {
        let ring = self.memory + place::AVAILABLE;
        let entry = u64::from(self.available % self.size.max(1));
        // SAFETY: this driver's ring.
        unsafe { store(ring + 4 + 2 * entry, head) };
        self.available = self.available.wrapping_add(1);
        self.set_available(self.available);
    }

    /// Sets the available ring's index.
    pub fn set_available(&mut self, index: u16) {
        fence(Ordering::SeqCst);
        // SAFETY: this driver's ring.
        unsafe { store(self.memory + place::AVAILABLE + 2, index) };
    }

    /// Whether the device wants a notification for the available entries (virtio 1.2 §2.7.10); records it as sent.
    pub fn wants_kick(&mut self) -> bool {
        fence(Ordering::SeqCst);
        let ring = self.memory + place::USED;
        let (new, old) = (self.available, self.announced);
        self.announced = new;
        // SAFETY: the rings are this driver's memory, and aligned.
        unsafe {
            if self.event_idx {
                let event: u16 = load(ring + 4 + 8 * u64::from(self.size));
                new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
            } else {
                load::<u16>(ring) & 1 == 0
            }
        }
    }

    /// Number of used ring entries not yet consumed.
    pub fn ready(&self) -> u16 {
        // SAFETY: this driver's ring.
        let index: u16 = unsafe { load(self.memory + place::USED + 2) };
        index.wrapping_sub(self.used)
    }

    /// Consumes the next entry of the used ring.
    pub fn poll(&mut self) -> Option<Used> {
        let ring = self.memory + place::USED;
        // SAFETY: the rings are this driver's memory, and aligned.
        unsafe {
            if load::<u16>(ring + 2) == self.used {
                return None;
            }
            fence(Ordering::SeqCst);
            let entry = ring + 4 + 8 * u64::from(self.used % self.size.max(1));
            self.used = self.used.wrapping_add(1);
            Some(Used {
                head: load::<u32>(entry) as u16,
                length: load(entry + 4),
            })
        }
    }
}

/// A descriptor.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    pub index: u16,
    pub address: u64,
    pub length: u32,
    pub flags: u16,
    pub next: u16,
}

impl Descriptor {
    /// Writes it into a table.
    pub fn write(self, table: u64) {
        let at = table + 16 * u64::from(self.index);
        // SAFETY: a table of this driver's; tables are followed by memory of its own too.
        unsafe {
            store(at, self.address);
            store(at + 8, self.length);
            store(at + 12, self.flags);
            store(at + 14, self.next);
        }
    }
}
