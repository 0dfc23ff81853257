//! A driver of the disk: registers, and chains in guest memory.

use std::sync::Arc;

use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::deeds::Ask;
use crate::bus::BusDevice;
use crate::virtio::transport::mmio::{MmioTransport, QUEUE_NOTIFY};

/// Queues of the disk.
pub const QUEUES: u16 = 4;

/// Request slots of each queue.
pub const CHAINS: u16 = 8;

/// Maximum number of descriptors of each slot.
const DESCRIPTORS: u16 = 6;

/// Bytes of data of each slot.
pub const DATA_ROOM: u64 = 0x400;

/// Bytes of a queue's parts.
const QUEUE_ROOM: u64 = 0x1000;

/// Register offsets (virtio 1.2 §4.2.2).
const DEVICE_FEATURES: u64 = 0x010;
const DEVICE_FEATURES_SEL: u64 = 0x014;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_SEL: u64 = 0x024;
const QUEUE_SEL: u64 = 0x030;
const QUEUE_NUM: u64 = 0x038;
const QUEUE_READY: u64 = 0x044;
/// The status register.
pub const STATUS: u64 = 0x070;
const QUEUE_ADDRESSES: [u64; 3] = [0x080, 0x090, 0x0a0];
/// The configuration space.
pub const CONFIG: u64 = 0x100;
/// The `writeback` field of the configuration space.
pub const WRITE_CACHE: u64 = CONFIG + 32;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// What a status byte holds before the device writes it.
pub const UNANSWERED: u8 = 0xff;

/// Reads.
pub const IN: u32 = 0;
/// Writes.
pub const OUT: u32 = 1;
const DISCARD: u32 = 11;
const WRITE_ZEROES: u32 = 13;

/// The feature that every driver needs.
const VERSION_1: u64 = 1 << 32;

/// The descriptor table of a queue.
pub const fn table_of(queue: u16) -> u64 {
    QUEUE_ROOM * queue as u64
}

fn available_of(queue: u16) -> u64 {
    table_of(queue) + 0x400
}

fn used_of(queue: u16) -> u64 {
    table_of(queue) + 0x600
}

/// A slot's indirect table.
pub const fn indirect_table_of(queue: u16, place: u16) -> u64 {
    table_of(queue) + 0x900 + 0x80 * place as u64
}

/// A slot's header.
pub const fn header_of(queue: u16, place: u16) -> u64 {
    0x4000 + 16 * number(queue, place)
}

/// A slot's status byte.
pub const fn status_of(queue: u16, place: u16) -> u64 {
    0x4800 + number(queue, place)
}

/// A slot's data. Some of them span the seam.
pub const fn data_of(queue: u16, place: u16) -> u64 {
    0x4f00 + DATA_ROOM * number(queue, place)
}

const fn number(queue: u16, place: u16) -> u64 {
    (queue * CHAINS + place) as u64
}

/// The driver.
pub struct Driver {
    pub transport: MmioTransport,
    pub memory: Arc<GuestMemoryMmap>,
    /// The features that it accepts.
    pub features: u64,
    pub queue_size: u16,
    next_available: [u16; QUEUES as usize],
}

/// Registers.
impl Driver {
    /// A driver that has done nothing yet.
    pub fn new(transport: MmioTransport, memory: Arc<GuestMemoryMmap>) -> Self {
        Self {
            transport,
            memory,
            features: u64::MAX,
            queue_size: 64,
            next_available: [0; QUEUES as usize],
        }
    }

