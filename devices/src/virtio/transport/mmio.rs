//! The virtio-mmio transport, version 2 (virtio 1.2 §4.2).

pub mod interrupt;
mod state;
#[cfg(test)]
mod tests;

use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use acpi_tables::aml::{Device, Interrupt, Memory32Fixed, Name, ResourceTemplate};
use acpi_tables::{Aml, AmlSink};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use vmm_sys_util::eventfd::EventFd;

use self::state::STATUS_BITS;
use super::{IoEvent, RingFeatures, Transport, status};
use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, Placement, RestoreError, Run, SaveError, State};
use crate::sync::{lock, wait};
use crate::virtio::device::{Activation, VirtioDevice};
use crate::virtio::queue::Configuration;
use crate::virtio::queue_state::{QueueState, QueueStates};
use interrupt::MmioInterrupt;
use serde::{Deserialize, Serialize};

/// Size of a device's register window in bytes.
pub const WINDOW: u64 = 0x1000;

/// Offset of the QueueNotify register, where KVM turns a write into a kick.
pub const QUEUE_NOTIFY: u64 = register::QUEUE_NOTIFY;

/// Register offsets (virtio 1.2 §4.2.2, table 4.1).
mod register {
    pub const MAGIC_VALUE: u64 = 0x000;
    pub const VERSION: u64 = 0x004;
    pub const DEVICE_ID: u64 = 0x008;
    pub const VENDOR_ID: u64 = 0x00c;
    pub const DEVICE_FEATURES: u64 = 0x010;
    pub const DEVICE_FEATURES_SEL: u64 = 0x014;
    pub const DRIVER_FEATURES: u64 = 0x020;
    pub const DRIVER_FEATURES_SEL: u64 = 0x024;
    pub const QUEUE_SEL: u64 = 0x030;
    pub const QUEUE_NUM_MAX: u64 = 0x034;
    pub const QUEUE_NUM: u64 = 0x038;
    pub const QUEUE_READY: u64 = 0x044;
    pub const QUEUE_NOTIFY: u64 = 0x050;
    pub const INTERRUPT_STATUS: u64 = 0x060;
    pub const INTERRUPT_ACK: u64 = 0x064;
    pub const STATUS: u64 = 0x070;
    pub const QUEUE_DESC_LOW: u64 = 0x080;
    pub const QUEUE_DESC_HIGH: u64 = 0x084;
    pub const QUEUE_DRIVER_LOW: u64 = 0x090;
    pub const QUEUE_DRIVER_HIGH: u64 = 0x094;
    pub const QUEUE_DEVICE_LOW: u64 = 0x0a0;
    pub const QUEUE_DEVICE_HIGH: u64 = 0x0a4;
    pub const SHM_LEN_LOW: u64 = 0x0b0;
    pub const SHM_BASE_HIGH: u64 = 0x0bc;
    pub const CONFIG_GENERATION: u64 = 0x0fc;
    pub const CONFIG: u64 = 0x100;
}

/// "virt", little-endian.
const MAGIC: u32 = 0x7472_6976;
/// Version 1 was the legacy interface.
const VERSION: u32 = 2;
/// "FVZR": drivers ignore it.
const VENDOR: u32 = 0x525a_5646;
/// Length of a missing shared memory region: all ones.
const NO_REGION: u32 = u32::MAX;

/// A virtio device behind a register window.
pub struct MmioTransport {
    device: Arc<dyn VirtioDevice>,
    ring_features: RingFeatures,
    interrupt: Arc<MmioInterrupt>,
    registers: Arc<Mutex<Registers>>,
    /// Signalled when a reset by the driver has ended.
    reset_ended: Condvar,
}

#[derive(Clone, Default)]
struct Registers {
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<QueueRegisters>,
    /// A reset by the driver waits for the host. Until its end every register reads as before: the device status is
    /// not zero (virtio 1.2 §2.1).
    is_resetting: bool,
    /// The device is asleep with nothing in flight; `queues` has its position in each.
    is_quiesced: bool,
    /// Counts pauses and resumes: the end of a sleep after a resume is ignored.
    transitions: u64,
}

/// A queue, whether the driver has enabled it or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct QueueRegisters {
    ready: bool,
    queue: QueueState,
}

