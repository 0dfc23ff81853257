//! The ACPI tables: the processors, the interrupt controller, the devices, and the ways to switch off.
//!
//! The machine is hardware-reduced (ACPI 6.4 §4.1): it has none of the fixed hardware of a PC, and a kernel does not
//! look for any. What there is instead: a generic event device that brings the power button's events (§5.6.9), and
//! registers to sleep and to reset. Stock distribution kernels look for virtio-mmio devices here and nowhere else.

use std::sync::Arc;

use acpi_tables::aml::{
    Device, EISAName, IO, Interrupt, Method, Name, Notify, Package, Path, ResourceTemplate, Scope,
};
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
use faultvisor_devices::legacy::{
    COM_PORTS, COM1_BASE, COM1_INTERRUPT, KeyboardController, PowerControl, Pvpanic,
};

use faultvisor_devices::life_cycle::Placement;
use faultvisor_devices::virtio::transport::Transport;

use super::layout;

/// Where KVM's in-kernel interrupt controllers are.
const LOCAL_APIC: u32 = 0xfee0_0000;
const IO_APIC: u32 = 0xfec0_0000;

/// The interrupt of the power button. A PC has its power events there, and disks get others.
pub const POWER_BUTTON_INTERRUPT: u32 = 9;
/// What the power button's object is notified of when it is pressed (ACPI 6.4 §4.8.2.2.1.2).
const BUTTON_PRESSED: u8 = 0x80;
/// The path of the power button's object.
const POWER_BUTTON: &str = "\\_SB_.PWRB";

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

/// What the DSDT says of virtio devices.
pub fn terms(devices: &[(Arc<dyn Transport>, Placement)]) -> Vec<u8> {
    let mut terms = Bytes::default();
    for (device, placement) in devices {
        device.describe(placement, &mut terms);
    }
    terms.0
}

/// The tables, as they are to lie at [`layout::ACPI_TABLES`]; the RSDP comes first.
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

/// What to write to enter S5 (ACPI 6.4 §7.4.2), and the devices.
fn dsdt(devices: &[u8]) -> Vec<u8> {
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, OEM_TABLE, OEM_REVISION);
    let off = PowerControl::SOFT_OFF;
    let soft_off = Name::new("_S5_".into(), &Package::new(vec![&off, &off]));
    dsdt.append_slice(&bytes_of(&soft_off));
    dsdt.append_slice(&platform());
    dsdt.append_slice(devices);
    dsdt.as_slice().to_vec()
}

/// The devices that every machine has: the first serial port, the power button with the generic event device that
/// tells of it, and pvpanic under the hardware ID that QEMU gave it.
fn platform() -> Vec<u8> {
    let present = 0x0fu8;
    let serial_ports = ports(COM1_BASE, COM_PORTS);
    let serial_interrupt = edge(COM1_INTERRUPT);
    let serial_resources = ResourceTemplate::new(vec![&serial_ports, &serial_interrupt]);
    let serial_id = EISAName::new("PNP0501");
    let serial: [&dyn Aml; 4] = [
        &Name::new("_HID".into(), &serial_id),
        &Name::new("_UID".into(), &0u8),
        &Name::new("_STA".into(), &present),
        &Name::new("_CRS".into(), &serial_resources),
    ];
    let button_id = EISAName::new("PNP0C0C");
    let button: [&dyn Aml; 3] = [
        &Name::new("_HID".into(), &button_id),
        &Name::new("_UID".into(), &0u8),
        &Name::new("_STA".into(), &present),
    ];
    // The device has one interrupt, so that the method need not ask which it was.
    let power_button = Path::new(POWER_BUTTON);
    let notify = Notify::new(&power_button, &BUTTON_PRESSED);
    let event_interrupt = edge(POWER_BUTTON_INTERRUPT);
    let event_resources = ResourceTemplate::new(vec![&event_interrupt]);
    let events: [&dyn Aml; 4] = [
        &Name::new("_HID".into(), &"ACPI0013"),
        &Name::new("_UID".into(), &0u8),
        &Name::new("_CRS".into(), &event_resources),
        &Method::new("_EVT".into(), 1, true, vec![&notify]),
    ];
    let panic_port = ports(Pvpanic::PORT.into(), Pvpanic::PORTS);
    let panic_resources = ResourceTemplate::new(vec![&panic_port]);
    let panic: [&dyn Aml; 3] = [
        &Name::new("_HID".into(), &"QEMU0001"),
        &Name::new("_STA".into(), &present),
        &Name::new("_CRS".into(), &panic_resources),
    ];
    bytes_of(&Scope::new(
        "\\_SB_".into(),
        vec![
            &Device::new("COM1".into(), serial.to_vec()),
            &Device::new("PWRB".into(), button.to_vec()),
            &Device::new("GED_".into(), events.to_vec()),
            &Device::new("PEVT".into(), panic.to_vec()),
        ],
    ))
}

