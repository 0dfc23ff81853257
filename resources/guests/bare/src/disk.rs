//! A polling virtio-blk driver (virtio 1.2 §4.2, §5.2) whose buffers are all at known addresses.

use core::fmt;

use crate::memory::{load, store};
use crate::ring::{self, Descriptor, Ring, SLOTS, Used, place};

/// Registers (virtio 1.2 §4.2.2).
pub mod register {
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CAPACITY: u64 = 0x100;
    pub const WRITEBACK_AND_QUEUES: u64 = 0x120;
}

/// The register version that this driver supports (virtio 1.2 §4.2.2).
const MODERN: u32 = 2;
/// IDs of a block device, and of an entropy and a socket device, whose chains are put together by hand (virtio 1.2 §5).
const BLOCK_DEVICE: u32 = 2;
const ENTROPY_DEVICE: u32 = 4;
const SOCKET_DEVICE: u32 = 19;
/// Device status: ACKNOWLEDGE and DRIVER; with FEATURES_OK; with DRIVER_OK.
const ACKNOWLEDGED: u32 = 3;
const AGREED: u32 = ACKNOWLEDGED | 8;
const RUNNING: u32 = AGREED | 4;
/// Set by a device after an error that it cannot recover from.
pub const NEEDS_RESET: u32 = 64;

/// Descriptor flags.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

const F_INDIRECT: u64 = 1 << 28;
const F_EVENT_IDX: u64 = 1 << 29;
/// Features that this driver supports: FLUSH, BLK_SIZE and the like, the write cache, several queues, discards, zeroes,
/// indirect descriptors, EVENT_IDX, VERSION_1.
const KNOWN: u64 =
    1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | 0xf << 11 | F_INDIRECT | F_EVENT_IDX | 1 << 32;

/// Bytes of request data, all slots of all queues together.
pub const ROOM: u64 = 0x80_0000;
/// Default queue size, in descriptors.
const SIZE: u32 = 256;
/// Most queues of a disk.
pub const QUEUES: usize = 8;
/// Most disks.
pub const DISKS: usize = 16;

/// Layout of a disk's memory: its queues, then its data. A guest with N disks needs 4 + 9 N MiB.
const FIRST: u64 = 0x40_0000;
const EACH: u64 = 0x90_0000;
const DATA: u64 = 0x10_0000;

/// Request types (virtio 1.2 §5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads sectors into the slot's buffer.
    Read,
    /// Writes the slot's buffer to sectors.
    Write,
    /// Makes all completed writes durable.
    Flush,
    /// Reads the disk's name into the slot's buffer.
    Identify,
    /// Discards the ranges that the slot's buffer lists.
    Discard,
    /// Zeroes the ranges that the slot's buffer lists.
    Zero,
}

/// Setup of a disk's queues; the driver chooses the first one's addresses unless the script does.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub size: u32,
    pub queues: usize,
    pub features: u64,
    pub table: Option<u64>,
    pub available: Option<u64>,
    pub used: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            size: SIZE,
            queues: 1,
            features: KNOWN,
            table: None,
            available: None,
            used: None,
        }
    }
}

/// A disk and its driver's state.
#[derive(Debug, Clone, Copy)]
pub struct BlockDriver {
    registers: u64,
    memory: u64,
    rings: [Ring; QUEUES],
    /// Number of queues set up, and the one that requests go to.
    queues: usize,
    queue: usize,
    indirect: bool,
    /// Bytes of each slot's buffer.
    buffer: u64,
    /// Notifications that the device did not suppress.
    pub kicks: u64,
    /// Completions of requests that were not in flight.
    pub doubled: u64,
}

impl BlockDriver {
    /// The disk number `index`, whose registers are at that address.
    pub fn new(index: usize, registers: u64) -> Self {
        let memory = FIRST + EACH * index as u64;
        Self {
            registers,
            memory,
            rings: core::array::from_fn(|queue| Ring::new(memory + ring::EACH * queue as u64)),
            queues: 1,
            queue: 0,
            indirect: false,
            buffer: 0,
            kicks: 0,
            doubled: 0,
        }
    }

