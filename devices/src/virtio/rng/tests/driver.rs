//! A driver of the entropy device.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use virtio_bindings::bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::super::{EntropySource, RateLimit, RngConfiguration, VirtioRng};
use crate::bus::BusDevice;
use crate::life_cycle::{LifeCycle, Run};
use crate::thread::ThreadStart;
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::mmio::{MmioTransport, QUEUE_NOTIFY};
use crate::virtio::transport::{RingFeatures, status};

/// Length of guest memory.
pub const MEMORY: u64 = 0x10_0000;
/// Where buffers are.
pub const DATA: u64 = 0x1_0000;

const TABLE: u64 = 0x1000;
const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x3000;
const SIZE: u16 = 8;
const STATUS: u64 = 0x070;

/// Timeout for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// One descriptor of a chain.
#[derive(Debug, Clone, Copy)]
pub struct Part(u64, u32, u32);

impl Part {
    pub fn readable(address: u64, length: u32) -> Self {
        Self(address, length, 0)
    }

    pub fn writable(address: u64, length: u32) -> Self {
        Self(address, length, VRING_DESC_F_WRITE)
    }
}

/// Counts up from 1.
struct Counter(u8);

impl EntropySource for Counter {
    fn fill(&mut self, buffer: &mut [u8]) -> std::io::Result<()> {
        for byte in buffer {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
        Ok(())
    }
}

/// The device, and a driver that makes each chain of descriptors of its own.
pub struct Machine {
    pub transport: MmioTransport,
    line: EventFd,
    rng: Arc<VirtioRng>,
    memory: Arc<GuestMemoryMmap>,
    asked: u16,
    next_descriptor: u16,
    run: Run,
}

impl Machine {
    /// A device whose driver is set up, and which runs.
    pub fn start(limit: Option<RateLimit>) -> Self {
        let length = usize::try_from(MEMORY).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), length)]).unwrap();
        let mut machine = Self::with_memory(Arc::new(memory), limit);
        machine.initialize();
        machine.resume();
        machine
    }

    /// A new device on the memory of this one, for the same driver.
    pub fn successor(&self, limit: Option<RateLimit>) -> Self {
        Self {
            asked: self.asked,
            next_descriptor: self.next_descriptor,
            ..Self::with_memory(self.memory.clone(), limit)
        }
    }

    fn with_memory(memory: Arc<GuestMemoryMmap>, limit: Option<RateLimit>) -> Self {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let configuration = RngConfiguration {
            id: "rng0".to_owned(),
            limit,
        };
        let threads = ThreadStart::default();
        let source = Box::new(Counter(0));
        let rng = VirtioRng::new(configuration, source, memory.clone(), &threads);
        let rng = Arc::new(rng.unwrap());
        let edge = Arc::new(line.try_clone().unwrap());
        Self {
            transport: MmioTransport::new(rng.clone(), RingFeatures::default(), edge),
            line,
            rng,
            memory,
            asked: 0,
            next_descriptor: 0,
            run: Run(0),
        }
    }

    pub fn resume(&mut self) {
        self.run = Run(self.run.0 + 1);
        self.transport.resume(self.run);
    }

    /// Pauses the device, and waits until it is quiesced.
    pub fn pause(&self) {
        let (done, is_done) = mpsc::channel();
        self.transport
            .pause(Box::new(move || done.send(()).unwrap()));
        is_done.recv_timeout(DEADLINE).unwrap();
    }

    /// Returns when the thread has handled all earlier messages and kicks.
    pub fn barrier(&self) {
        // The first answer comes before the thread serves the queue, the second after.
        for _ in 0..2 {
            drop(self.rng.save());
        }
    }

    pub fn register(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn set_register(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    /// Negotiates, sets up the queue, and sets DRIVER_OK (virtio 1.2 §3.1.1).
    pub fn initialize(&self) {
        self.set_register(STATUS, 3);
        // VERSION_1, and nothing else.
        self.set_register(0x024, 1);
        self.set_register(0x020, 1);
        self.set_register(STATUS, 11);
        assert_eq!(self.register(STATUS), 11, "features refused");
        self.set_register(0x038, SIZE.into());
        for (offset, address) in [(0x080, TABLE), (0x090, AVAILABLE), (0x0a0, USED)] {
            self.set_register(offset, u32::try_from(address).unwrap());
        }
        self.set_register(0x044, 1);
        self.set_register(STATUS, 15);
    }

    /// Resets the device, and forgets the rings.
    pub fn reset(&mut self) {
        self.set_register(STATUS, 0);
        assert_eq!(self.register(STATUS), 0);
        self.memory
            .write_slice(&[0; 0x3000], GuestAddress(TABLE))
            .unwrap();
        (self.asked, self.next_descriptor) = (0, 0);
    }

    /// Makes a chain available, and kicks.
    pub fn ask(&mut self, parts: &[Part]) {
        let head = self.next_descriptor;
        for (index, Part(address, length, flags)) in (head..).zip(parts) {
            let is_last = usize::from(index - head) + 1 == parts.len();
            let next = if is_last { 0 } else { VRING_DESC_F_NEXT };
            self.describe(index, *address, *length, flags | next, index + 1);
        }
        self.next_descriptor += u16::try_from(parts.len()).unwrap();
        self.offer(head);
    }

    /// Makes a chain with a loop available.
    pub fn ask_loop(&mut self) {
        self.describe(0, DATA, 1, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 0);
        self.offer(0);
    }

    fn describe(&self, index: u16, address: u64, length: u32, flags: u32, next: u16) {
        let flags = u16::try_from(flags).unwrap();
        let descriptor = Descriptor::new(address, length, flags, next);
        let at = GuestAddress(TABLE + 16 * u64::from(index));
        self.memory.write_obj(descriptor, at).unwrap();
    }

    fn offer(&mut self, head: u16) {
        let entry = AVAILABLE + 4 + 2 * u64::from(self.asked % SIZE);
        self.memory.write_obj(head, GuestAddress(entry)).unwrap();
        self.asked += 1;
        self.memory
            .write_obj(self.asked, GuestAddress(AVAILABLE + 2))
            .unwrap();
        self.set_register(QUEUE_NOTIFY, 0);
    }

    /// What the used ring holds: heads, and bytes written.
    pub fn used(&self) -> Vec<(u32, u32)> {
        let index: u16 = self.memory.read_obj(GuestAddress(USED + 2)).unwrap();
        let entry = |at: u16| {
            let address = USED + 4 + 8 * u64::from(at);
            let [head, written] = [0, 4].map(|offset| {
                let at = GuestAddress(address + offset);
                self.memory.read_obj::<u32>(at).unwrap()
            });
            (head, written)
        };
        (0..index).map(entry).collect()
    }

    /// Waits until so many chains are used.
    pub fn wait_used(&self, count: usize) -> Vec<(u32, u32)> {
        self.wait(|machine| machine.used().len() >= count);
        self.used()
    }

    /// Waits for an interrupt, which follows the used index, and returns how many there have been.
    pub fn wait_interrupts(&self) -> u64 {
        let raised = Cell::new(0);
        self.wait(|machine| {
            raised.set(machine.line.read().unwrap_or(0));
            raised.get() > 0
        });
        raised.get()
    }

    pub fn wait_needs_reset(&self) {
        self.wait(|machine| machine.register(STATUS) & status::DEVICE_NEEDS_RESET != 0);
    }

    fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < deadline, "nothing came");
            std::thread::yield_now();
        }
    }

    pub fn read(&self, address: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory
            .read_slice(&mut data, GuestAddress(address))
            .unwrap();
        data
    }
}
