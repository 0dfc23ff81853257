//! Invariants of a disk under any driver, and of an image with any contents, as functions that panic on a violation:
//! for the fuzz targets in `fuzz/`, and for this crate's property tests.
//!
//! Nothing here sleeps: each action that wakes the disk's thread waits for it.

#![allow(
    missing_docs,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a property that does not hold is told by a panic"
)]

mod deeds;
mod driver;
mod medium;
mod memory;
pub mod qcow2;
mod vsock;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Instant;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

pub use deeds::{Choices, Deed};
pub use vsock::vsock;

use crate::block::fault::record::Record;
use crate::block::model::access::Access;
use crate::block::model::request::SECTOR_SIZE;
use crate::block::policy::error_policy::{ErrorPolicy, OnReadError, OnWriteError};
use crate::block::policy::write_threshold::Exceeded;
use crate::block::throttle::group::Group;
use crate::block::throttle::limits::{Limit, Limits, Measure};
use crate::bus::BusDevice;
use crate::life_cycle::Run;
use crate::thread::ThreadStart;
use crate::virtio::block::{DiskConfiguration, DiskObserver, IoError, PowerCutReport, VirtioBlock};
use crate::virtio::device::VirtioDevice;
use crate::virtio::transport::mmio::MmioTransport;
use crate::virtio::transport::{RingFeatures, status};
use deeds::Ask;
use driver::{Driver, IN, OUT, QUEUES, STATUS, WRITE_CACHE};
use medium::{Behaviour, Control, Medium};

/// The disk's length at the start and at the end, in bytes.
const LENGTH: u64 = 64 * SECTOR_SIZE;

/// Whatever the driver does, the device does not panic, accesses only guest memory and its medium within bounds, and
/// works after a reset.
pub fn block(input: &[u8]) {
    let mut choices = Choices::new(input);
    let mut machine = Machine::new(&mut choices);
    while !choices.is_empty() {
        machine.commit(choices.deed());
    }
    machine.recover();
}

/// Whatever the image and its requests, nothing panics, and a valid image stays valid.
pub fn qcow2(input: &[u8]) {
    qcow2::run(input);
}

/// A disk, its driver, and their environment.
pub struct Machine {
    /// Dropped first: the disk waits for withheld requests.
    control: Control,
    driver: Driver,
    disk: Arc<VirtioBlock>,
    run: Run,
    /// Operations with a callback, which must be called once.
    asked: u32,
    answered: Arc<AtomicU32>,
}

