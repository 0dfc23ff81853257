//! A virtio-blk driver that polls (virtio 1.2 §2.7, §4.2, §5.2), with every ring and buffer at a known place.

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use crate::memory::{load, store};

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
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const CAPACITY: u64 = 0x100;
}

/// The version of the registers that this driver knows, and the ID of a block device (virtio 1.2 §4.2.2, §5).
const MODERN: u32 = 2;
const BLOCK_DEVICE: u32 = 2;
/// Device status: ACKNOWLEDGE and DRIVER; with FEATURES_OK; with DRIVER_OK.
const ACKNOWLEDGED: u32 = 3;
const AGREED: u32 = ACKNOWLEDGED | 8;
const RUNNING: u32 = AGREED | 4;
/// The device met something that it cannot recover from.
pub const NEEDS_RESET: u32 = 64;

/// Descriptor flags.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// Flag of the available ring, for a device without EVENT_IDX.
const NO_INTERRUPT: u16 = 1;

const F_INDIRECT: u64 = 1 << 28;
const F_EVENT_IDX: u64 = 1 << 29;
/// What this driver knows how to use: FLUSH, BLK_SIZE and the like, indirect descriptors, EVENT_IDX, VERSION_1.
const KNOWN: u64 = 1 << 1 | 1 << 2 | 1 << 5 | 1 << 6 | 1 << 9 | F_INDIRECT | F_EVENT_IDX | 1 << 32;

/// Longest queue, and most requests at once.
pub const SLOTS: usize = 256;
/// Bytes for the data of requests, all slots together.
pub const ROOM: u64 = 0x80_0000;
/// Most bytes of a request, where each slot has its share of that.
pub const BUFFER: u64 = ROOM / SLOTS as u64;
/// How many disks there is room for.
pub const DISKS: usize = 16;

/// Where a disk's memory lies, from its own start on. A guest with N disks needs 4 + 9 N MiB.
mod place {
    pub const FIRST: u64 = 0x40_0000;
    pub const EACH: u64 = 0x90_0000;
    pub const TABLE: u64 = 0;
    pub const AVAILABLE: u64 = 0x1000;
    pub const USED: u64 = 0x2000;
    pub const HEADERS: u64 = 0x3000;
    pub const INDIRECT: u64 = 0x4000;
    pub const STATUSES: u64 = 0x8000;
    pub const RAW_HEADER: u64 = 0x9000;
    pub const RAW_STATUS: u64 = 0x9800;
    pub const RAW_INDIRECT: u64 = 0xa000;
    pub const DATA: u64 = 0x10_0000;
}

/// What is asked of a disk (virtio 1.2 §5.2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sectors into the slot's buffer.
    Read,
    /// The slot's buffer onto sectors.
    Write,
    /// Make all of it durable.
    Flush,
    /// The disk's name into the slot's buffer.
    Identify,
}

/// A request's end.
#[derive(Debug, Clone, Copy)]
pub struct Used {
    /// The descriptor that named it.
    pub head: u16,
    /// Bytes that the device says it wrote.
    pub length: u32,
}

/// How a queue is set up; the addresses are the driver's own unless the script says otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Setup {
    pub size: u32,
    pub features: u64,
    pub table: Option<u64>,
    pub available: Option<u64>,
    pub used: Option<u64>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            size: SLOTS as u32,
            features: KNOWN,
            table: None,
            available: None,
            used: None,
        }
    }
}

/// A disk and its driver's state.
#[derive(Debug, Clone, Copy)]
pub struct Disk {
    registers: u64,
    memory: u64,
    size: u16,
    indirect: bool,
    event_idx: bool,
    available: u16,
    announced: u16,
    used: u16,
    in_flight: [bool; SLOTS],
    /// Bytes of each slot's buffer.
    buffer: u64,
    /// Notifications that the device asked for.
    pub kicks: u64,
    /// Completions of what was not in flight.
    pub doubled: u64,
}

impl Disk {
    /// The `index`-th disk, whose registers are at that address.
    pub fn new(index: usize, registers: u64) -> Self {
        Self {
            registers,
            memory: place::FIRST + place::EACH * index as u64,
            size: 0,
            indirect: false,
            event_idx: false,
            available: 0,
            announced: 0,
            used: 0,
            in_flight: [false; SLOTS],
            buffer: BUFFER,
            kicks: 0,
            doubled: 0,
        }
    }

