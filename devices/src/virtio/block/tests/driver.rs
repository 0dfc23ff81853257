//! A driver of the device that can be wrong on purpose: it writes the given registers, descriptors
//! and rings, and waits for the answers.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use faultvisor_schema::BlockFaultRule;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::{DiskConfiguration, IoError, VirtioBlock};
use super::fakes::{DEADLINE, FakeControl, Heard, Recorder, fake_backend};
use crate::block::model::access::Access;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::Token;
use crate::block::policy::error_policy::{ErrorPolicy, IoStatus};
use crate::bus::BusDevice;
use crate::life_cycle::Run;
use crate::thread::ThreadStart;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::mmio::MmioTransport;
use crate::virtio::transport::{RingFeatures, status};

pub const IN: u32 = 0;
pub const OUT: u32 = 1;
pub const FLUSH: u32 = 4;
pub const GET_ID: u32 = 8;

pub const OK: u8 = 0;
pub const IOERR: u8 = 1;
pub const UNSUPP: u8 = 2;
/// What a status byte holds before the device writes it.
pub const UNANSWERED: u8 = 0xff;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

pub const VERSION_1: u64 = 1 << 32;
pub const EVENT_IDX: u64 = 1 << 29;
pub const INDIRECT_DESC: u64 = 1 << 28;
pub const FLUSH_FEATURE: u64 = 1 << 9;

/// Size of guest memory: two adjacent regions, so that data can span both.
pub const MEMORY: u64 = 0x10_0000;
pub const SEAM: u64 = 0x8_0000;
pub const TABLE: u64 = 0x1000;
pub const AVAILABLE: u64 = 0x3000;
pub const USED: u64 = 0x4000;
pub const INDIRECT_TABLE: u64 = 0x6000;
/// Number of queues with memory set aside, and the distance between their parts.
pub const QUEUES: usize = 4;
const STRIDE: u64 = 0x400;
const HEADERS: u64 = 0x8000;
const STATUSES: u64 = 0x9000;
const DATA: u64 = 0x1_0000;
/// Room for data in each slot.
const SLOT_DATA: u64 = 0x1000;
/// Descriptors of a slot: header, data, status.
const SLOT_DESCRIPTORS: u16 = 3;

pub const STATUS_REGISTER: u64 = 0x070;
const QUEUE_NOTIFY: u64 = 0x050;

/// One descriptor of a chain: address, length, and whether the device writes it.
#[derive(Debug, Clone, Copy)]
pub struct Part(pub u64, pub u32, pub bool);

/// A part that the device reads.
pub fn readable(address: u64, length: u32) -> Part {
    Part(address, length, false)
}

/// A part that the device writes.
pub fn writable(address: u64, length: u32) -> Part {
    Part(address, length, true)
}

/// A rule in the schema's form, for rules that are never saved.
pub fn form() -> BlockFaultRule {
    let form = r#"{"id":"rule","device":"disk0","seed":1,"action":"hang"}"#;
    serde_json::from_str(form).unwrap()
}

pub fn header_of(slot: u16) -> u64 {
    HEADERS + 16 * u64::from(slot)
}

pub fn status_of(slot: u16) -> u64 {
    STATUSES + u64::from(slot)
}

pub fn data_of(slot: u16) -> u64 {
    DATA + SLOT_DATA * u64::from(slot)
}

/// First descriptor of a slot.
pub fn head_of(slot: u16) -> u16 {
    slot * SLOT_DESCRIPTORS
}

/// A machine's configuration.
#[derive(Clone)]
pub struct Setup {
    pub policy: ErrorPolicy,
    pub access: Access,
    pub sectors: u64,
    pub serial: &'static str,
    pub features: u64,
    pub queue_size: u16,
    pub table: u64,
    pub available: u64,
    pub used: u64,
    /// The ring features that the transport offers.
    pub ring_features: RingFeatures,
    /// The disk's configuration.
    pub disk: DiskConfiguration,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            policy: ErrorPolicy::default(),
            access: Access::ReadWrite,
            sectors: 64,
            serial: "serial-1",
            features: VERSION_1 | INDIRECT_DESC | FLUSH_FEATURE,
            queue_size: 64,
            table: TABLE,
            available: AVAILABLE,
            used: USED,
            ring_features: RingFeatures::default(),
            disk: DiskConfiguration::new("disk0"),
        }
    }
}

