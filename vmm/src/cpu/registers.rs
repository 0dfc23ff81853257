//! Initial registers and tables of a guest.
//!
//! By the 64-bit Linux boot protocol (Linux `Documentation/arch/x86/boot.rst`, "64-bit boot protocol"): long mode, an
//! identity mapping, flat segments, RSI at the boot parameters, interrupts disabled. By PVH (Xen
//! `docs/misc/pvh.pandoc`): protected mode without paging, flat 32-bit segments, EBX at the start information.

use kvm_bindings::{kvm_fpu, kvm_lapic_state, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::CpuError;
use crate::boot::{Entry, layout};

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
const PAGE: u64 = 4096;
/// The size of the mapping.
const GIGABYTES: u64 = 4;

/// Selectors, as in the boot protocol.
const CODE: u16 = 0x10;
const DATA: u16 = 0x18;
const TASK: u16 = 0x20;

const CODE_32: u16 = 0x28;
const TASK_32: u16 = 0x30;

/// The descriptors of those selectors: flat 64-bit code, flat data, a task state; for PVH, flat 32-bit code, and a task
/// state of the length that it requires.
const DESCRIPTORS: [u64; 7] = [
    0,
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x008f_8b00_0000_ffff,
    0x00cf_9b00_0000_ffff,
    0x0000_8b00_0000_0067,
];

/// The table's limit.
const GDT_LIMIT: u16 = 7 * 8 - 1;

/// Local APIC registers, by byte offset (Intel SDM, volume 3, §11.4).
const LVT_LINT0: usize = 0x350;
const LVT_LINT1: usize = 0x360;
/// Delivery modes: from the 8259, and as an NMI.
const DELIVER_EXTERNAL: u32 = 7 << 8;
const DELIVER_NMI: u32 = 4 << 8;
const DELIVERY_AND_MASK: u32 = 7 << 8 | 1 << 16;

pub(super) fn write_tables(memory: &GuestMemoryMmap) -> Result<(), CpuError> {
    for (descriptor, address) in DESCRIPTORS.iter().zip((layout::GDT..).step_by(8)) {
        memory.write_obj(*descriptor, GuestAddress(address))?;
    }
    memory.write_obj(0u64, GuestAddress(layout::IDT))?;
    let pointers = layout::PAGE_DIRECTORY_POINTERS;
    memory.write_obj(pointers | PRESENT_WRITABLE, GuestAddress(layout::PAGE_MAP))?;
    for index in 0..GIGABYTES {
        let directory = layout::PAGE_DIRECTORIES + index * PAGE;
        memory.write_obj(
            directory | PRESENT_WRITABLE,
            GuestAddress(pointers + index * 8),
        )?;
    }
    // A kernel anywhere below 4 GiB can access itself and its parameters.
    let entry = |index: u64| (index * LARGE_PAGE_SIZE) | LARGE_PAGE | PRESENT_WRITABLE;
    let entries: Vec<u8> = (0..GIGABYTES * 512)
        .flat_map(|index| entry(index).to_le_bytes())
        .collect();
    memory.write_slice(&entries, GuestAddress(layout::PAGE_DIRECTORIES))?;
    Ok(())
}

/// A segment register's hidden part, from its descriptor.
fn segment(selector: u16) -> kvm_segment {
    let descriptor = DESCRIPTORS[usize::from(selector / 8)];
    let bit = |shift: u32| u8::from(descriptor >> shift & 1 != 0);
    let bits = |shift: u32, mask: u64| u8::try_from(descriptor >> shift & mask).unwrap_or_default();
    let limit = u32::try_from(descriptor & 0xffff).unwrap_or_default();
    kvm_segment {
        base: 0,
        // The limit is in pages for flat segments, and in bytes otherwise.
        limit: if bit(55) == 1 { u32::MAX } else { limit },
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

pub(super) fn configure(vcpu: &VcpuFd, cpu: u8, entry: Entry) -> Result<(), CpuError> {
    let mut special = vcpu
        .get_sregs()
        .map_err(CpuError::kvm(cpu, "segment registers"))?;
    set_mode(&mut special, entry);
    vcpu.set_sregs(&special)
        .map_err(CpuError::kvm(cpu, "segment registers"))?;
    vcpu.set_regs(&general(entry))
        .map_err(CpuError::kvm(cpu, "registers"))?;
    let floating_point = kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..Default::default()
    };
    vcpu.set_fpu(&floating_point)
        .map_err(CpuError::kvm(cpu, "floating-point state"))
}

fn set_mode(special: &mut kvm_sregs, entry: Entry) {
    let (code, task) = match entry {
        Entry::Linux64(_) => (CODE, TASK),
        Entry::Pvh(_) => (CODE_32, TASK_32),
    };
    special.cs = segment(code);
    special.tr = segment(task);
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
    special.gdt.limit = GDT_LIMIT;
    match entry {
        Entry::Linux64(_) => {
            special.idt.base = layout::IDT;
            special.idt.limit = 7;
            special.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE | CR0_NUMERIC_ERROR | CR0_PAGING;
            special.cr3 = layout::PAGE_MAP;
            special.cr4 = CR4_PHYSICAL_ADDRESS_EXTENSION;
            special.efer |= EFER_LONG_MODE_ENABLE | EFER_LONG_MODE_ACTIVE;
        }
        Entry::Pvh(_) => {
            special.cr0 = CR0_PROTECTION | CR0_EXTENSION_TYPE;
            special.cr4 = 0;
        }
    }
}

fn general(entry: Entry) -> kvm_regs {
    let registers = kvm_regs {
        rip: entry.address(),
        rflags: RFLAGS_RESERVED,
        ..Default::default()
    };
    match entry {
        Entry::Linux64(_) => kvm_regs {
            rsi: layout::BOOT_PARAMETERS,
            rsp: layout::STACK,
            rbp: layout::STACK,
            ..registers
        },
        Entry::Pvh(_) => kvm_regs {
            rbx: layout::START_INFO,
            ..registers
        },
    }
}

/// Connects the 8259 to LINT0 and the NMI to LINT1, as on a PC.
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