impl Registers {
    /// The registers after power-on. The device begins asleep.
    fn new(device: &dyn VirtioDevice) -> Self {
        let queue = |size: &u16| QueueRegisters {
            ready: false,
            queue: QueueState::unused(Configuration {
                size: u32::from(*size),
                descriptor_table: 0,
                available_ring: 0,
                used_ring: 0,
            }),
        };
        Self {
            queues: device.queue_sizes().iter().map(queue).collect(),
            is_quiesced: true,
            ..Self::default()
        }
    }

    /// Returns to the state after power-on, except whether the device is asleep.
    fn reset(&mut self, device: &dyn VirtioDevice) {
        *self = Self {
            is_quiesced: self.is_quiesced,
            transitions: self.transitions,
            ..Self::new(device)
        };
    }

    /// Counts a pause or a resume, and returns its number.
    fn begin_transition(&mut self) -> u64 {
        self.is_quiesced = false;
        self.transitions += 1;
        self.transitions
    }

    /// Notes the device's positions in its queues at the end of that pause.
    fn quiesce(&mut self, transition: u64, states: QueueStates) {
        if transition != self.transitions {
            return;
        }
        self.is_quiesced = true;
        for (registers, state) in self.queues.iter_mut().zip(states) {
            registers.queue = state.unwrap_or(registers.queue);
        }
    }

    /// The queues that the driver has enabled.
    fn queue_states(&self) -> QueueStates {
        let state = |registers: &QueueRegisters| registers.ready.then_some(registers.queue);
        self.queues.iter().map(state).collect()
    }

    fn selected(&mut self) -> Option<&mut QueueRegisters> {
        self.queues.get_mut(usize::try_from(self.queue_sel).ok()?)
    }
}

impl MmioTransport {
    /// Puts a device behind registers. Its interrupts are edges on `line`.
    pub fn new(
        device: Arc<dyn VirtioDevice>,
        ring_features: RingFeatures,
        line: Arc<EventFd>,
    ) -> Self {
        let registers = Registers::new(&*device);
        Self {
            device,
            ring_features,
            interrupt: Arc::new(MmioInterrupt::new(line)),
            registers: Arc::new(Mutex::new(registers)),
            reset_ended: Condvar::new(),
        }
    }