    /// Whether the registers are those of a disk, or of an entropy or socket device.
    pub fn is_there(&self) -> bool {
        let is_known =
            [BLOCK_DEVICE, ENTROPY_DEVICE, SOCKET_DEVICE].contains(&self.get(register::DEVICE_ID));
        is_known && self.get(register::VERSION) == MODERN
    }

    /// Reads a register.
    pub fn get(&self, register: u64) -> u32 {
        let value;
        // SAFETY: the VMM announced a device's registers there. Every KVM can emulate this instruction.
        unsafe {
            core::arch::asm!("mov {0:e}, [{1}]", out(reg) value, in(reg) self.registers + register, options(nostack));
        }
        value
    }

    /// Writes a register.
    pub fn set(&self, register: u64, value: u32) {
        // SAFETY: as in `get`.
        unsafe {
            core::arch::asm!("mov [{1}], {0:e}", in(reg) value, in(reg) self.registers + register, options(nostack));
        }
    }

    /// Reads one byte, as the configuration space allows.
    pub fn get_byte(&self, register: u64) -> u8 {
        let value;
        // SAFETY: as in `get`.
        unsafe {
            core::arch::asm!("mov {0}, [{1}]", out(reg_byte) value, in(reg) self.registers + register, options(nostack));
        }
        value
    }

    /// Writes one byte of the registers.
    pub fn set_byte(&self, register: u64, value: u8) {
        // SAFETY: as in `get`.
        unsafe {
            core::arch::asm!("mov [{1}], {0}", in(reg_byte) value, in(reg) self.registers + register, options(nostack));
        }
    }

    /// Number of queues that the device reports.
    pub fn offered_queues(&self) -> u32 {
        self.get(register::WRITEBACK_AND_QUEUES) >> 16
    }

    /// The capacity, in sectors.
    pub fn capacity(&self) -> u64 {
        u64::from(self.get(register::CAPACITY)) | u64::from(self.get(register::CAPACITY + 4)) << 32
    }

    /// Features that the device offers.
    pub fn offered(&self) -> u64 {
        let mut features = 0;
        for half in [0, 1] {
            self.set(register::DEVICE_FEATURES_SEL, half);
            features |= u64::from(self.get(register::DEVICE_FEATURES)) << (32 * half);
        }
        features
    }

    /// Resets the device, and waits until its status reads 0 (virtio 1.2 §2.4.2).
    pub fn reset(&mut self) {
        self.set(register::STATUS, 0);
        while self.get(register::STATUS) != 0 {
            core::hint::spin_loop();
        }
        self.rings.iter_mut().for_each(Ring::forget);
    }

