//! How the legacy devices describe themselves in the DSDT.

use acpi_tables::aml::{Device, IO, Interrupt, Scope};
use acpi_tables::{Aml, AmlSink};

use crate::life_cycle::Placement;

/// `_STA`: present, enabled, shown, functioning (ACPI 6.4 §6.3.7).
pub(super) const PRESENT: u8 = 0x0f;

/// Appends a device to the system bus.
pub(super) fn on_system_bus(name: &str, names: Vec<&dyn Aml>, dsdt: &mut dyn AmlSink) {
    let device = Device::new(name.into(), names);
    Scope::new("\\_SB_".into(), vec![&device]).to_aml_bytes(dsdt);
}

/// A part's ports. All of the machine's are below 64 Ki and shorter than 256.
pub(super) fn ports(placement: &Placement) -> IO {
    let range = &placement.range;
    let first = u16::try_from(range.start).unwrap_or_default();
    let count = u8::try_from(range.end.saturating_sub(range.start)).unwrap_or_default();
    IO::new(first, first, 1, count)
}

/// A part's interrupt, which is its own: by edges, as an irqfd makes them.
pub(super) fn edge(placement: &Placement) -> Interrupt {
    let interrupt = placement.interrupt.unwrap_or_default();
    Interrupt::new(true, true, false, false, interrupt)
}
