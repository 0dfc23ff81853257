//! The part of the i8042 keyboard controller that a machine without a keyboard needs: its pulse
//! on the CPU's reset line.

use vmm_sys_util::eventfd::EventFd;

use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, RestoreError, SaveError, State, Stateless};

/// Status: the controller has a byte for the driver.
///
/// It is always set and the input-buffer-full bit (0x02) never. A driver that finds the output
/// buffer still full after it read the buffer's depth concludes at once that there is no
/// controller, instead of waiting out half a second of time-outs on one that does not answer; and
/// a kernel that reboots waits for input-buffer-full to be clear, which it is.
const OUTPUT_BUFFER_FULL: u8 = 0x01;

/// An i8042 without keyboard and mouse, whose reset line works.
pub struct KeyboardController {
    reset: EventFd,
}

impl KeyboardController {
    /// Number of ports. The second of them belongs to the PIT's speaker gate, which KVM answers before an exit gets here.
    pub const PORTS: u64 = 5;
    /// Offset of the status (read) and command (write) register from the first port.
    pub const COMMAND: u64 = 4;
    /// Command: pulse output line 0, which is wired to the CPU's reset.
    pub const PULSE_RESET: u8 = 0xfe;

    /// A controller that writes to `reset` when the guest pulses the reset line.
    pub fn new(reset: EventFd) -> Self {
        Self { reset }
    }
}

impl BusDevice for KeyboardController {
    fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if offset == Self::COMMAND {
            data[0] = OUTPUT_BUFFER_FULL;
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if offset == Self::COMMAND && data.first() == Some(&Self::PULSE_RESET) {
            // An eventfd refuses a write only when its counter is at its limit, and then the
            // reset is already known.
            let _ = self.reset.write(1);
        }
    }
}

/// No register stores what is written to it.
impl LifeCycle for KeyboardController {
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
    fn only_the_reset_command_pulses_the_reset_line() {
        let reset = EventFd::new(EFD_NONBLOCK).unwrap();
        let device = KeyboardController::new(reset.try_clone().unwrap());
        device.write(KeyboardController::COMMAND, &[0xd1]);
        device.write(0, &[KeyboardController::PULSE_RESET]);
        assert!(reset.read().is_err());
        device.write(
            KeyboardController::COMMAND,
            &[KeyboardController::PULSE_RESET],
        );
        assert_eq!(reset.read().unwrap(), 1);
    }

    #[test]
    fn the_input_buffer_is_always_free_so_that_a_reboot_never_waits() {
        let device = KeyboardController::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let mut status = [0];
        device.read(KeyboardController::COMMAND, &mut status);
        assert_eq!(status[0] & 0x02, 0);
        assert_ne!(status[0] & OUTPUT_BUFFER_FULL, 0);
    }

    #[test]
    fn a_controller_reads_the_same_after_reset_and_restore() {
        let device = KeyboardController::new(EventFd::new(EFD_NONBLOCK).unwrap());
        assert_survives_a_reset(&device, |device| {
            let mut data = [0; 5];
            (0..).zip(&mut data).for_each(|(offset, byte)| {
                device.read(offset, std::slice::from_mut(byte));
            });
            data
        });
        assert_refuses(&device, &["null", "[]", r#"{"depth":1}"#]);
    }
}