impl Machine {
    /// A running disk with an initialised driver.
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let memory = memory::cleared();
        let (access, policy) = (choices.byte(), choices.byte());
        let access = match access % 8 {
            0 => Access::ReadOnly,
            _ => Access::ReadWrite,
        };
        let configuration = DiskConfiguration {
            access,
            policy: ErrorPolicy {
                on_write: match policy & 3 {
                    0 => OnWriteError::Enospc,
                    1 => OnWriteError::Stop,
                    2 => OnWriteError::Report,
                    _ => OnWriteError::Ignore,
                },
                on_read: match policy >> 2 & 3 {
                    0 | 1 => OnReadError::Stop,
                    2 => OnReadError::Report,
                    _ => OnReadError::Ignore,
                },
            },
            queues: QUEUES,
            queue_size: 64,
            write_cache: policy & 16 == 0,
            ..DiskConfiguration::new("disk0")
        };
        let (medium, control) = Medium::new(LENGTH, access);
        let disk = VirtioBlock::new(
            configuration,
            Box::new(medium),
            memory.clone(),
            Arc::new(Nobody),
            &ThreadStart::default(),
        );
        let disk = Arc::new(disk.unwrap());
        let line = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let transport = MmioTransport::new(disk.clone(), RingFeatures::default(), line);
        let mut driver = Driver::new(transport, memory);
        // Each feature that changes the device's behaviour may be missing.
        let optional = [5, 9, 11, 12, 13, 14, 28, 29];
        let missing = choices.byte();
        for (bit, feature) in optional.into_iter().enumerate() {
            driver.features &= !(u64::from(missing >> bit & 1) << feature);
        }
        driver.queue_size = [64, 16, 8, 4][usize::from(choices.below(4))];
        driver.initialize();
        let mut machine = Self {
            control,
            driver,
            disk,
            run: Run(0),
            asked: 0,
            answered: Arc::default(),
        };
        machine.resume();
        machine
    }

    /// Performs a deed, and waits until the device has handled it.
    pub fn commit(&mut self, deed: Deed) {
        match deed {
            Deed::Register(offset, value) => {
                // A reset waits for what is in flight.
                self.control.let_go();
                self.driver.set_register(offset, value);
                self.driver.register(offset);
            }
            Deed::Access(offset, mut data) => {
                self.control.let_go();
                self.driver.transport.write(offset, &data);
                self.driver.transport.read(offset, &mut data);
            }
            Deed::WriteCache(value) => {
                self.driver.transport.write(WRITE_CACHE, &[value]);
                return;
            }
            Deed::Kick(queue) => self
                .driver
                .set_register(crate::virtio::transport::mmio::QUEUE_NOTIFY, queue),
            Deed::Ask(ask) => {
                self.driver.ask(&ask);
                if !ask.kick {
                    return;
                }
            }
            Deed::Describe(table, index, descriptor) => {
                self.driver.describe(table, index, descriptor);
                return;
            }
            Deed::Offer(queue, head) => return self.driver.offer(queue, head),
            Deed::Index(queue, index) => return self.driver.set_index(queue, index),
            Deed::Scribble(address, bytes) => return self.driver.write(address, &bytes),
            Deed::Initialize => {
                self.control.let_go();
                self.driver.reset();
                self.driver.initialize();
            }
            Deed::Reset => {
                self.control.let_go();
                self.driver.reset();
            }
            Deed::SystemReset => self.system_reset(),
            Deed::Pause => {
                let answered = self.answer();
                self.disk.sleep(Box::new(|_| answered()));
            }
            Deed::Resume => self.resume(),
            Deed::Resize(length) => self.resize(length),
            Deed::Limit(measure) => self.limit(measure),
            Deed::Mark(offset) => return self.disk.write_threshold().set(offset),
            Deed::Behave(behaviour) => return self.control.behave(behaviour),
            Deed::Release => self.control.release(),
        }
        self.control.barrier();
    }

    /// Counts an operation, and returns the callback that counts its answer.
    fn answer(&mut self) -> impl FnOnce() + Send + use<> {
        self.asked += 1;
        let answered = self.answered.clone();
        move || {
            answered.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn resume(&mut self) {
        self.run = Run(self.run.0 + 1);
        self.disk.wake(self.run);
    }

    fn resize(&mut self, length: u64) {
        let answered = self.answer();
        self.disk.resize(length, Box::new(move |_| answered()));
    }

    /// One a second admits nothing within an input's time.
    fn limit(&self, measure: Option<Measure>) {
        let group = measure.map(|measure| {
            let limit = |of| Limit {
                average: u64::from(of == measure),
                ..Limit::default()
            };
            let limits = Limits::new(limit, 0).unwrap();
            Arc::new(Group::new("group".to_owned(), limits, Instant::now()))
        });
        self.disk.set_group(group, Box::new(|| ()));
    }

    /// A reset by the machine ends when nothing is in flight, and no request is answered after its start.
    fn system_reset(&mut self) {
        let (done, is_done) = mpsc::channel();
        let done = Box::new(move || done.send(()).unwrap());
        self.disk.reset(done);
        self.control.barrier();
        let was_busy = self.control.is_busy();
        assert_eq!(is_done.try_recv().is_ok(), !was_busy);
        let before = memory::contents(&self.driver.memory);
        self.control.let_go();
        self.control.barrier();
        assert_eq!(is_done.try_recv().is_ok(), was_busy);
        assert!(memory::contents(&self.driver.memory) == before);
        self.driver.transport.power_on();
        self.driver.forget();
    }

    /// After a reset the device does not access guest memory; initialised again, it serves each queue.
    pub fn recover(mut self) {
        self.control.behave(Behaviour::Work);
        self.control.release();
        self.driver.reset();
        let before = memory::contents(&self.driver.memory);
        let requests = self.control.requests();
        (0..QUEUES).for_each(|queue| self.driver.kick(queue));
        self.resize(LENGTH);
        self.limit(None);
        self.resume();
        self.control.barrier();
        assert!(memory::contents(&self.driver.memory) == before);
        assert_eq!(self.control.requests(), requests);
        assert_eq!(self.answered.load(Ordering::SeqCst), self.asked);
        assert_eq!(self.control.length(), LENGTH);
        self.driver.initialize();
        assert_eq!(u64::from(self.driver.register(driver::CONFIG)), 64);
        let writes = self.disk.configuration().access == Access::ReadWrite;
        if writes {
            self.works(OUT, content);
        }
        self.works(IN, |queue| if writes { content(queue) } else { [0; 512] });
        assert_eq!(self.driver.register(STATUS) & status::DEVICE_NEEDS_RESET, 0);
    }

    /// A valid request on each queue succeeds, and leaves this data.
    fn works(&mut self, kind: u32, expected: impl Fn(u16) -> [u8; 512]) {
        let place = u16::from(kind == OUT);
        let before = self.driver.used();
        for queue in 0..QUEUES {
            let data = driver::data_of(queue, place);
            let first = if kind == OUT {
                content(queue)
            } else {
                [0xee; 512]
            };
            self.driver.write(data, &first);
            self.driver.ask(&Ask {
                queue,
                place,
                kind,
                sector: 60 + u64::from(queue),
                data: vec![(data, 512)],
                ranges: Vec::new(),
                indirect: false,
                kick: true,
            });
        }
        self.control.barrier();
        assert_eq!(self.driver.used(), before.map(|index| index + 1));
        for queue in 0..QUEUES {
            assert_eq!(self.driver.read(driver::status_of(queue, place)), [0]);
            let data = self.driver.read(driver::data_of(queue, place));
            assert!(data == expected(queue), "{kind} on queue {queue}: {data:?}");
        }
    }
}

/// The data that a queue writes.
fn content(queue: u16) -> [u8; 512] {
    [u8::try_from(queue).unwrap() + 1; 512]
}

/// Ignores errors and interrupts.
struct Nobody;

impl DiskObserver for Nobody {
    fn io_error(&self, _: &IoError) {}

    fn stop_machine(&self, _: Run) {}

    fn write_threshold_exceeded(&self, _: Exceeded) {}

    fn fault_injected(&self, _: &Record) {}

    fn reached_stop(&self, _: Run) {}

    fn power_cut(&self, _: &PowerCutReport) {}
}
