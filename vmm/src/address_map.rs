//! The machine's address map: guest-physical addresses, I/O ports and interrupts of each device.
//!
//! `boot/layout.rs` has the layout of the first megabyte.

/// The keyboard controller's first port. Port 0x61 in between is the PIT's speaker gate, which KVM emulates.
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
/// The interrupt of the power button: the SCI of a PC. Virtio devices get others.
pub const POWER_BUTTON_INTERRUPT: u32 = 9;
/// The interrupts assigned to virtio devices in turn: the legacy inputs that a PC's own devices leave free, which a
/// kernel sets up by default. More devices share them, which edge-triggered interrupts allow.
pub const VIRTIO_INTERRUPTS: [u32; 9] = [5, 6, 7, 10, 11, 12, 14, 15, 3];

/// The upper bound of low guest memory. The rest of the first 4 GiB belongs to devices.
pub const LOW_MEMORY_END: u64 = 0xc000_0000;
/// The first of the virtio-mmio windows, which are contiguous up to [`VIRTIO_END`].
pub const VIRTIO: u64 = 0xd000_0000;
/// The end of the virtio-mmio windows: KVM's I/O APIC follows.
pub const VIRTIO_END: u64 = IO_APIC as u64;
/// KVM's I/O APIC.
pub const IO_APIC: u32 = 0xfec0_0000;
/// KVM's local APICs.
pub const LOCAL_APIC: u32 = 0xfee0_0000;
/// One page for the identity map that KVM needs on Intel hosts, below the place of a PC's firmware.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for the task state segment that KVM needs there.
pub const TASK_STATE: usize = 0xfffb_d000;
/// The start of guest memory that does not fit below [`LOW_MEMORY_END`].
pub const HIGH_MEMORY_START: u64 = 1 << 32;
