//! The transport in front of a device that notes what it is told.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

const FEATURES: u64 = 1 << 32 | 1 << 9 | 1 << 5;

/// A device whose reset takes as long as somebody holds this.
type Hold = Arc<Mutex<()>>;

#[derive(Default)]
struct Fake {
    hold: Hold,
    /// Told when a reset has begun.
    begun: Mutex<Option<mpsc::Sender<()>>>,
    activations: Mutex<Vec<(u64, Vec<Option<queue::Configuration>>)>>,
    resets: Mutex<u32>,
    kicks: Mutex<Vec<u32>>,
    writes: Mutex<Vec<(u64, u64, Vec<u8>)>>,
}

impl VirtioDevice for Fake {
    fn device_id(&self) -> u32 {
        2
    }
    fn features(&self) -> u64 {
        FEATURES
    }
    fn queue_sizes(&self) -> &[u16] {
        &[256]
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(u8::try_from(offset).unwrap());
    }
    fn write_config(&self, features: u64, offset: u64, data: &[u8]) {
        lock(&self.writes).push((features, offset, data.to_vec()));
    }
    fn config_generation(&self) -> u32 {
        7
    }
    fn activate(
        &self,
        features: u64,
        queues: Vec<Option<queue::Configuration>>,
        _: Arc<Interrupt>,
    ) {
        lock(&self.activations).push((features, queues));
    }
    fn notify(&self, queue: u32) {
        lock(&self.kicks).push(queue);
    }
    fn reset(&self) {
        if let Some(begun) = &*lock(&self.begun) {
            begun.send(()).unwrap();
        }
        let _held = lock(&self.hold);
        *lock(&self.resets) += 1;
    }
}

struct Driver {
    transport: Transport,
    device: Arc<Fake>,
    interrupt: Arc<Interrupt>,
    line: EventFd,
}

impl Driver {
    fn new() -> Self {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let device = Arc::new(Fake::default());
        let interrupt = Arc::new(Interrupt::new(Arc::new(line.try_clone().unwrap())));
        Self {
            transport: Transport::new(device.clone(), interrupt.clone()),
            device,
            interrupt,
            line,
        }
    }

    fn get(&self, offset: u64) -> u32 {
        let mut data = [0xaa; 4];
        self.transport.read(offset, &mut data);
        u32::from_le_bytes(data)
    }

    fn set(&self, offset: u64, value: u32) {
        self.transport.write(offset, &value.to_le_bytes());
    }

    fn choose(&self, features: u64) {
        for index in [0, 1] {
            self.set(register::DRIVER_FEATURES_SEL, index);
            self.set(register::DRIVER_FEATURES, half(features, index));
        }
    }

    fn start(&self) {
        self.set(register::STATUS, 3);
        self.choose(FEATURES);
        self.set(register::STATUS, 3 | status::FEATURES_OK);
        self.set(register::QUEUE_NUM, 128);
        self.set(register::QUEUE_DESC_LOW, 0x1000);
        self.set(register::QUEUE_DESC_HIGH, 1);
        self.set(register::QUEUE_DRIVER_LOW, 0x2000);
        self.set(register::QUEUE_DEVICE_LOW, 0x3000);
        self.set(register::QUEUE_READY, 1);
        self.set(register::STATUS, 0xf);
    }
}

#[test]
fn the_device_identifies_itself_as_a_modern_one() {
    let driver = Driver::new();
    let read = [0, 4, 8].map(|offset| driver.get(offset));
    assert_eq!(read, [MAGIC, 2, 2]);
    assert_eq!(driver.get(register::QUEUE_NUM_MAX), 256);
    driver.set(register::QUEUE_SEL, 1);
    assert_eq!(driver.get(register::QUEUE_NUM_MAX), 0);
    assert_eq!(driver.get(register::SHM_LEN_LOW), u32::MAX);
}

#[test]
fn a_set_up_queue_reaches_the_device_when_the_driver_is_ready() {
    let driver = Driver::new();
    driver.start();
    let configuration = queue::Configuration {
        size: 128,
        descriptor_table: 0x1_0000_1000,
        available_ring: 0x2000,
        used_ring: 0x3000,
    };
    assert_eq!(
        *lock(&driver.device.activations),
        [(FEATURES, vec![Some(configuration)])]
    );
    // Neither a second DRIVER_OK nor a moved queue changes that.
    driver.set(register::QUEUE_DESC_LOW, 0x9000);
    driver.set(register::STATUS, 0xf);
    assert_eq!(lock(&driver.device.activations).len(), 1);
    driver.set(QUEUE_NOTIFY, 0);
    assert_eq!(*lock(&driver.device.kicks), [0]);
}

#[test]
fn features_that_were_not_offered_or_a_legacy_driver_are_refused() {
    for features in [FEATURES | 1 << 40, FEATURES & !(1 << 32), 0] {
        let driver = Driver::new();
        driver.set(register::STATUS, 3);
        driver.choose(features);
        driver.set(register::STATUS, 0xb);
        assert_eq!(driver.get(register::STATUS), 3);
        // A driver that goes on regardless does not get a running device.
        driver.set(register::STATUS, 0xf);
        assert_eq!(driver.get(register::STATUS), 3);
        assert!(lock(&driver.device.activations).is_empty());
    }
}

