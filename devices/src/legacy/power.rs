//! The ACPI fixed hardware that a guest switches itself off with (ACPI 6.4 §4.8.3): PM1 status,
//! enable and control. No event ever happens on them; sleep state S5 is all that does anything.

use std::sync::Mutex;

use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::sync::lock;

/// Offset of the enable register from the first port; status comes before it, and reads as zero.
const ENABLE: u64 = 2;
/// Offset of the control register.
const CONTROL: u64 = 4;
/// Control: the OS owns the ACPI hardware. It always does, there is no firmware that could.
const SCI_ENABLED: u8 = 0x01;
/// Control, upper byte: enter the sleep state in bits 2 to 4.
const SLEEP_ENABLE: u8 = 0x20;
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 7;

/// The PM1a register block.
pub struct PowerControl {
    power_off: EventFd,
    /// What the OS enabled. It reads its settings back, and complains at length of one that is lost.
    enabled: Mutex<[u8; 2]>,
}

impl PowerControl {
    /// First port of the event block: status (2 bytes) and enable (2 bytes).
    pub const EVENT_BLOCK: u16 = 0x600;
    /// First port of the control block (2 bytes).
    pub const CONTROL_BLOCK: u16 = Self::EVENT_BLOCK + 4;
    /// Number of ports of both.
    pub const PORTS: u64 = 6;
    /// The value of SLP_TYP that means S5, soft off; the `_S5` package must name it.
    pub const SOFT_OFF: u8 = 5;

    /// Writes to `power_off` when the guest enters S5.
    pub fn new(power_off: EventFd) -> Self {
        Self {
            power_off,
            enabled: Mutex::default(),
        }
    }
}

impl BusDevice for PowerControl {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        match offset {
            ENABLE => {
                for (to, from) in data.iter_mut().zip(*lock(&self.enabled)) {
                    *to = from;
                }
            }
            CONTROL => data[0] = SCI_ENABLED,
            _ => {}
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == ENABLE {
            for (to, from) in lock(&self.enabled).iter_mut().zip(data) {
                *to = *from;
            }
            return;
        }
        let upper = match (offset, data) {
            (CONTROL, [_, upper, ..]) => *upper,
            (offset, [upper]) if offset == CONTROL + 1 => *upper,
            _ => return,
        };
        let sleep_type = upper >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;
        if upper & SLEEP_ENABLE != 0 && sleep_type == Self::SOFT_OFF {
            // Refused only when it is known already.
            let _ = self.power_off.write(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;

    #[test]
    fn only_s5_switches_the_machine_off() {
        let off = EventFd::new(EFD_NONBLOCK).unwrap();
        let device = PowerControl::new(off.try_clone().unwrap());
        let control = |value: u16| device.write(CONTROL, &value.to_le_bytes());
        control(5 << 10);
        control(1 << 13 | 3 << 10);
        device.write(0, &[0xff, 0xff]);
        assert!(off.read().is_err());
        control(1 << 13 | 5 << 10);
        device.write(CONTROL + 1, &[0x34]);
        assert_eq!(off.read().unwrap(), 2);
    }

    #[test]
    fn the_os_finds_the_hardware_in_acpi_mode_and_quiet() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let mut data = [0xff; 2];
        device.read(CONTROL, &mut data);
        assert_eq!(data, [SCI_ENABLED, 0]);
        device.read(0, &mut data);
        assert_eq!(data, [0, 0]);
    }

    #[test]
    fn what_the_os_enabled_reads_back() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        device.write(ENABLE, &[0x20, 0x05]);
        let mut data = [0; 2];
        device.read(ENABLE, &mut data);
        assert_eq!(data, [0x20, 0x05]);
    }
}
