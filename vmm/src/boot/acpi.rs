//! The ACPI tables: the processors, the interrupt controller, the devices, and the ways to switch off.
//!
//! The machine is hardware-reduced (ACPI 6.4 §4.1): it has none of the fixed hardware of a PC, and a kernel does not
//! look for any. What there is instead: a generic event device that brings the power button's events (§5.6.9), and
//! registers to sleep and to reset. Stock distribution kernels look for virtio-mmio devices here and nowhere else.

use acpi_tables::facs::FACS;
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use faultvisor_devices::legacy::{KeyboardController, PowerControl};

use super::layout;
use crate::address_map;

const OEM: [u8; 6] = *b"FLTVSR";
const OEM_TABLE: [u8; 8] = *b"FAULTVSR";
const OEM_REVISION: u32 = 1;

/// FADT revision 5 and later: every field that is used here.
const FADT_REVISION: u8 = 6;
/// FADT boot architecture flags: there is no VGA, no MSI, and no clock that a kernel should probe: it has the time of
/// day from kvmclock. Nor are there ISA devices or a keyboard controller to look for: what there is is in the DSDT.
const BOOT_NO_VGA: u16 = 1 << 2;
const BOOT_NO_MSI: u16 = 1 << 3;
const BOOT_NO_CMOS_CLOCK: u16 = 1 << 5;

/// Tables must lie on a boundary of this many bytes (the FACS asks for it).
const ALIGNMENT: usize = 64;

/// Devices that fit into the area with room to spare (a test builds that many).
pub const MAX_DEVICES: usize = 1024;

/// Bytes that a table is written to.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl AmlSink for Bytes {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }
}

fn bytes_of(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Bytes::default();
    table.to_aml_bytes(&mut bytes);
    bytes.0
}

/// The tables, as they are to lie at [`layout::ACPI_TABLES`]; the RSDP comes first. The devices have described themselves in
/// `devices`, the DSDT's terms.
pub fn tables(cpus: u8, devices: &[u8]) -> Vec<u8> {
    let mut area = vec![0; Rsdp::len()];
    let mut place = |table: &[u8]| {
        area.resize(area.len().next_multiple_of(ALIGNMENT), 0);
        let address = layout::ACPI_TABLES + area.len() as u64;
        area.extend(table);
        address
    };
    let facs = place(&bytes_of(&FACS::new()));
    let dsdt = place(&dsdt(devices));
    let fadt = place(&fadt(facs, dsdt));
    let madt = place(&madt(cpus));
    let mut xsdt = XSDT::new(OEM, OEM_TABLE, OEM_REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = place(&bytes_of(&xsdt));
    let rsdp = bytes_of(&Rsdp::new(OEM, xsdt));
    area[..rsdp.len()].copy_from_slice(&rsdp);
    area
}

fn dsdt(devices: &[u8]) -> Vec<u8> {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    dsdt.append_slice(devices);
    dsdt.as_slice().to_vec()
}

fn fadt(facs: u64, dsdt: u64) -> Vec<u8> {
    let mut fadt = FADTBuilder::new(OEM, OEM_TABLE, OEM_REVISION)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::Wbinvd)
        // Neither button is among the fixed hardware.
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        // Nor is the clock's alarm.
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup);
    fadt.major_version = FADT_REVISION;
    // The first 4 GiB: both addresses fit the 32-bit fields, which every version reads.
    let low = |address: u64| u32::try_from(address).unwrap_or_default();
    fadt.firmware_ctrl = low(facs).into();
    fadt.dsdt = low(dsdt).into();
    // No C-states but C1: latencies above these limits say so.
    fadt.p_lvl2_lat = 101.into();
    fadt.p_lvl3_lat = 1001.into();
    fadt.iapc_boot_arch = (BOOT_NO_VGA | BOOT_NO_MSI | BOOT_NO_CMOS_CLOCK).into();
    fadt.reset_reg = byte_port(address_map::KEYBOARD_CONTROLLER + KeyboardController::COMMAND);
    fadt.reset_value = KeyboardController::PULSE_RESET;
    fadt.sleep_control_reg = byte_port(address_map::POWER_CONTROL + PowerControl::CONTROL);
    fadt.sleep_status_reg = byte_port(address_map::POWER_CONTROL + PowerControl::STATUS);
    bytes_of(&fadt.finalize())
}

/// A register of one byte in the space of ports.
fn byte_port(port: u64) -> GAS {
    GAS::new(AddressSpace::SystemIo, 8, 0, AccessSize::ByteAccess, port)
}

fn madt(cpus: u8) -> Vec<u8> {
    let mut madt = MADT::new(
        OEM,
        OEM_TABLE,
        OEM_REVISION,
        LocalInterruptController::Address(address_map::LOCAL_APIC),
    );
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    // Its ID must differ from every local APIC's.
    madt.add_structure(IoApic::new(cpus, address_map::IO_APIC, 0));
    bytes_of(&madt)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use faultvisor_devices::life_cycle::{LifeCycle, Placement};
    use faultvisor_devices::virtio::transport::RingFeatures;
    use faultvisor_devices::virtio::transport::mmio::MmioTransport;
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;
    use crate::device_manager::testing::NoDevice;

    fn u64_at(bytes: &[u8], offset: usize) -> u64 {
        u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
    }

    fn table(area: &[u8], address: u64) -> &[u8] {
        let start = usize::try_from(address - layout::ACPI_TABLES).unwrap();
        let length = u32::from_le_bytes(area[start + 4..start + 8].try_into().unwrap());
        &area[start..start + length as usize]
    }

    #[test]
    fn every_table_is_reachable_and_sums_to_zero() {
        let line = Arc::new(EventFd::new(EFD_NONBLOCK).unwrap());
        let transport = MmioTransport::new(Arc::new(NoDevice), RingFeatures::default(), line);
        let mut terms = Vec::new();
        for instance in (0..).take(MAX_DEVICES) {
            let placement = Placement {
                instance,
                range: 0xd000_0000..0xd000_1000,
                interrupt: Some(5),
            };
            transport.describe(&placement, &mut terms);
        }
        let area = tables(2, &terms);
        let end = layout::ACPI_TABLES + area.len() as u64;
        assert!(end <= layout::ACPI_TABLES_END);
        let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        assert_eq!(&area[..8], b"RSD PTR ");
        assert_eq!((sum(&area[..20]), sum(&area[..36])), (0, 0));
        let xsdt = table(&area, u64_at(&area, 24));
        let fadt = table(&area, u64_at(xsdt, 36));
        let madt = table(&area, u64_at(xsdt, 44));
        let dsdt = table(
            &area,
            u64::from(u32::from_le_bytes(fadt[40..44].try_into().unwrap())),
        );
        let facs = table(
            &area,
            u64::from(u32::from_le_bytes(fadt[36..40].try_into().unwrap())),
        );
        assert_eq!(&facs[..4], b"FACS");
        for (table, name) in [
            (xsdt, b"XSDT"),
            (fadt, b"FACP"),
            (madt, b"APIC"),
            (dsdt, b"DSDT"),
        ] {
            assert_eq!(&table[..4], name);
            assert_eq!(sum(table), 0, "{}", String::from_utf8_lossy(name));
        }
        // Two local APICs of 8 bytes and one I/O APIC of 12.
        assert_eq!(madt.len(), 44 + 2 * 8 + 12);
    }
}