    /// Sets the registers to their values after power-on. The device itself has been reset.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn power_on(&self) {
        lock(&self.registers).reset(&*self.device);
        self.interrupt.clear();
    }

    /// The offered features.
    fn features(&self) -> u64 {
        self.device.features() | self.ring_features.bits()
    }

    /// Signals a queue's event, as KVM does for a guest.
    fn notify(&self, queue: u32) {
        let kicks = self.device.kick_events();
        let kick = usize::try_from(queue)
            .ok()
            .and_then(|queue| kicks.get(queue));
        if let Some(kick) = kick {
            let _ = kick.write(1);
        }
    }

    /// Locks the registers for a change, after the end of a reset that another vCPU waits for.
    fn lock_settled(&self) -> MutexGuard<'_, Registers> {
        let mut registers = lock(&self.registers);
        while registers.is_resetting {
            registers = wait(&self.reset_ended, registers);
        }
        registers
    }

    fn read_register(&self, offset: u64) -> u32 {
        let mut registers = lock(&self.registers);
        match offset {
            register::MAGIC_VALUE => MAGIC,
            register::VERSION => VERSION,
            register::DEVICE_ID => self.device.device_id(),
            register::VENDOR_ID => VENDOR,
            register::DEVICE_FEATURES => half(self.features(), registers.device_features_sel),
            register::QUEUE_NUM_MAX => usize::try_from(registers.queue_sel)
                .ok()
                .and_then(|queue| self.device.queue_sizes().get(queue))
                .map_or(0, |size| u32::from(*size)),
            register::QUEUE_READY => registers
                .selected()
                .map_or(0, |queue| u32::from(queue.ready)),
            register::INTERRUPT_STATUS => self.interrupt.interrupt_status(),
            register::STATUS => self.interrupt.device_status(),
            register::SHM_LEN_LOW..=register::SHM_BASE_HIGH => NO_REGION,
            register::CONFIG_GENERATION => self.device.config_generation(),
            _ => 0,
        }
    }

    fn write_register(&self, offset: u64, value: u32) {
        // These two do not wait for a reset: the handler of a shared interrupt acknowledges it on every
        // disk.
        match offset {
            register::QUEUE_NOTIFY => return self.notify(value),
            register::INTERRUPT_ACK => return self.interrupt.acknowledge(value),
            _ => {}
        }
        let mut registers = self.lock_settled();
        match offset {
            register::DEVICE_FEATURES_SEL => registers.device_features_sel = value,
            register::DRIVER_FEATURES_SEL => registers.driver_features_sel = value,
            register::DRIVER_FEATURES => {
                // Final once FEATURES_OK is set (virtio 1.2 §2.2).
                if self.interrupt.device_status() & status::FEATURES_OK == 0 {
                    let shift = registers.driver_features_sel;
                    set_half(&mut registers.driver_features, shift, value);
                }
            }
            register::QUEUE_SEL => registers.queue_sel = value,
            register::STATUS if value == 0 => self.reset_device(registers),
            register::STATUS => self.write_status(&registers, value),
            _ => {
                // A live queue cannot be moved (virtio 1.2 §4.2.2.2).
                if self.interrupt.device_status() & status::DRIVER_OK == 0
                    && let Some(queue) = registers.selected()
                {
                    write_queue_register(queue, offset, value);
                }
            }
        }
    }

    /// Resets the device for its driver. The calling vCPU waits, since drivers such as Linux's do not poll the status
    /// for the end; reads and acknowledgements of other vCPUs do not wait.
    fn reset_device(&self, mut registers: MutexGuard<'_, Registers>) {
        registers.is_resetting = true;
        drop(registers);
        let (done, is_done) = mpsc::channel();
        self.device.reset(Box::new(move || {
            let _ = done.send(());
        }));
        // An error means that the device's thread has ended, and its accesses to guest memory with it.
        let _ = is_done.recv();
        let mut registers = lock(&self.registers);
        registers.reset(&*self.device);
        self.interrupt.clear();
        self.reset_ended.notify_all();
    }

    /// Sets bits of the device status.
    fn write_status(&self, registers: &Registers, value: u32) {
        let before = self.interrupt.device_status();
        // The driver sets bits and never clears one (virtio 1.2 §2.1.1). It may not set the
        // device's own bit.
        let mut set = value & STATUS_BITS & !before & !status::DEVICE_NEEDS_RESET;
        if set & status::FEATURES_OK != 0 && !self.accepts(registers.driver_features) {
            set &= !status::FEATURES_OK;
        }
        let features_ok = (before | set) & status::FEATURES_OK != 0;
        if set & status::DRIVER_OK != 0 && !features_ok {
            set &= !status::DRIVER_OK;
        }
        self.interrupt.set_status_bits(set);
        if set & status::DRIVER_OK != 0 {
            self.activate(registers);
        }
    }

    fn activate(&self, registers: &Registers) {
        self.device.activate(Activation {
            features: registers.driver_features,
            queues: registers.queue_states(),
            interrupt: self.interrupt.clone(),
        });
    }

    /// Whether the driver's features are valid: only offered ones, including VERSION_1.
    fn accepts(&self, features: u64) -> bool {
        features & !self.features() == 0 && features & (1 << VIRTIO_F_VERSION_1) != 0
    }
}

fn write_queue_register(queue: &mut QueueRegisters, offset: u64, value: u32) {
    let configuration = &mut queue.queue.configuration;
    match offset {
        register::QUEUE_NUM => configuration.size = value,
        register::QUEUE_READY => queue.ready = value & 1 != 0,
        register::QUEUE_DESC_LOW => set_half(&mut configuration.descriptor_table, 0, value),
        register::QUEUE_DESC_HIGH => set_half(&mut configuration.descriptor_table, 1, value),
        register::QUEUE_DRIVER_LOW => set_half(&mut configuration.available_ring, 0, value),
        register::QUEUE_DRIVER_HIGH => set_half(&mut configuration.available_ring, 1, value),
        register::QUEUE_DEVICE_LOW => set_half(&mut configuration.used_ring, 0, value),
        register::QUEUE_DEVICE_HIGH => set_half(&mut configuration.used_ring, 1, value),
        _ => {}
    }
}