#[test]
fn a_reset_clears_everything_and_allows_a_new_start() {
    let driver = Driver::new();
    driver.start();
    driver.interrupt.used_buffer();
    driver.set(register::STATUS, 0);
    assert_eq!(*lock(&driver.device.resets), 1);
    assert_eq!(driver.get(register::STATUS), 0);
    assert_eq!(driver.get(register::INTERRUPT_STATUS), 0);
    assert_eq!(driver.get(register::QUEUE_READY), 0);
    driver.start();
    assert_eq!(lock(&driver.device.activations).len(), 2);
}

#[test]
fn a_reset_that_waits_for_the_host_keeps_no_other_vcpu_from_the_registers() {
    let driver = Driver::new();
    driver.start();
    driver.interrupt.used_buffer();
    let (begun, has_begun) = mpsc::channel();
    *lock(&driver.device.begun) = Some(begun);
    let hold = driver.device.hold.clone();
    let held = lock(&hold);
    thread::scope(|scope| {
        let reset = scope.spawn(|| {
            driver.set(register::STATUS, 0);
            // A driver that does not poll goes on now, as Linux's does.
            assert_eq!(driver.get(register::QUEUE_READY), 0);
        });
        has_begun.recv_timeout(DEADLINE).unwrap();
        // A driver that polls is told to go on polling.
        assert_eq!(driver.get(register::STATUS), 0xf);
        assert_eq!(driver.get(register::QUEUE_READY), 1);
        // What an interrupt's handler does.
        assert_eq!(driver.get(register::INTERRUPT_STATUS), 1);
        driver.set(register::INTERRUPT_ACK, 1);
        assert_eq!(driver.get(register::INTERRUPT_STATUS), 0);
        driver.set(QUEUE_NOTIFY, 0);
        driver.transport.read(register::CONFIG, &mut [0; 4]);
        // What changes registers comes after the reset.
        let late = scope.spawn(|| driver.set(register::STATUS, status::ACKNOWLEDGE));
        drop(held);
        reset.join().unwrap();
        late.join().unwrap();
    });
    assert_eq!(driver.get(register::STATUS), status::ACKNOWLEDGE);
    assert_eq!(driver.get(register::QUEUE_READY), 0);
    assert_eq!(*lock(&driver.device.resets), 1);
}

#[test]
fn two_vcpus_that_reset_a_device_at_the_same_time_both_find_it_reset() {
    let driver = Driver::new();
    driver.start();
    let (begun, has_begun) = mpsc::channel();
    *lock(&driver.device.begun) = Some(begun);
    let hold = driver.device.hold.clone();
    let held = lock(&hold);
    thread::scope(|scope| {
        let reset = || {
            driver.set(register::STATUS, 0);
            assert_eq!(driver.get(register::STATUS), 0);
        };
        let resets = [scope.spawn(reset), scope.spawn(reset)];
        has_begun.recv_timeout(DEADLINE).unwrap();
        drop(held);
        for reset in resets {
            reset.join().unwrap();
        }
    });
    driver.start();
    assert_eq!(lock(&driver.device.activations).len(), 2);
}

#[test]
fn an_interrupt_says_why_until_it_is_acknowledged() {
    let driver = Driver::new();
    driver.start();
    driver.interrupt.used_buffer();
    driver.interrupt.needs_reset();
    assert_eq!(driver.line.read().unwrap(), 2);
    assert_eq!(driver.get(register::INTERRUPT_STATUS), 3);
    driver.set(register::INTERRUPT_ACK, 1);
    assert_eq!(driver.get(register::INTERRUPT_STATUS), 2);
    assert_eq!(
        driver.get(register::STATUS),
        0xf | status::DEVICE_NEEDS_RESET
    );
}

#[test]
fn the_configuration_space_is_the_devices_own() {
    let driver = Driver::new();
    assert_eq!(driver.get(register::CONFIG_GENERATION), 7);
    driver.transport.write(register::CONFIG + 32, &[1]);
    driver.start();
    driver.transport.write(register::CONFIG + 33, &[2, 3]);
    let writes = [(0, 32, vec![1]), (FEATURES, 33, vec![2, 3])];
    assert_eq!(*lock(&driver.device.writes), writes);
}

#[test]
fn an_access_of_the_wrong_width_or_place_does_nothing() {
    let driver = Driver::new();
    let mut byte = [0xaa];
    driver.transport.read(0, &mut byte);
    assert_eq!(byte, [0]);
    driver.transport.write(register::STATUS, &[3]);
    driver.transport.write(register::STATUS + 2, &[3, 0, 0, 0]);
    driver.transport.write(register::STATUS, &[3; 8]);
    driver.set(register::DEVICE_FEATURES_SEL, 7);
    assert_eq!(driver.get(register::DEVICE_FEATURES), 0);
    assert_eq!(driver.get(register::STATUS), 0);
    driver.transport.read(register::CONFIG + 9, &mut byte);
    assert_eq!(byte, [9]);
}