    pub fn register(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn set_register(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    pub fn kick(&self, queue: u16) {
        self.set_register(QUEUE_NOTIFY, queue.into());
    }

    /// Resets the device, and forgets the rings.
    pub fn reset(&mut self) {
        self.set_register(STATUS, 0);
        assert_eq!(self.register(STATUS), 0);
        self.forget();
    }

    /// Forgets the rings.
    pub fn forget(&mut self) {
        let zeroes = vec![0; usize::try_from(QUEUE_ROOM).unwrap()];
        (0..QUEUES).for_each(|queue| self.write(table_of(queue), &zeroes));
        self.next_available = [0; QUEUES as usize];
    }

    /// Negotiates, sets up every queue, and sets DRIVER_OK (virtio 1.2 §3.1.1).
    pub fn initialize(&mut self) {
        self.set_register(STATUS, 3);
        for half in [0, 1] {
            self.set_register(DEVICE_FEATURES_SEL, half);
            self.set_register(DRIVER_FEATURES_SEL, half);
            let wanted = (self.features | VERSION_1) >> (32 * half);
            let wanted = u32::try_from(wanted & u64::from(u32::MAX)).unwrap();
            let offered = self.register(DEVICE_FEATURES);
            self.set_register(DRIVER_FEATURES, offered & wanted);
        }
        self.set_register(STATUS, 11);
        for queue in 0..QUEUES {
            self.set_register(QUEUE_SEL, queue.into());
            self.set_register(QUEUE_NUM, self.queue_size.into());
            let parts = [table_of(queue), available_of(queue), used_of(queue)];
            for (register, address) in QUEUE_ADDRESSES.into_iter().zip(parts) {
                self.set_register(register, u32::try_from(address).unwrap());
                self.set_register(register + 4, 0);
            }
            self.set_register(QUEUE_READY, 1);
        }
        self.set_register(STATUS, 15);
    }
}

/// Memory.
impl Driver {
    pub fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        let at = GuestAddress(address);
        self.memory.read_slice(&mut bytes, at).unwrap();
        bytes
    }

    /// Writes the bytes that lie in guest memory.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        let _ = self.memory.write(bytes, GuestAddress(address));
    }

    pub fn describe(&self, table: u64, index: u16, descriptor: super::deeds::Descriptor) {
        let (address, length, flags, next) = descriptor;
        let descriptor = Descriptor::new(address, length, flags, next);
        let at = GuestAddress(table + 16 * u64::from(index));
        let _ = self.memory.write_obj(descriptor, at);
    }

    /// Makes a chain available, without a kick.
    pub fn offer(&mut self, queue: u16, head: u16) {
        let next = &mut self.next_available[usize::from(queue)];
        let entry = available_of(queue) + 4 + 2 * u64::from(*next % self.queue_size);
        *next = next.wrapping_add(1);
        let next = *next;
        self.write(entry, &head.to_le_bytes());
        self.set_index(queue, next);
    }

    pub fn set_index(&mut self, queue: u16, index: u16) {
        self.write(available_of(queue) + 2, &index.to_le_bytes());
    }

    /// The used rings' indices.
    pub fn used(&self) -> [u16; QUEUES as usize] {
        let index = |queue| u16::from_le_bytes(self.read(used_of(queue) + 2));
        [0, 1, 2, 3].map(index)
    }

    /// Makes a request available, and kicks if requested.
    pub fn ask(&mut self, ask: &Ask) {
        let Ask { queue, place, .. } = *ask;
        let (header, status) = (header_of(queue, place), status_of(queue, place));
        let words = [
            &ask.kind.to_le_bytes()[..],
            &[0; 4],
            &ask.sector.to_le_bytes(),
        ];
        self.write(header, &words.concat());
        self.write(status, &[UNANSWERED]);
        for (at, (sector, sectors, flags)) in (0..).zip(&ask.ranges) {
            let words = [
                &sector.to_le_bytes()[..],
                &sectors.to_le_bytes(),
                &flags.to_le_bytes(),
            ];
            self.write(data_of(queue, place) + 16 * at, &words.concat());
        }
        let is_read = matches!(ask.kind, OUT | DISCARD | WRITE_ZEROES);
        let direction = if is_read { 0 } else { WRITE };
        let mut parts = vec![(header, 16, 0)];
        parts.extend(
            ask.data
                .iter()
                .map(|(at, length)| (*at, *length, direction)),
        );
        parts.push((status, 1, WRITE));
        let indirect = indirect_table_of(queue, place);
        let (table, first, head) = if ask.indirect {
            (indirect, 0, place % self.queue_size)
        } else {
            // Where possible, a chain does not overlap those of other slots.
            let first = place * DESCRIPTORS;
            let fits = first + DESCRIPTORS <= self.queue_size;
            let first = if fits { first } else { 0 };
            (table_of(queue), first, first)
        };
        let last = parts.len() - 1;
        for (at, (index, (address, length, flags))) in
            (first..).zip(parts.iter().copied()).enumerate()
        {
            let flags = flags | if at < last { NEXT } else { 0 };
            self.describe(table, index, (address, length, flags, index + 1));
        }
        if ask.indirect {
            let length = 16 * u32::try_from(parts.len()).unwrap();
            self.describe(table_of(queue), head, (indirect, length, INDIRECT, 0));
        }
        self.offer(queue, head);
        if ask.kick {
            self.kick(queue);
        }
    }
}
