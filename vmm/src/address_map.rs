//! The machine's address map: what is where in memory and among the ports, and which interrupt each device has.
//!
//! What the firmware's place in the first megabyte holds is in `boot/layout.rs`.

/// The keyboard controller's ports. Port 0x61 among them is the PIT's speaker gate, which KVM answers itself.
pub const KEYBOARD_CONTROLLER: u64 = 0x60;
/// The index port of the CMOS clock; its data port follows.
pub const CMOS: u64 = 0x70;
/// COM1's ports.
pub const COM1: u64 = 0x3f8;
/// pvpanic's port, as in QEMU.
pub const PVPANIC: u64 = 0x505;
/// The sleep control and sleep status registers.
pub const POWER_CONTROL: u64 = 0x600;

/// The ISA interrupt of COM1.
pub const COM1_INTERRUPT: u32 = 4;
/// The interrupt of the power button. A PC has its power events there, and virtio devices get others.
pub const POWER_BUTTON_INTERRUPT: u32 = 9;
/// The interrupts that virtio devices get in turn: what a PC's own devices leave free of the inputs that a kernel sets up
/// without being told. More devices share them, which edges allow.
pub const VIRTIO_INTERRUPTS: [u32; 9] = [5, 6, 7, 10, 11, 12, 14, 15, 3];

/// Guest memory from 0 ends here at the latest, and leaves the rest of the first 4 GiB to devices.
pub const LOW_MEMORY_END: u64 = 0xc000_0000;
/// The registers of virtio devices, one after the other from here up to [`VIRTIO_END`].
pub const VIRTIO: u64 = 0xd000_0000;
/// The I/O APIC, which KVM emulates, is the first thing behind them.
pub const VIRTIO_END: u64 = IO_APIC as u64;
/// KVM's I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// KVM's local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// One page for the identity map that KVM needs on Intel hosts, below the place of a PC's firmware.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for its task state.
pub const TASK_STATE: usize = 0xfffb_d000;
/// Memory that does not fit below [`LOW_MEMORY_END`] goes on here.
pub const HIGH_MEMORY_START: u64 = 1 << 32;