    /// Resets the device and starts it; returns its status.
    pub fn start(&mut self, setup: &Setup) -> u32 {
        self.reset();
        self.set(register::STATUS, ACKNOWLEDGED);
        let features = self.offered() & setup.features;
        self.indirect = features & F_INDIRECT != 0;
        for half in [0, 1] {
            self.set(register::DRIVER_FEATURES_SEL, half);
            self.set(register::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        self.set(register::STATUS, AGREED);
        self.queues = setup.queues;
        self.queue = 0;
        for queue in 0..setup.queues {
            let memory = self.memory + ring::EACH * queue as u64;
            let event_idx = features & F_EVENT_IDX != 0;
            self.rings[queue] = Ring::empty(memory, setup.size as u16, event_idx);
            self.set(register::QUEUE_SEL, queue as u32);
            self.set(register::QUEUE_NUM, setup.size);
            let chosen = |address: Option<u64>| address.filter(|_| queue == 0);
            for (register, chosen, own) in [
                (register::QUEUE_DESC_LOW, chosen(setup.table), place::TABLE),
                (
                    register::QUEUE_DRIVER_LOW,
                    chosen(setup.available),
                    place::AVAILABLE,
                ),
                (register::QUEUE_DEVICE_LOW, chosen(setup.used), place::USED),
            ] {
                let address = chosen.unwrap_or(memory + own);
                self.set(register, address as u32);
                self.set(register + 4, (address >> 32) as u32);
            }
            self.set(register::QUEUE_READY, 1);
        }
        self.divide(None);
        self.set(register::STATUS, RUNNING);
        self.get(register::STATUS)
    }

    fn ring(&self) -> &Ring {
        &self.rings[self.queue]
    }

    fn ring_mut(&mut self) -> &mut Ring {
        &mut self.rings[self.queue]
    }

    /// Directs requests to another queue. Returns false if that queue is not set up.
    pub fn select(&mut self, queue: usize) -> bool {
        let exists = queue < self.queues;
        if exists {
            self.queue = queue;
        }
        exists
    }

    /// The queue that requests go to.
    pub fn queue(&self) -> usize {
        self.queue
    }

    /// Most requests in flight on the queue.
    pub fn depth(&self) -> usize {
        let size = usize::from(self.ring().size).min(SLOTS);
        if self.indirect { size } else { size / 3 }
    }

    /// Data bytes of a queue.
    pub fn room(&self) -> u64 {
        ROOM / self.queues as u64
    }

    /// Longest request, in bytes.
    pub fn longest(&self) -> u64 {
        self.buffer
    }

    /// A slot's buffer.
    pub fn buffer(&mut self, slot: usize, length: u64) -> &mut [u8] {
        let start = self.address_of(slot) as *mut u8;
        // SAFETY: mapped memory of this driver's. The driver does not access a slot's buffer while the device owns the
        // slot.
        unsafe { core::slice::from_raw_parts_mut(start, length.min(self.buffer) as usize) }
    }

    /// A slot's buffer's guest address.
    pub fn address_of(&self, slot: usize) -> u64 {
        self.memory + DATA + self.room() * self.queue as u64 + self.buffer * slot as u64
    }

    /// Sets the length of each slot's buffer, by default an equal share. Only the slots that fit into [`BlockDriver::room`]
    /// can be used. Nothing may be in flight.
    pub fn divide(&mut self, buffer: Option<u64>) {
        let slots = u64::from(self.ring().size).clamp(u64::from(SIZE), SLOTS as u64);
        self.buffer = buffer.unwrap_or(self.room() / slots);
    }

    /// Asks the device not to interrupt, since this driver polls.
    pub fn silence(&mut self) {
        self.ring_mut().silence();
    }

    /// Puts a request into the available ring; [`BlockDriver::kick`] notifies the device.
    pub fn submit(&mut self, slot: usize, kind: Kind, sector: u64, length: u64) {
        let (code, data_flags) = match kind {
            Kind::Read => (0u32, WRITE),
            Kind::Write => (1, 0),
            Kind::Flush => (4, 0),
            Kind::Identify => (8, WRITE),
            Kind::Discard => (11, 0),
            Kind::Zero => (13, 0),
        };
        let memory = self.ring().memory;
        let status = memory + place::STATUSES + slot as u64;
        let header = memory + place::HEADERS + 16 * slot as u64;
        self.write_header(header, code, sector);
        // SAFETY: this slot's entries, which the device does not own.
        unsafe { store(status, 0xffu8) };
        let data = self.address_of(slot);
        let (table, first, head) = if self.indirect {
            (memory + place::INDIRECT + 64 * slot as u64, 0, slot)
        } else {
            (memory + place::TABLE, 3 * slot as u16, 3 * slot)
        };
        let mut index = first;
        write_descriptor(table, index, header, 16, NEXT, index + 1);
        if length > 0 {
            index += 1;
            write_descriptor(
                table,
                index,
                data,
                length as u32,
                data_flags | NEXT,
                index + 1,
            );
        }
        index += 1;
        write_descriptor(table, index, status, 1, WRITE, 0);
        if self.indirect {
            let length = 16 * (u32::from(index) + 1);
            write_descriptor(
                memory + place::TABLE,
                slot as u16,
                table,
                length,
                INDIRECT,
                0,
            );
        }
        self.ring_mut().begin(slot);
        self.offer(head as u16);
    }

    fn write_header(&mut self, address: u64, code: u32, sector: u64) {
        // SAFETY: a header of this driver's.
        unsafe {
            store(address, code);
            store(address + 4, 0u32);
            store(address + 8, sector);
        }
    }

    /// Puts a head into the available ring.
    pub fn offer(&mut self, head: u16) {
        self.ring_mut().offer(head);
    }

    /// Sets the available ring's index.
    pub fn set_available(&mut self, index: u16) {
        self.ring_mut().set_available(index);
    }

    /// Notifies the device of available requests unless it suppresses notifications.
    pub fn kick(&mut self) {
        if self.ring_mut().wants_kick() {
            self.notify();
            self.kicks += 1;
        }
    }

    /// Notifies the device unconditionally.
    pub fn notify(&self) {
        self.set(register::QUEUE_NOTIFY, self.queue as u32);
    }

    /// Number of used ring entries not yet consumed.
    pub fn ready(&self) -> u16 {
        self.ring().ready()
    }

    /// Consumes the next entry of the used ring.
    pub fn poll(&mut self) -> Option<Used> {
        self.ring_mut().poll()
    }

    /// The next completed slot with its status byte. Completions of requests that were not in flight are counted.
    pub fn completed(&mut self) -> Option<(usize, u8)> {
        loop {
            let used = self.poll()?;
            let slot = if self.indirect {
                used.head
            } else {
                used.head / 3
            };
            let slot = usize::from(slot);
            if self.ring_mut().end(slot) {
                // SAFETY: a status byte of this driver's.
                let status = unsafe { load(self.ring().memory + place::STATUSES + slot as u64) };
                return Some((slot, status));
            }
            self.doubled += 1;
        }
    }

    /// Resolves a script's word for an address: `header`, `status`, `data`, `entries`, or a number, each optionally
    /// followed by `+` and a number.
    pub fn address(&self, word: &str) -> Option<u64> {
        let (name, offset) = match word.split_once('+') {
            Some((name, offset)) => (name, crate::script::number(offset)?),
            None => (word, 0),
        };
        let memory = self.ring().memory;
        let base = match name {
            "header" => memory + place::RAW_HEADER,
            "status" => memory + place::RAW_STATUS,
            "data" => self.address_of(0),
            "entries" => memory + place::RAW_INDIRECT,
            "table" => memory + place::TABLE,
            "available" => memory + place::AVAILABLE,
            "used" => memory + place::USED,
            _ => crate::script::number(name)?,
        };
        Some(base.wrapping_add(offset))
    }

    /// Writes the header of a chain made by the script, and prepares its status byte.
    pub fn raw_header(&mut self, code: u32, sector: u64) {
        let memory = self.ring().memory;
        self.write_header(memory + place::RAW_HEADER, code, sector);
        // SAFETY: this driver's.
        unsafe { store(memory + place::RAW_STATUS, 0xffu8) };
    }

    /// The status byte of a chain made by the script.
    pub fn raw_status(&self) -> u8 {
        // SAFETY: this driver's.
        unsafe { load(self.ring().memory + place::RAW_STATUS) }
    }

    /// Writes a descriptor of the queue's table, or of an indirect table made by the script.
    pub fn raw_descriptor(&mut self, table: &str, descriptor: Descriptor) {
        let table = self.address(table).unwrap_or(self.ring().memory);
        descriptor.write(table);
    }
}

fn write_descriptor(table: u64, index: u16, address: u64, length: u32, flags: u16, next: u16) {
    let descriptor = Descriptor {
        index,
        address,
        length,
        flags,
        next,
    };
    descriptor.write(table);
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Identify => "id",
            Self::Discard => "discard",
            Self::Zero => "zero",
        })
    }
}