impl Setup {
    /// A policy in QEMU's words.
    pub fn policy(werror: &str, rerror: &str) -> Self {
        Self {
            policy: ErrorPolicy {
                on_write: werror.parse().unwrap(),
                on_read: rerror.parse().unwrap(),
            },
            ..Self::default()
        }
    }

    /// A running disk with an initialised driver.
    pub fn start(self) -> Machine {
        let mut machine = self.stopped();
        machine.initialize();
        machine.resume();
        machine
    }

    /// A stopped disk, without a driver.
    pub fn stopped(self) -> Machine {
        let (backend, control) = fake_backend(self.sectors * 512);
        self.with_backend(Box::new(backend), control)
    }

    /// A disk with another backend; the control is unused then.
    pub fn with_backend(self, backend: Box<dyn Backend>, control: FakeControl) -> Machine {
        let length = usize::try_from(SEAM).unwrap();
        let regions = [(GuestAddress(0), length), (GuestAddress(SEAM), length)];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&regions).unwrap());
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let (observer, heard) = Recorder::new(&memory, &line);
        let configuration = DiskConfiguration {
            serial: self.serial.into(),
            access: self.access,
            policy: self.policy,
            ..self.disk.clone()
        };
        let disk = VirtioBlock::new(
            configuration,
            backend,
            memory.clone(),
            observer.clone(),
            &ThreadStart::default(),
        );
        let disk = Arc::new(disk.unwrap());
        observer.disk.set(Arc::downgrade(&disk)).unwrap();
        let edge = Arc::new(line.try_clone().unwrap());
        let transport = MmioTransport::new(disk.clone(), self.ring_features, edge);
        Machine {
            backend: control,
            transport: Arc::new(transport),
            disk,
            memory,
            line,
            heard,
            observer,
            run: Run(0),
            queue: 0,
            next_available: [0; QUEUES],
            next_used: [0; QUEUES],
            setup: self,
        }
    }
}

/// A disk, its driver, and their environment.
pub struct Machine {
    /// Dropped first: it completes the requests in flight, for which the disk waits.
    pub backend: FakeControl,
    pub transport: Arc<MmioTransport>,
    pub disk: Arc<VirtioBlock>,
    pub memory: Arc<GuestMemoryMmap>,
    pub line: EventFd,
    pub heard: Receiver<Heard>,
    pub observer: Arc<Recorder>,
    pub setup: Setup,
    pub run: Run,
    /// The selected queue.
    queue: usize,
    next_available: [u16; QUEUES],
    next_used: [u16; QUEUES],
}

/// The machine's side.
impl Machine {
    pub fn resume(&mut self) {
        self.run = Run(self.run.0 + 1);
        self.disk.wake(self.run);
    }

    /// Pauses the disk; the receiver gets a message when it is drained.
    pub fn pause(&self) -> Receiver<()> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.disk.sleep(Box::new(move |_| {
            let _ = sender.send(());
        }));
        receiver
    }

    /// Waits for the observer's next notification.
    pub fn hear(&self) -> Heard {
        self.heard
            .recv_timeout(DEADLINE)
            .expect("nothing was heard")
    }

    /// Waits for an error, and returns it with the io-status.
    pub fn hear_error(&self) -> (IoError, IoStatus) {
        match self.hear() {
            Heard::Error {
                error, io_status, ..
            } => (error, io_status),
            other => panic!("no error but {other:?}"),
        }
    }

    /// Waits for an error that stops the machine.
    pub fn hear_stop(&self) -> IoError {
        let (error, _) = self.hear_error();
        match self.hear() {
            Heard::Stop { .. } => error,
            other => panic!("no stop after the error but {other:?}"),
        }
    }
}