/// A range of ports. All of the machine's are below 64 Ki and shorter than 256.
fn ports(first: u64, count: u64) -> IO {
    let first = u16::try_from(first).unwrap_or_default();
    IO::new(first, first, 1, u8::try_from(count).unwrap_or_default())
}

/// An interrupt of one device's own, by edges, as an irqfd makes them.
fn edge(interrupt: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, interrupt)
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
    fadt.reset_reg = byte_port(KeyboardController::COMMAND_PORT);
    fadt.reset_value = KeyboardController::PULSE_RESET;
    fadt.sleep_control_reg = byte_port(PowerControl::SLEEP_CONTROL.into());
    fadt.sleep_status_reg = byte_port(PowerControl::SLEEP_STATUS.into());
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
        LocalInterruptController::Address(LOCAL_APIC),
    );
    for cpu in 0..cpus {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    // Its ID must differ from every local APIC's.
    madt.add_structure(IoApic::new(cpus, IO_APIC, 0));
    bytes_of(&madt)
}

#[cfg(test)]
mod tests {
    use faultvisor_devices::life_cycle::{Done, RestoreError, Run, SaveError, State};
    use faultvisor_devices::virtio::device::{Activation, Asleep, VirtioDevice};
    use faultvisor_devices::virtio::transport::RingFeatures;
    use faultvisor_devices::virtio::transport::mmio::MmioTransport;
    use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

    use super::*;

    /// A device that nobody uses.
    struct NoDevice;

    impl VirtioDevice for NoDevice {
        fn device_id(&self) -> u32 {
            0
        }
        fn features(&self) -> u64 {
            0
        }
        fn queue_sizes(&self) -> &[u16] {
            &[]
        }
        fn kick_events(&self) -> &[EventFd] {
            &[]
        }
        fn read_config(&self, _: u64, _: &mut [u8]) {}
        fn write_config(&self, _: u64, _: u64, _: &[u8]) {}
        fn config_generation(&self) -> u32 {
            0
        }
        fn activate(&self, _: Activation) {}
        fn reset(&self, _: Done) {}
        fn sleep(&self, _: Asleep) {}
        fn wake(&self, _: Run) {}
        fn close(&self, _: Done) {}
        fn save(&self) -> Result<State, SaveError> {
            Err(SaveError::Ended)
        }
        fn restore(&self, _: &State) -> Result<(), RestoreError> {
            Err(RestoreError::Ended)
        }
    }

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
        let transport: Arc<dyn Transport> = Arc::new(transport);
        let slot = |instance| {
            let range = 0xd000_0000..0xd000_1000;
            let interrupt = Some(5);
            let placement = Placement {
                instance,
                range,
                interrupt,
            };
            (transport.clone(), placement)
        };
        let slots: Vec<_> = (0..).take(MAX_DEVICES).map(slot).collect();
        let area = tables(2, &terms(&slots));
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