/// The low (0) or high (1) half of a 64-bit register; zero for another index.
fn half(value: u64, index: u32) -> u32 {
    let bytes = value.to_le_bytes();
    let (low, high) = bytes.split_at(4);
    match index {
        0 => le32(low),
        1 => le32(high),
        _ => 0,
    }
}

fn set_half(target: &mut u64, index: u32, value: u32) {
    let shift = match index {
        0 => 0,
        1 => 32,
        _ => return,
    };
    *target = *target & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift;
}

/// Up to four bytes as a little-endian number.
fn le32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, byte| value << 8 | u32::from(*byte))
}

impl BusDevice for MmioTransport {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset >= register::CONFIG {
            self.device.read_config(offset - register::CONFIG, data);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            data.copy_from_slice(&self.read_register(offset).to_le_bytes());
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset >= register::CONFIG {
            let registers = self.lock_settled();
            let agreed = self.interrupt.device_status() & status::FEATURES_OK != 0;
            let features = if agreed { registers.driver_features } else { 0 };
            // Under the lock, so that no reset intervenes between the features and the write.
            self.device
                .write_config(features, offset - register::CONFIG, data);
            drop(registers);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            self.write_register(offset, le32(data));
        }
    }
}

impl LifeCycle for MmioTransport {
    fn pause(&self, done: Done) {
        let registers = Arc::clone(&self.registers);
        let transition = lock(&registers).begin_transition();
        self.device.sleep(Box::new(move |states| {
            if let Some(states) = states {
                lock(&registers).quiesce(transition, states);
            }
            done();
        }));
    }

    fn resume(&self, run: Run) {
        lock(&self.registers).begin_transition();
        self.device.wake(run);
    }

    fn reset(&self, done: Done) {
        let registers = Arc::clone(&self.registers);
        let (device, interrupt) = (Arc::clone(&self.device), Arc::clone(&self.interrupt));
        self.device.reset(Box::new(move || {
            lock(&registers).reset(&*device);
            interrupt.clear();
            done();
        }));
    }

    fn close(&self, done: Done) {
        self.device.close(done);
    }

    fn save(&self) -> Result<State, SaveError> {
        self.save_registers()
    }

    fn restore(&self, state: &State) -> Result<(), RestoreError> {
        self.restore_registers(state)
    }

    /// Uses the hardware ID that Linux's driver matches.
    fn describe(&self, placement: &Placement, dsdt: &mut dyn AmlSink) {
        let Some(interrupt) = placement.interrupt else {
            return;
        };
        let low = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let memory = Memory32Fixed::new(true, low(placement.range.start), low(WINDOW));
        // Edge-triggered, so that devices can share a line.
        let interrupt = Interrupt::new(true, true, false, true, interrupt);
        let resources = ResourceTemplate::new(vec![&memory, &interrupt]);
        // A name is four characters; base 16 leaves room for 4,096 devices.
        let name = format!("V{:03X}", placement.instance);
        let terms: [&dyn Aml; 3] = [
            &Name::new("_HID".into(), &"LNRO0005"),
            &Name::new("_UID".into(), &placement.instance),
            &Name::new("_CRS".into(), &resources),
        ];
        Device::new(name.as_str().into(), terms.to_vec()).to_aml_bytes(dsdt);
    }
}

impl Transport for MmioTransport {
    fn length(&self) -> u64 {
        WINDOW
    }

    fn io_events(&self) -> Vec<IoEvent<'_>> {
        let event = |(value, event)| IoEvent {
            event,
            offset: QUEUE_NOTIFY,
            value,
        };
        (0..).zip(self.device.kick_events()).map(event).collect()
    }

    fn interrupts(&self) -> Vec<&EventFd> {
        vec![self.interrupt.line()]
    }

    fn kernel_parameter(&self, placement: &Placement) -> Option<String> {
        Some(format!(
            "virtio_mmio.device={}K@{:#x}:{}",
            WINDOW >> 10,
            placement.range.start,
            placement.interrupt?
        ))
    }
}