/// The driver's side: registers.
impl Machine {
    pub fn register(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn set_register(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Negotiates, sets up the queue, and sets DRIVER_OK (virtio 1.2 §3.1.1).
    pub fn initialize(&mut self) {
        let halves = |value: u64| [value & u64::from(u32::MAX), value >> 32];
        let word = |value: u64| u32::try_from(value).unwrap();
        self.set_register(STATUS_REGISTER, 3);
        for (index, half) in (0..).zip(halves(self.setup.features)) {
            self.set_register(0x024, index);
            self.set_register(0x020, word(half));
        }
        self.set_register(STATUS_REGISTER, 11);
        assert_eq!(self.register(STATUS_REGISTER), 11, "features refused");
        for queue in 0..self.setup.disk.queues {
            self.set_up(queue);
        }
        self.set_register(STATUS_REGISTER, 15);
    }

    fn set_up(&self, queue: u16) {
        let halves = |value: u64| [value & u64::from(u32::MAX), value >> 32];
        let word = |value: u64| u32::try_from(value).unwrap();
        self.set_register(0x030, u32::from(queue));
        self.set_register(0x038, u32::from(self.setup.queue_size));
        let (table, available, used) = (self.setup.table, self.setup.available, self.setup.used);
        for (offset, address) in [(0x080, table), (0x090, available), (0x0a0, used)] {
            let address = address.wrapping_add(STRIDE * u64::from(queue));
            for (offset, half) in [offset, offset + 4].into_iter().zip(halves(address)) {
                self.set_register(offset, word(half));
            }
        }
        self.set_register(0x044, 1);
    }

    /// Selects the queue for subsequent operations.
    pub fn select(&mut self, queue: usize) {
        self.queue = queue;
    }

    fn part(&self, base: u64) -> u64 {
        base + STRIDE * self.queue as u64
    }

    /// Reads the configuration space.
    pub fn space<const LENGTH: usize>(&self, offset: u64) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.transport.read(0x100 + offset, &mut bytes);
        bytes
    }

    /// Resets the device, and forgets the rings.
    pub fn reset(&mut self) {
        self.set_register(STATUS_REGISTER, 0);
        self.clear_rings();
    }

    pub fn clear_rings(&mut self) {
        self.fill(0, INDIRECT_TABLE, 0);
        (self.next_available, self.next_used) = ([0; QUEUES], [0; QUEUES]);
    }

    pub fn kick(&self) {
        self.set_register(QUEUE_NOTIFY, u32::try_from(self.queue).unwrap());
    }

    pub fn needs_reset(&self) -> bool {
        self.register(STATUS_REGISTER) & status::DEVICE_NEEDS_RESET != 0
    }

    pub fn wait_needs_reset(&self) {
        self.wait_until(Self::needs_reset);
    }

    /// Waits for interrupts or notifications of the observer until a condition holds.
    pub fn wait_until(&self, is_true: impl Fn(&Self) -> bool) {
        while !is_true(self) {
            self.wait_bell();
        }
    }

    /// Waits for an interrupt or a notification of the observer since the last call.
    pub fn wait_bell(&self) {
        let epoll = Epoll::new().unwrap();
        let interest = EpollEvent::new(EventSet::IN, 0);
        epoll
            .ctl(ControlOperation::Add, self.line.as_raw_fd(), interest)
            .unwrap();
        let deadline = i32::try_from(DEADLINE.as_millis()).unwrap();
        let events = loop {
            match epoll.wait(deadline, &mut [interest]) {
                // The teardown of a ring that this thread created interrupts it.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                events => break events.unwrap(),
            }
        };
        assert_eq!(events, 1, "no interrupt");
        let _ = self.line.read();
    }
}

/// The driver's side: memory.
impl Machine {
    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }

