//! Registers and tables for the 64-bit Linux boot protocol (Linux
//! `Documentation/arch/x86/boot.rst`, "64-bit boot protocol"): long mode, memory mapped one to
//! one, flat segments, RSI at the boot parameters, interrupts off.

use kvm_bindings::{kvm_fpu, kvm_lapic_state, kvm_regs, kvm_segment};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::CpuError;
use crate::boot::layout;

/// Control register bits (Intel SDM, volume 3, §2.5).
const CR0_PROTECTION: u64 = 1;
const CR0_EXTENSION_TYPE: u64 = 1 << 4;
const CR0_NUMERIC_ERROR: u64 = 1 << 5;
const CR0_PAGING: u64 = 1 << 31;
const CR4_PHYSICAL_ADDRESS_EXTENSION: u64 = 1 << 5;
const EFER_LONG_MODE_ENABLE: u64 = 1 << 8;
const EFER_LONG_MODE_ACTIVE: u64 = 1 << 10;
/// The bit of RFLAGS that is always set.
const RFLAGS_RESERVED: u64 = 2;

/// Page table bits.
const PRESENT_WRITABLE: u64 = 0b11;
const LARGE_PAGE: u64 = 1 << 7;
const LARGE_PAGE_SIZE: u64 = 2 << 20;

/// Selectors, as the boot protocol names them.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

/// The descriptors behind those selectors: flat 64-bit code, flat data, a task state.
const DESCRIPTORS: [u64; 5] = [
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x008f_8b00_0000_ffff,
];

/// Local APIC registers, by byte offset (Intel SDM, volume 3, §11.4).
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
/// Delivery modes: from the 8259, and as a non-maskable interrupt.
const DELIVER_EXTERNAL: u32 = 7 << 8;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVERY_AND_MASK: u32 = 7 << 8 | 1 << 16;

pub(super) fn write_tables(memory: &GuestMemoryMmap) -> Result<(), CpuError> {
    for (descriptor, address) in DESCRIPTORS.iter().zip((layout::GDT..).step_by(8)) {
        memory.write_obj(*descriptor, GuestAddress(address))?;
    }
    memory.write_obj(0u64, GuestAddress(layout::IDT))?;
    let tables = [
        (layout::PAGE_MAP, layout::PAGE_DIRECTORY_POINTERS),
        (layout::PAGE_DIRECTORY_POINTERS, layout::PAGE_DIRECTORY),
    ];
    for (table, next) in tables {
        memory.write_obj(next | PRESENT_WRITABLE, GuestAddress(table))?;
    }
    // The first gigabyte: the kernel, its parameters and its command line are there.
    for index in 0..512 {
        let entry = (index * LARGE_PAGE_SIZE) | LARGE_PAGE | PRESENT_WRITABLE;
        memory.write_obj(entry, GuestAddress(layout::PAGE_DIRECTORY + index * 8))?;
    }
    Ok(())
}

/// A segment register's hidden part, from its descriptor.
fn segment(selector: u16) -> kvm_segment {
    let descriptor = DESCRIPTORS[usize::from(selector / 8)];
    let bit = |shift: u32| u8::from(descriptor >> shift & 1 != 0);
    let bits = |shift: u32, mask: u64| u8::try_from(descriptor >> shift & mask).unwrap_or_default();
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: bits(40, 0xf),
        s: bit(44),
        dpl: bits(45, 3),
        present: bit(47),
        avl: bit(52),
        l: bit(53),
        db: bit(54),
        g: bit(55),
        ..Default::default()
    }
}

pub(super) fn configure(vcpu: &VcpuFd, cpu: u8, entry: u64) -> Result<(), CpuError> {
    let mut special = vcpu
        .get_sregs()
        .map_err(CpuError::kvm(cpu, "segment registers"))?;
    special.cs = segment(CODE);
    special.tr = segment(TASK);
    for data in [
        &mut special.ds,
        &mut special.es,
        &mut special.fs,
        &mut special.gs,
        &mut special.ss,
    ] {
        *data = segment(DATA);
    }
    special.gdt.base = layout::GDT;
    special.gdt.limit = 5 * 8 - 1;
    special.idt.base = layout::IDT;
    special.idt.limit = 7;
    special.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE | CR0_NUMERIC_ERROR | CR0_PAGING;
    special.cr3 = layout::PAGE_MAP;
    special.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
    special.efer |= EFER_LONG_MODE_ENABLE | EFER_LONG_MODE_ACTIVE;
    vcpu.set_sregs(&special)
        .map_err(CpuError::kvm(cpu, "segment registers"))?;
    let general = kvm_regs {
        rip: entry,
        rsi: layout::BOOT_PARAMETERS,
        rsp: layout::STACK,
        rbp: layout::STACK,
        rflags: RFLAGS_RESERVED,
        ..Default::default()
    };
    vcpu.set_regs(&general)
        .map_err(CpuError::kvm(cpu, "registers"))?;
    let floating_point = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..Default::default()
    };
    vcpu.set_fpu(&floating_point)
        .map_err(CpuError::kvm(cpu, "floating-point state"))
}

/// Wires the 8259 to LINT0 and the NMI to LINT1, as on a PC.
pub(super) fn configure_local_apic(vcpu: &VcpuFd, cpu: u8) -> Result<(), CpuError> {
    let mut state = vcpu.get_lapic().map_err(CpuError::kvm(cpu, "local APIC"))?;
    set_delivery(&mut state, LVT_LINT0, DELIVER_EXTERNAL);
    set_delivery(&mut state, LVT_LINT1, DELIVER_NMI);
    vcpu.set_lapic(&state)
        .map_err(CpuError::kvm(cpu, "local APIC"))
}

fn set_delivery(state: &mut kvm_lapic_state, register: usize, mode: u32) {
    let bytes = &mut state.regs[register..register + 4];
    let mut value = [0; 4];
    for (to, from) in value.iter_mut().zip(&*bytes) {
        *to = from.to_ne_bytes()[0];
    }
    let value = u32::from_le_bytes(value) & !DELIVERY_AND_MASK | mode;
    for (to, from) in bytes.iter_mut().zip(value.to_le_bytes()) {
        *to = std::ffi::c_char::from_ne_bytes([from]);
    }
}
