//! The transport in front of a device that records its calls.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::*;
use crate::virtio::device::Asleep;
use crate::virtio::interrupt::VirtioInterrupt;

/// Timeout for a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// VERSION_1, indirect descriptors, event indices, and two of the device's.
const FEATURES: u64 = 1 << 32 | 1 << 29 | 1 << 28 | 1 << 9 | 1 << 5;

/// Blocks the device's reset while it is held.
type Hold = Arc<Mutex<()>>;

struct Fake {
    kick: [EventFd; 1],
    hold: Hold,
    /// Notified when a reset has begun.
    begun: Mutex<Option<mpsc::Sender<()>>>,
    activations: Mutex<Vec<(u64, QueueStates)>>,
    resets: Mutex<u32>,
    /// Callbacks for the end of its sleep transition.
    drowsy: Mutex<Vec<Asleep>>,
    wakes: Mutex<Vec<Run>>,
    state: Mutex<FakeState>,
    /// The queues that it was restored with.
    restored: Mutex<QueueStates>,
    writes: Mutex<Vec<(u64, u64, Vec<u8>)>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FakeState {
    value: u32,
}

impl Fake {
    fn new() -> Self {
        Self {
            kick: [EventFd::new(EFD_NONBLOCK).unwrap()],
            hold: Hold::default(),
            begun: Mutex::default(),
            activations: Mutex::default(),
            resets: Mutex::default(),
            drowsy: Mutex::default(),
            wakes: Mutex::default(),
            state: Mutex::default(),
            restored: Mutex::default(),
            writes: Mutex::default(),
        }
    }
}

impl VirtioDevice for Fake {
    fn device_id(&self) -> u32 {
        2
    }
    fn features(&self) -> u64 {
        FEATURES & !RingFeatures::default().bits()
    }
    fn kick_events(&self) -> &[EventFd] {
        &self.kick
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
    fn activate(&self, activation: Activation) {
        lock(&self.activations).push((activation.features, activation.queues));
    }
    fn sleep(&self, done: Asleep) {
        lock(&self.drowsy).push(done);
    }
    fn wake(&self, run: Run) {
        lock(&self.wakes).push(run);
    }
    fn close(&self, done: Done) {
        done();
    }
    fn save(&self) -> Result<State, SaveError> {
        State::of(&*lock(&self.state))
    }
    fn restore(&self, state: &State, queues: &QueueStates) -> Result<(), RestoreError> {
        lock(&self.restored).clone_from(queues);
        *lock(&self.state) = state.decode()?;
        Ok(())
    }
    fn reset(&self, done: Done) {
        if let Some(begun) = &*lock(&self.begun) {
            begun.send(()).unwrap();
        }
        let _held = lock(&self.hold);
        *lock(&self.resets) += 1;
        done();
    }
}

struct Driver {
    transport: MmioTransport,
    device: Arc<Fake>,
    interrupt: Arc<MmioInterrupt>,
    line: EventFd,
}

impl Driver {
    fn new() -> Self {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let device = Arc::new(Fake::new());
        let edge = Arc::new(line.try_clone().unwrap());
        let transport = MmioTransport::new(device.clone(), RingFeatures::default(), edge);
        Self {
            interrupt: transport.interrupt.clone(),
            transport,
            device,
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
    let configuration = Configuration {
        size: 128,
        descriptor_table: 0x1_0000_1000,
        available_ring: 0x2000,
        used_ring: 0x3000,
    };
    assert_eq!(
        *lock(&driver.device.activations),
        [(FEATURES, vec![Some(QueueState::unused(configuration))])]
    );
    // Neither a second DRIVER_OK nor a moved queue changes that.
    driver.set(register::QUEUE_DESC_LOW, 0x9000);
    driver.set(register::STATUS, 0xf);
    assert_eq!(lock(&driver.device.activations).len(), 1);
    driver.set(QUEUE_NOTIFY, 0);
    assert_eq!(driver.device.kick[0].read().unwrap(), 1);
    // No such queue.
    driver.set(QUEUE_NOTIFY, 1);
    driver.set(QUEUE_NOTIFY, u32::MAX);
    assert!(driver.device.kick[0].read().is_err());
}

#[test]
fn features_that_were_not_offered_or_a_legacy_driver_are_refused() {
    for features in [FEATURES | 1 << 40, FEATURES & !(1 << 32), 0] {
        let driver = Driver::new();
        driver.set(register::STATUS, 3);
        driver.choose(features);
        driver.set(register::STATUS, 0xb);
        assert_eq!(driver.get(register::STATUS), 3);
        // A driver that continues regardless does not get a running device.
        driver.set(register::STATUS, 0xf);
        assert_eq!(driver.get(register::STATUS), 3);
        assert!(lock(&driver.device.activations).is_empty());
    }
}

#[test]
fn a_reset_clears_everything_and_allows_a_new_start() {
    let driver = Driver::new();
    driver.start();
    driver.interrupt.used_buffers(0);
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
    driver.interrupt.used_buffers(0);
    let (begun, has_begun) = mpsc::channel();
    *lock(&driver.device.begun) = Some(begun);
    let hold = driver.device.hold.clone();
    let held = lock(&hold);
    thread::scope(|scope| {
        let reset = scope.spawn(|| {
            driver.set(register::STATUS, 0);
            // A driver that does not poll continues now, as Linux's does.
            assert_eq!(driver.get(register::QUEUE_READY), 0);
        });
        has_begun.recv_timeout(DEADLINE).unwrap();
        // A driver that polls continues to poll.
        assert_eq!(driver.get(register::STATUS), 0xf);
        assert_eq!(driver.get(register::QUEUE_READY), 1);
        // As an interrupt handler does.
        assert_eq!(driver.get(register::INTERRUPT_STATUS), 1);
        driver.set(register::INTERRUPT_ACK, 1);
        assert_eq!(driver.get(register::INTERRUPT_STATUS), 0);
        driver.set(QUEUE_NOTIFY, 0);
        driver.transport.read(register::CONFIG, &mut [0; 4]);
        // Register writes wait for the end of the reset.
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
    driver.interrupt.used_buffers(0);
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

/// Pauses the transport, and has the device report these states.
fn pause(driver: &Driver, states: Option<QueueStates>) {
    let (done, is_done) = mpsc::channel();
    driver
        .transport
        .pause(Box::new(move || done.send(()).unwrap()));
    let asleep = lock(&driver.device.drowsy).remove(0);
    assert!(is_done.try_recv().is_err());
    asleep(states);
    is_done.recv_timeout(DEADLINE).unwrap();
}

/// The first queue as `Driver::start` configures it, after some requests.
fn used_queue() -> QueueState {
    QueueState {
        configuration: Configuration {
            size: 128,
            descriptor_table: 0x1_0000_1000,
            available_ring: 0x2000,
            used_ring: 0x3000,
        },
        next_available: 9,
        next_used: 7,
    }
}

#[test]
fn a_saved_transport_is_restored_with_its_registers_its_queues_and_its_device() {
    let driver = Driver::new();
    driver.start();
    driver.interrupt.used_buffers(0);
    driver.set(register::DEVICE_FEATURES_SEL, 1);
    *lock(&driver.device.state) = FakeState { value: 77 };
    driver.transport.resume(Run(1));
    assert_eq!(*lock(&driver.device.wakes), [Run(1)]);
    pause(&driver, Some(vec![Some(used_queue())]));
    let state = driver.transport.save().unwrap();

    let other = Driver::new();
    other.transport.restore(&state).unwrap();
    assert_eq!(lock(&other.device.state).value, 77);
    assert_eq!(*lock(&other.device.restored), [Some(used_queue())]);
    assert_eq!(
        *lock(&other.device.activations),
        [(FEATURES, vec![Some(used_queue())])]
    );
    for offset in [
        register::STATUS,
        register::INTERRUPT_STATUS,
        register::QUEUE_READY,
        register::DEVICE_FEATURES,
    ] {
        assert_eq!(other.get(offset), driver.get(offset), "{offset:#x}");
    }
    assert_eq!(other.transport.save().unwrap(), state);
}

#[test]
fn only_a_transport_whose_device_is_asleep_can_be_saved_or_restored() {
    let driver = Driver::new();
    driver.start();
    let fresh = driver.transport.save().unwrap();
    let is_busy = || {
        let saved = driver.transport.save();
        let restored = driver.transport.restore(&fresh);
        matches!(saved, Err(SaveError::Busy)) && matches!(restored, Err(RestoreError::Busy))
    };
    driver.transport.resume(Run(1));
    assert!(is_busy());
    // Woken before it is asleep.
    pause(&driver, None);
    assert!(is_busy());
    // The late end of a sleep, after the next resume.
    driver.transport.pause(Box::new(|| ()));
    driver.transport.resume(Run(2));
    lock(&driver.device.drowsy).remove(0)(Some(Vec::new()));
    assert!(is_busy());
    pause(&driver, Some(vec![Some(used_queue())]));
    assert!(!is_busy());
}

#[test]
fn a_state_that_no_such_transport_has_is_refused_and_changes_nothing() {
    let driver = Driver::new();
    driver.start();
    let good = serde_json::to_value(driver.transport.save().unwrap()).unwrap();
    let before = driver.transport.save().unwrap();
    let damage: [(&str, serde_json::Value); 9] = [
        ("/device_id", 3.into()),
        ("/device_status", 0x1f.into()),
        // DRIVER_OK without FEATURES_OK.
        ("/device_status", 7.into()),
        ("/interrupt_status", 4.into()),
        ("/driver_features", (FEATURES | 1 << 40).into()),
        ("/driver_features", 0.into()),
        ("/queues", serde_json::Value::Array(Vec::new())),
        // More than the queue holds.
        ("/queues/0/queue/next_available", 129.into()),
        ("/device/value", "none".into()),
    ];
    for (member, value) in damage {
        let mut damaged = good.clone();
        *damaged.pointer_mut(member).unwrap() = value;
        let state = serde_json::from_value(damaged).unwrap();
        assert!(driver.transport.restore(&state).is_err(), "{member}");
        assert_eq!(driver.transport.save().unwrap(), before);
    }
    assert_eq!(lock(&driver.device.activations).len(), 1);
}

#[test]
fn whatever_a_driver_writes_to_the_status_can_be_saved_and_restored() {
    let driver = Driver::new();
    driver.set(0x070, 0xffff_ffb3);
    let state = driver.transport.save().unwrap();
    driver.transport.restore(&state).unwrap();
    assert_eq!(driver.get(0x070), 0x83);
}

#[test]
fn a_reset_by_the_machine_clears_the_registers_when_the_device_is_reset() {
    let driver = Driver::new();
    driver.start();
    let (done, is_done) = mpsc::channel();
    LifeCycle::reset(&driver.transport, Box::new(move || done.send(()).unwrap()));
    is_done.recv_timeout(DEADLINE).unwrap();
    assert_eq!(*lock(&driver.device.resets), 1);
    assert_eq!(driver.get(register::STATUS), 0);
    assert_eq!(driver.get(register::QUEUE_READY), 0);
}

#[test]
fn its_connections_are_data() {
    let driver = Driver::new();
    let placement = Placement {
        instance: 3,
        range: 0xd000_3000..0xd000_4000,
        interrupt: Some(11),
    };
    let events = driver.transport.io_events();
    let events: Vec<_> = events
        .iter()
        .map(|event| (event.offset, event.value))
        .collect();
    assert_eq!(events, [(QUEUE_NOTIFY, 0)]);
    assert_eq!(driver.transport.interrupts().len(), 1);
    assert_eq!(
        driver.transport.kernel_parameter(&placement).unwrap(),
        "virtio_mmio.device=4K@0xd0003000:11"
    );
}