    pub fn write(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub fn fill(&self, from: u64, to: u64, byte: u8) {
        self.write(from, &vec![byte; usize::try_from(to - from).unwrap()]);
    }

    pub fn set_u16(&self, address: u64, value: u16) {
        self.memory
            .write_obj(value.to_le(), GuestAddress(address))
            .unwrap();
    }

    pub fn get_u16(&self, address: u64) -> u16 {
        u16::from_le(self.memory.read_obj(GuestAddress(address)).unwrap())
    }

    pub fn describe(&self, table: u64, index: u16, descriptor: (u64, u32, u16, u16)) {
        let (address, length, flags, next) = descriptor;
        let descriptor = Descriptor::new(address, length, flags, next);
        let at = GuestAddress(table + 16 * u64::from(index));
        self.memory.write_obj(descriptor, at).unwrap();
    }

    /// Writes a chain into a table, from `first` on.
    pub fn place(&self, table: u64, first: u16, parts: &[Part]) {
        for ((index, part), left) in (first..).zip(parts).zip((0..parts.len()).rev()) {
            let Part(address, length, writes) = *part;
            let flags = if writes { WRITE } else { 0 } | if left > 0 { NEXT } else { 0 };
            self.describe(table, index, (address, length, flags, index + 1));
        }
    }

    /// Writes the header of a slot's request, and clears an old answer.
    pub fn head(&self, slot: u16, kind: u32, sector: u64) -> Part {
        let header = [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat();
        self.write(header_of(slot), &header);
        self.write(status_of(slot), &[UNANSWERED]);
        readable(header_of(slot), 16)
    }

    pub fn tail(slot: u16) -> Part {
        writable(status_of(slot), 1)
    }

    /// Makes a chain available, without a kick.
    pub fn offer(&mut self, head: u16) {
        let available = self.part(AVAILABLE);
        let next = &mut self.next_available[self.queue];
        let entry = available + 4 + 2 * u64::from(*next % self.setup.queue_size);
        *next = next.wrapping_add(1);
        let next = *next;
        self.set_u16(entry, head);
        self.set_u16(available + 2, next);
    }

    /// Makes a slot's request available in the usual framing, without a kick. Its data is
    /// `length` bytes at the slot's place.
    pub fn queue(&mut self, slot: u16, kind: u32, sector: u64, length: u32) {
        let data = Part(data_of(slot), length, kind != OUT);
        let (head, tail) = (self.head(slot, kind, sector), Self::tail(slot));
        if length > 0 {
            self.place(self.part(TABLE), head_of(slot), &[head, data, tail]);
        } else {
            self.place(self.part(TABLE), head_of(slot), &[head, tail]);
        }
        self.offer(head_of(slot));
    }

    /// [`Self::queue`] and a kick.
    pub fn ask(&mut self, slot: u16, kind: u32, sector: u64, length: u32) {
        self.queue(slot, kind, sector, length);
        self.kick();
    }

    /// Submits a request, and waits until it reaches the backend.
    pub fn submit(
        &mut self,
        slot: u16,
        kind: u32,
        sector: u64,
        length: u32,
    ) -> (Token, HostRequest) {
        self.ask(slot, kind, sector, length);
        self.backend.next()
    }

    /// Makes a chain of these parts available as slot 0's, and kicks.
    pub fn ask_with(&mut self, parts: &[Part]) {
        self.place(self.part(TABLE), 0, parts);
        self.offer(0);
        self.kick();
    }

    pub fn end(&self, token: Token, result: Result<(), Errno>) {
        self.backend.end([(token, result)]);
    }

    pub fn status(&self, slot: u16) -> u8 {
        self.read(status_of(slot), 1)[0]
    }

    pub fn used_index(&self) -> u16 {
        self.get_u16(self.part(USED) + 2)
    }

    /// Takes the new entries of the used ring: heads and lengths.
    pub fn take_used(&mut self) -> Vec<(u16, u32)> {
        let mut taken = Vec::new();
        while self.next_used[self.queue] != self.used_index() {
            let next = self.next_used[self.queue];
            let entry = u64::from(next % self.setup.queue_size);
            let element = self.read(self.part(USED) + 4 + 8 * entry, 8);
            let half = |at: usize| u32::from_le_bytes(element[at..at + 4].try_into().unwrap());
            taken.push((u16::try_from(half(0)).unwrap(), half(4)));
            self.next_used[self.queue] = next.wrapping_add(1);
        }
        if self.setup.features & EVENT_IDX != 0 {
            let used_event = self.part(AVAILABLE) + 4 + 2 * u64::from(self.setup.queue_size);
            self.set_u16(used_event, self.next_used[self.queue]);
        }
        taken
    }

    /// Waits for interrupts until so many chains have been used, and takes them.
    pub fn wait_used(&mut self, count: u16) -> Vec<(u16, u32)> {
        let from = self.next_used[self.queue];
        self.wait_until(|machine| machine.used_index().wrapping_sub(from) >= count);
        let used = self.take_used();
        assert_eq!(used.len(), usize::from(count), "{used:?}");
        used
    }

    /// Checks that the device works: it answers GET_ID.
    pub fn check_alive(&mut self) {
        self.ask(0, GET_ID, 0, 20);
        assert_eq!(self.wait_used(1), [(0, 21)]);
        assert_eq!(self.status(0), OK);
        let mut serial = self.setup.serial.as_bytes().to_vec();
        serial.resize(20, 0);
        assert_eq!(self.read(data_of(0), 20), serial);
    }

    /// Resets a device in any state, and checks that it works.
    pub fn recover(&mut self) {
        self.reset();
        self.initialize();
        assert!(!self.needs_reset());
        self.check_alive();
    }
}
