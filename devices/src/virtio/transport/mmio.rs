//! The virtio-mmio transport, version 2 (virtio 1.2 §4.2).

#[cfg(test)]
mod tests;

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;

use crate::bus::BusDevice;
use crate::sync::{lock, wait};
use crate::virtio::{Interrupt, VirtioDevice, queue, status};

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
/// "FVZR": nobody interprets it.
const VENDOR: u32 = 0x525a_5646;
/// There is no shared memory region: its length reads as ones.
const NO_REGION: u32 = u32::MAX;

/// A virtio device behind a register window.
pub struct Transport {
    device: Arc<dyn VirtioDevice>,
    interrupt: Arc<Interrupt>,
    registers: Mutex<Registers>,
    /// A reset by the driver has ended.
    reset_ended: Condvar,
}

#[derive(Default)]
struct Registers {
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: u32,
    queues: Vec<QueueRegisters>,
    /// The driver resets the device, which waits for the host. Until that has ended every register reads as before: the
    /// device status is not zero (virtio 1.2 §2.1).
    is_resetting: bool,
}

#[derive(Clone, Copy)]
struct QueueRegisters {
    ready: bool,
    configuration: queue::Configuration,
}

impl Registers {
    fn new(device: &dyn VirtioDevice) -> Self {
        let queue = |size: &u16| QueueRegisters {
            ready: false,
            configuration: queue::Configuration {
                size: u32::from(*size),
                descriptor_table: 0,
                available_ring: 0,
                used_ring: 0,
            },
        };
        Self {
            queues: device.queue_sizes().iter().map(queue).collect(),
            ..Self::default()
        }
    }

    fn selected(&mut self) -> Option<&mut QueueRegisters> {
        self.queues.get_mut(usize::try_from(self.queue_sel).ok()?)
    }
}

impl Transport {
    /// Puts a device behind registers.
    pub fn new(device: Arc<dyn VirtioDevice>, interrupt: Arc<Interrupt>) -> Self {
        let registers = Mutex::new(Registers::new(&*device));
        Self {
            device,
            interrupt,
            registers,
            reset_ended: Condvar::new(),
        }
    }

    /// The registers, for who changes them: not before a reset that another vCPU waits for has ended.
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
            register::DEVICE_FEATURES => {
                half(self.device.features(), registers.device_features_sel)
            }
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
        // These two wait for nobody: an interrupt that disks share makes its handler acknowledge all of them.
        match offset {
            register::QUEUE_NOTIFY => return self.device.notify(value),
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

    /// Resets the device for its driver. The vCPU that asks for it waits, since drivers such as Linux's do not poll the
    /// status for the end; nobody else does who only reads or acknowledges.
    fn reset_device(&self, mut registers: MutexGuard<'_, Registers>) {
        registers.is_resetting = true;
        drop(registers);
        self.device.reset();
        let mut registers = lock(&self.registers);
        *registers = Registers::new(&*self.device);
        self.interrupt.clear();
        self.reset_ended.notify_all();
    }

    /// Sets bits of the device status.
    fn write_status(&self, registers: &Registers, value: u32) {
        let before = self.interrupt.device_status();
        // The driver sets bits and never clears one (virtio 1.2 §2.1.1). Setting the device's own
        // bit is not its business.
        let mut set = value & !before & !status::DEVICE_NEEDS_RESET;
        if set & status::FEATURES_OK != 0 && !self.accepts(registers.driver_features) {
            set &= !status::FEATURES_OK;
        }
        let features_ok = (before | set) & status::FEATURES_OK != 0;
        if set & status::DRIVER_OK != 0 && !features_ok {
            set &= !status::DRIVER_OK;
        }
        self.interrupt.set_status_bits(set);
        if set & status::DRIVER_OK != 0 {
            let ready = |queue: &QueueRegisters| queue.ready.then_some(queue.configuration);
            self.device.activate(
                registers.driver_features,
                registers.queues.iter().map(ready).collect(),
                self.interrupt.clone(),
            );
        }
    }

    /// Whether a driver's choice of features is one that the device can work with: nothing that
    /// was not offered, and not the legacy interface.
    fn accepts(&self, features: u64) -> bool {
        features & !self.device.features() == 0 && features & (1 << VIRTIO_F_VERSION_1) != 0
    }
}

fn write_queue_register(queue: &mut QueueRegisters, offset: u64, value: u32) {
    let configuration = &mut queue.configuration;
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

/// The low (0) or high (1) half of a 64-bit register; there is no other.
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

impl BusDevice for Transport {
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
            // Under the lock, so that no reset comes between the features and the write.
            self.device
                .write_config(features, offset - register::CONFIG, data);
            drop(registers);
        } else if data.len() == 4 && offset.is_multiple_of(4) {
            self.write_register(offset, le32(data));
        }
    }

    /// The device itself must have been reset.
    fn reset(&self) {
        *lock(&self.registers) = Registers::new(&*self.device);
        self.interrupt.clear();
    }
}
