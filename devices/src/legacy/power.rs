//! The registers by which a guest sends a hardware-reduced ACPI machine to sleep (ACPI 6.4 §4.8.3.7).
//! Sleep state S5, soft off, is all that there is.

use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, RestoreError, SaveError, State, Stateless};

/// Offset of the sleep control register from the first port.
const CONTROL: u64 = 0;
/// Control: enter the sleep state in bits 2 to 4.
const SLEEP_ENABLE: u8 = 0x20;
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 7;

/// The sleep control and the sleep status register.
pub struct PowerControl {
    power_off: EventFd,
}

impl PowerControl {
    /// Port of the sleep control register, of one byte.
    pub const SLEEP_CONTROL: u16 = 0x600;
    /// Port of the sleep status register, of one byte. It reads as zero: nobody wakes from S5.
    pub const SLEEP_STATUS: u16 = Self::SLEEP_CONTROL + 1;
    /// Number of ports of both.
    pub const PORTS: u64 = 2;
    /// The value of SLP_TYP that means S5, soft off; the `_S5` package must name it.
    pub const SOFT_OFF: u8 = 5;

    /// Writes to `power_off` when the guest enters S5.
    pub fn new(power_off: EventFd) -> Self {
        Self { power_off }
    }
}

impl BusDevice for PowerControl {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let (CONTROL, Some(control)) = (offset, data.first()) else {
            return;
        };
        let sleep_type = control >> SLEEP_TYPE_SHIFT & SLEEP_TYPE_MASK;
        if control & SLEEP_ENABLE != 0 && sleep_type == Self::SOFT_OFF {
            // Refused only when it is known already.
            let _ = self.power_off.write(1);
        }
    }
}

/// A write takes effect at once and is not kept.
impl LifeCycle for PowerControl {
    fn reset(&self, done: Done) {
        done();
    }

    fn save(&self) -> Result<State, SaveError> {
        State::of(&Stateless {})
    }

    fn restore(&self, state: &State) -> Result<(), RestoreError> {
        let Stateless {} = state.decode()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::life_cycle::testing::{assert_refuses, assert_survives_a_reset};

    #[test]
    fn only_s5_switches_the_machine_off() {
        let off = EventFd::new(EFD_NONBLOCK).unwrap();
        let device = PowerControl::new(off.try_clone().unwrap());
        device.write(CONTROL, &[5 << 2]);
        device.write(CONTROL, &[0x20 | 3 << 2]);
        device.write(CONTROL + 1, &[0x34]);
        device.write(CONTROL, &[]);
        assert!(off.read().is_err());
        device.write(CONTROL, &[0x34]);
        assert_eq!(off.read().unwrap(), 1);
        // The wider write reaches both registers.
        device.write(CONTROL, &[0x34, 0xff]);
        assert_eq!(off.read().unwrap(), 1);
    }

    #[test]
    fn the_registers_read_as_zero() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let mut data = [0xff; 2];
        device.read(CONTROL, &mut data);
        assert_eq!(data, [0, 0]);
    }

    #[test]
    fn the_registers_read_the_same_after_reset_and_restore() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        device.write(CONTROL, &[3 << 2]);
        assert_survives_a_reset(&device, |device| {
            let mut data = [0xff; 2];
            device.read(CONTROL, &mut data);
            data
        });
        assert_refuses(&device, &["null", r#"{"sleep_type":5}"#]);
    }
}
