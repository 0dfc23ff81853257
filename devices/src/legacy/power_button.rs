//! The power button of a hardware-reduced ACPI machine (ACPI 6.4 §4.8.2.2.1.2): an interrupt, and a generic event device
//! that notifies the button's object of it (§5.6.9).

use std::io;
use std::sync::Arc;

use acpi_tables::AmlSink;
use acpi_tables::aml::{EISAName, Method, Name, Notify, Path, ResourceTemplate};

use super::aml::{PRESENT, edge, on_system_bus};
use crate::interrupt::InterruptLine;
use crate::life_cycle::{Done, LifeCycle, Placement, RestoreError, SaveError, State, Stateless};

/// What the button's object is notified of when it is pressed.
const PRESSED: u8 = 0x80;
/// The path of the button's object.
const PATH: &str = "\\_SB_.PWRB";

/// The power button.
pub struct PowerButton {
    line: Arc<dyn InterruptLine>,
}

impl PowerButton {
    /// A button on an interrupt line.
    pub fn new(line: Arc<dyn InterruptLine>) -> Self {
        Self { line }
    }

    /// Presses it.
    ///
    /// # Errors
    ///
    /// What the host said when it refused the interrupt.
    pub fn press(&self) -> io::Result<()> {
        self.line.raise()
    }
}

/// A press is an edge on its line: the interrupt controllers keep it.
impl LifeCycle for PowerButton {
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

    fn describe(&self, placement: &Placement, dsdt: &mut dyn AmlSink) {
        let id = EISAName::new("PNP0C0C");
        on_system_bus(
            "PWRB",
            vec![
                &Name::new("_HID".into(), &id),
                &Name::new("_UID".into(), &0u8),
                &Name::new("_STA".into(), &PRESENT),
            ],
            dsdt,
        );
        // The event device has one interrupt, so that its method need not ask which it was.
        let path = Path::new(PATH);
        let notify = Notify::new(&path, &PRESSED);
        let interrupt = edge(placement);
        let resources = ResourceTemplate::new(vec![&interrupt]);
        on_system_bus(
            "GED_",
            vec![
                &Name::new("_HID".into(), &"ACPI0013"),
                &Name::new("_UID".into(), &0u8),
                &Name::new("_CRS".into(), &resources),
                &Method::new("_EVT".into(), 1, true, vec![&notify]),
            ],
            dsdt,
        );
    }
}

#[cfg(test)]
mod tests {
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::life_cycle::testing::{assert_refuses, assert_survives_a_reset};

    #[test]
    fn a_press_raises_the_line_and_is_not_part_of_the_state() {
        let line = EventFd::new(EFD_NONBLOCK).unwrap();
        let button = PowerButton::new(Arc::new(line.try_clone().unwrap()));
        button.press().unwrap();
        assert_eq!(line.read().unwrap(), 1);
        assert_survives_a_reset(&button, |_| line.read().is_ok());
        assert_refuses(&button, &["null", r#"{"pressed":1}"#]);
    }

    #[test]
    fn the_button_is_described_with_the_device_that_notifies_it() {
        let button = PowerButton::new(Arc::new(EventFd::new(EFD_NONBLOCK).unwrap()));
        let placement = Placement {
            instance: 0,
            range: 0..0,
            interrupt: Some(9),
        };
        let mut dsdt = Vec::new();
        button.describe(&placement, &mut dsdt);
        for name in [&b"PWRB"[..], b"GED_", b"_EVT", b"ACPI0013"] {
            assert!(dsdt.windows(name.len()).any(|window| window == name));
        }
    }
}