    /// Whether there is a disk behind the registers.
    pub fn is_there(&self) -> bool {
        self.get(register::VERSION) == MODERN && self.get(register::DEVICE_ID) == BLOCK_DEVICE
    }

    /// Reads a register.
    pub fn get(&self, register: u64) -> u32 {
        let value;
        // SAFETY: the VMM said that a device's registers are there. The instruction is one that every KVM can emulate.
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

    /// Sectors.
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

    /// Resets the device, and waits until it says that it is (virtio 1.2 §2.4.2).
    pub fn reset(&mut self) {
        self.set(register::STATUS, 0);
        while self.get(register::STATUS) != 0 {
            core::hint::spin_loop();
        }
        self.in_flight = [false; SLOTS];
    }

    /// Resets the device and starts it; returns its status.
    pub fn start(&mut self, setup: &Setup) -> u32 {
        self.reset();
        (self.available, self.announced, self.used) = (0, 0, 0);
        // SAFETY: the rings' memory is this driver's alone.
        unsafe { core::ptr::write_bytes(self.memory as *mut u8, 0, place::HEADERS as usize) };
        self.set(register::STATUS, ACKNOWLEDGED);
        let features = self.offered() & setup.features;
        self.indirect = features & F_INDIRECT != 0;
        self.event_idx = features & F_EVENT_IDX != 0;
        for half in [0, 1] {
            self.set(register::DRIVER_FEATURES_SEL, half);
            self.set(register::DRIVER_FEATURES, (features >> (32 * half)) as u32);
        }
        self.set(register::STATUS, AGREED);
        self.set(register::QUEUE_SEL, 0);
        self.set(register::QUEUE_NUM, setup.size);
        self.size = setup.size as u16;
        for (register, chosen, own) in [
            (register::QUEUE_DESC_LOW, setup.table, place::TABLE),
            (
                register::QUEUE_DRIVER_LOW,
                setup.available,
                place::AVAILABLE,
            ),
            (register::QUEUE_DEVICE_LOW, setup.used, place::USED),
        ] {
            let address = chosen.unwrap_or(self.memory + own);
            self.set(register, address as u32);
            self.set(register + 4, (address >> 32) as u32);
        }
        self.set(register::QUEUE_READY, 1);
        self.set(register::STATUS, RUNNING);
        self.get(register::STATUS)
    }

    /// Requests that can be in flight at once.
    pub fn depth(&self) -> usize {
        let size = usize::from(self.size).min(SLOTS);
        if self.indirect { size } else { size / 3 }
    }

    /// A slot's buffer.
    pub fn buffer(&mut self, slot: usize, length: u64) -> &mut [u8] {
        let start = self.address_of(slot) as *mut u8;
        // SAFETY: mapped memory of this driver's. While the device works on a slot, nobody here looks at its buffer.
        unsafe { core::slice::from_raw_parts_mut(start, length.min(self.buffer) as usize) }
    }

    /// Where a slot's buffer is.
    pub fn address_of(&self, slot: usize) -> u64 {
        self.memory + place::DATA + self.buffer * slot as u64
    }

    /// Makes each slot's buffer that long. Only as many slots can be used as fit into [`ROOM`], and nothing may be in
    /// flight.
    pub fn divide(&mut self, buffer: u64) {
        self.buffer = buffer;
    }

    /// Asks the device not to interrupt: whoever polls needs none.
    pub fn silence(&mut self) {
        let ring = self.memory + place::AVAILABLE;
        // SAFETY: this driver's ring.
        unsafe {
            if self.event_idx {
                // As far ahead as the index goes: one interrupt in 65536 completions.
                let event = ring + 4 + 2 * u64::from(self.size);
                store(event, self.used.wrapping_sub(1));
            } else {
                store(ring, NO_INTERRUPT);
            }
        }
    }

    /// Puts a request into the available ring; [`Disk::kick`] tells the device.
    pub fn submit(&mut self, slot: usize, kind: Kind, sector: u64, length: u64) {
        let (code, data_flags) = match kind {
            Kind::Read => (0u32, WRITE),
            Kind::Write => (1, 0),
            Kind::Flush => (4, 0),
            Kind::Identify => (8, WRITE),
        };
        let status = self.memory + place::STATUSES + slot as u64;
        let header = self.memory + place::HEADERS + 16 * slot as u64;
        self.write_header(header, code, sector);
        // SAFETY: this slot's, which the device does not have.
        unsafe { store(status, 0xffu8) };
        let data = self.address_of(slot);
        let (table, first, head) = if self.indirect {
            (self.memory + place::INDIRECT + 64 * slot as u64, 0, slot)
        } else {
            (self.memory + place::TABLE, 3 * slot as u16, 3 * slot)
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
                self.memory + place::TABLE,
                slot as u16,
                table,
                length,
                INDIRECT,
                0,
            );
        }
        self.in_flight[slot] = true;
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

    /// Tells the device of what is available, if it wants to be told (virtio 1.2 §2.7.10).
    pub fn kick(&mut self) {
        fence(Ordering::SeqCst);
        let ring = self.memory + place::USED;
        let (new, old) = (self.available, self.announced);
        // SAFETY: the rings are memory of this driver's, and aligned.
        let wanted = unsafe {
            if self.event_idx {
                let event: u16 = load(ring + 4 + 8 * u64::from(self.size));
                new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
            } else {
                load::<u16>(ring) & 1 == 0
            }
        };
        self.announced = new;
        if wanted {
            self.set(register::QUEUE_NOTIFY, 0);
            self.kicks += 1;
        }
    }

    /// How many entries of the used ring have not been looked at.
    pub fn ready(&self) -> u16 {
        // SAFETY: this driver's ring.
        let index: u16 = unsafe { load(self.memory + place::USED + 2) };
        index.wrapping_sub(self.used)
    }

    /// The next entry of the used ring, if there is one.
    pub fn poll(&mut self) -> Option<Used> {
        let ring = self.memory + place::USED;
        // SAFETY: the rings are memory of this driver's, and aligned.
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

    /// The next slot that the device has completed, with its status byte. What was not in flight is counted.
    pub fn completed(&mut self) -> Option<(usize, u8)> {
        loop {
            let used = self.poll()?;
            let slot = if self.indirect {
                used.head
            } else {
                used.head / 3
            };
            let slot = usize::from(slot);
            let known = self.in_flight.get_mut(slot).is_some_and(core::mem::take);
            if known {
                // SAFETY: a status byte of this driver's.
                let status = unsafe { load(self.memory + place::STATUSES + slot as u64) };
                return Some((slot, status));
            }
            self.doubled += 1;
        }
    }

    /// Where a script's word for an address points to: `header`, `status`, `data`, `entries`, or a number; each may be
    /// followed by `+` and a number.
    pub fn address(&self, word: &str) -> Option<u64> {
        let (name, offset) = match word.split_once('+') {
            Some((name, offset)) => (name, crate::script::number(offset)?),
            None => (word, 0),
        };
        let base = match name {
            "header" => self.memory + place::RAW_HEADER,
            "status" => self.memory + place::RAW_STATUS,
            "data" => self.memory + place::DATA,
            "entries" => self.memory + place::RAW_INDIRECT,
            "table" => self.memory + place::TABLE,
            "available" => self.memory + place::AVAILABLE,
            "used" => self.memory + place::USED,
            _ => crate::script::number(name)?,
        };
        Some(base.wrapping_add(offset))
    }

    /// Writes the header for a chain of the script's own, and prepares its status byte.
    pub fn raw_header(&mut self, code: u32, sector: u64) {
        self.write_header(self.memory + place::RAW_HEADER, code, sector);
        // SAFETY: this driver's.
        unsafe { store(self.memory + place::RAW_STATUS, 0xffu8) };
    }

    /// The status byte of a chain of the script's own.
    pub fn raw_status(&self) -> u8 {
        // SAFETY: this driver's.
        unsafe { load(self.memory + place::RAW_STATUS) }
    }

    /// Writes a descriptor of the queue's table, or of an indirect table of the script's own.
    pub fn raw_descriptor(&mut self, table: &str, descriptor: Descriptor) {
        let table = self.address(table).unwrap_or(self.memory);
        let Descriptor {
            index,
            address,
            length,
            flags,
            next,
        } = descriptor;
        write_descriptor(table, index, address, length, flags, next);
    }
}

/// A descriptor as the script gives it.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    pub index: u16,
    pub address: u64,
    pub length: u32,
    pub flags: u16,
    pub next: u16,
}

fn write_descriptor(table: u64, index: u16, address: u64, length: u32, flags: u16, next: u16) {
    let at = table + 16 * u64::from(index);
    // SAFETY: a table of this driver's; tables are followed by memory of its own too.
    unsafe {
        store(at, address);
        store(at + 8, length);
        store(at + 12, flags);
        store(at + 14, next);
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Flush => "flush",
            Self::Identify => "id",
        })
    }
}
