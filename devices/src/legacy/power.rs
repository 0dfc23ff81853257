//! The registers by which a guest sends a hardware-reduced ACPI machine to sleep (ACPI 6.4 §4.8.3.7).
//! Sleep state S5, soft off, is all that there is.

use acpi_tables::aml::{Name, Package};
use acpi_tables::{Aml, AmlSink};
use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, Placement, RestoreError, SaveError, State, Stateless};

/// Control: enter the sleep state in bits 2 to 4.
const SLEEP_ENABLE: u8 = 0x20;
const SLEEP_TYPE_SHIFT: u8 = 2;
const SLEEP_TYPE_MASK: u8 = 7;

/// The sleep control and the sleep status register.
pub struct PowerControl {
    power_off: EventFd,
}

impl PowerControl {
    /// Offset of the sleep control register, of one byte.
    pub const CONTROL: u64 = 0;
    /// Offset of the sleep status register, of one byte. It reads as zero: nobody wakes from S5.
    pub const STATUS: u64 = 1;
    /// Number of ports of both.
    pub const PORTS: u64 = 2;
    /// The value of SLP_TYP that means S5, soft off, as the `_S5` package says.
    const SOFT_OFF: u8 = 5;

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
        let (Self::CONTROL, Some(control)) = (offset, data.first()) else {
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

    /// What to write to enter S5 (ACPI 6.4 §7.4.2); the registers' addresses are in the FADT.
    fn describe(&self, _placement: &Placement, dsdt: &mut dyn AmlSink) {
        let off = Self::SOFT_OFF;
        Name::new("_S5_".into(), &Package::new(vec![&off, &off])).to_aml_bytes(dsdt);
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
        device.write(PowerControl::CONTROL, &[5 << 2]);
        device.write(PowerControl::CONTROL, &[0x20 | 3 << 2]);
        device.write(PowerControl::CONTROL + 1, &[0x34]);
        device.write(PowerControl::CONTROL, &[]);
        assert!(off.read().is_err());
        device.write(PowerControl::CONTROL, &[0x34]);
        assert_eq!(off.read().unwrap(), 1);
        // The wider write reaches both registers.
        device.write(PowerControl::CONTROL, &[0x34, 0xff]);
        assert_eq!(off.read().unwrap(), 1);
    }

    #[test]
    fn the_registers_read_as_zero() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let mut data = [0xff; 2];
        device.read(PowerControl::CONTROL, &mut data);
        assert_eq!(data, [0, 0]);
    }

    #[test]
    fn the_registers_read_the_same_after_reset_and_restore() {
        let device = PowerControl::new(EventFd::new(EFD_NONBLOCK).unwrap());
        device.write(PowerControl::CONTROL, &[3 << 2]);
        assert_survives_a_reset(&device, |device| {
            let mut data = [0xff; 2];
            device.read(PowerControl::CONTROL, &mut data);
            data
        });
        assert_refuses(&device, &["null", r#"{"sleep_type":5}"#]);
    }
}
