//! pvpanic: the port by which a guest reports a panic (QEMU `docs/specs/pvpanic.rst`).

use acpi_tables::AmlSink;
use acpi_tables::aml::{Name, ResourceTemplate};

use super::aml::{PRESENT, on_system_bus, ports};
use crate::bus::BusDevice;
use crate::life_cycle::{Done, LifeCycle, Placement, RestoreError, SaveError, State, Stateless};

/// What a guest says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestPanic {
    /// It has panicked.
    Panicked,
    /// It has panicked, and its crash kernel takes over.
    CrashLoaded,
}

/// Bits of the port: written, what happened; read, what there is to write.
const PANICKED: u8 = 1 << 0;
const CRASH_LOADED: u8 = 1 << 1;

/// Receives the report on the vCPU's thread, which waits for this to return.
type Listener = Box<dyn Fn(GuestPanic) + Send + Sync>;

/// The pvpanic device.
pub struct Pvpanic {
    listener: Listener,
}

impl Pvpanic {
    /// Number of its ports.
    pub const PORTS: u64 = 1;

    /// Tells `listener` what the guest says.
    pub fn new(listener: Listener) -> Self {
        Self { listener }
    }
}

impl BusDevice for Pvpanic {
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(first) = data.first_mut() {
            *first = PANICKED | CRASH_LOADED;
        }
    }

    /// The port has one byte; in a wider write only its first belongs to it. A guest that says both at once has
    /// panicked.
    fn write(&self, _offset: u64, data: &[u8]) {
        let said = data.first().copied().unwrap_or_default();
        if said & PANICKED != 0 {
            (self.listener)(GuestPanic::Panicked);
        } else if said & CRASH_LOADED != 0 {
            (self.listener)(GuestPanic::CrashLoaded);
        }
    }
}

/// A write is reported, not kept.
impl LifeCycle for Pvpanic {
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

    /// Under the hardware ID that QEMU gave it.
    fn describe(&self, placement: &Placement, dsdt: &mut dyn AmlSink) {
        let ports = ports(placement);
        let resources = ResourceTemplate::new(vec![&ports]);
        on_system_bus(
            "PEVT",
            vec![
                &Name::new("_HID".into(), &"QEMU0001"),
                &Name::new("_STA".into(), &PRESENT),
                &Name::new("_CRS".into(), &resources),
            ],
            dsdt,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::life_cycle::testing::{assert_refuses, assert_survives_a_reset};

    #[test]
    fn each_write_says_one_thing_or_nothing() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = heard.clone();
        let device = Pvpanic::new(Box::new(move |panic| {
            listener.lock().unwrap().push(panic);
        }));
        for said in [&[1][..], &[2], &[3], &[0], &[0xfc], &[], &[0, 1, 1, 1]] {
            device.write(0, said);
        }
        use GuestPanic::{CrashLoaded, Panicked};
        assert_eq!(*heard.lock().unwrap(), [Panicked, CrashLoaded, Panicked]);
    }

    #[test]
    fn a_guest_finds_out_what_it_can_say() {
        let device = Pvpanic::new(Box::new(|_| ()));
        let mut data = [0xff; 4];
        device.read(0, &mut data);
        assert_eq!(data, [3, 0, 0, 0]);
    }

    #[test]
    fn the_port_reads_the_same_after_reset_and_restore() {
        let device = Pvpanic::new(Box::new(|_| ()));
        assert_survives_a_reset(&device, |device| {
            let mut data = [0xff];
            device.read(0, &mut data);
            data
        });
        assert_refuses(&device, &["null", r#"{"events":3}"#]);
    }
}
