//! A vCPU's state when KVM cannot continue it, for the log.

use std::fmt::Write as _;

use kvm_bindings::{kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Bytes of code to show from the instruction on: the longest has 15.
const CODE: usize = 16;

/// The registers of a vCPU and its current instruction, as far as KVM returns them: one line for each group.
pub fn describe(vcpu: &VcpuFd, memory: &GuestMemoryMmap) -> String {
    let mut text = String::new();
    match vcpu.get_regs() {
        Ok(general) => {
            describe_general(&mut text, &general);
            describe_code(&mut text, vcpu, memory, general.rip);
        }
        // Writing to a string cannot fail, here and below.
        Err(error) => drop(write!(text, "\n  no registers: {error}")),
    }
    match vcpu.get_sregs() {
        Ok(special) => describe_special(&mut text, &special),
        Err(error) => drop(write!(text, "\n  no segment registers: {error}")),
    }
    text
}

fn describe_general(text: &mut String, registers: &kvm_regs) {
    let rows = [
        [
            ("rax", registers.rax),
            ("rbx", registers.rbx),
            ("rcx", registers.rcx),
            ("rdx", registers.rdx),
        ],
        [
            ("rsi", registers.rsi),
            ("rdi", registers.rdi),
            ("rsp", registers.rsp),
            ("rbp", registers.rbp),
        ],
        [
            ("r8 ", registers.r8),
            ("r9 ", registers.r9),
            ("r10", registers.r10),
            ("r11", registers.r11),
        ],
        [
            ("r12", registers.r12),
            ("r13", registers.r13),
            ("r14", registers.r14),
            ("r15", registers.r15),
        ],
    ];
    for row in rows {
        text.push_str("\n ");
        for (name, value) in row {
            let _ = write!(text, " {name}={value:016x}");
        }
    }
    let (rip, rflags) = (registers.rip, registers.rflags);
    let _ = write!(text, "\n  rip={rip:016x} rflags={rflags:08x}");
}

fn describe_special(text: &mut String, registers: &kvm_sregs) {
    let _ = write!(
        text,
        "\n  cr0={:08x} cr2={:016x} cr3={:016x} cr4={:08x} efer={:x}",
        registers.cr0, registers.cr2, registers.cr3, registers.cr4, registers.efer
    );
    let segments: [(&str, &kvm_segment); 7] = [
        ("cs", &registers.cs),
        ("ss", &registers.ss),
        ("ds", &registers.ds),
        ("es", &registers.es),
        ("fs", &registers.fs),
        ("gs", &registers.gs),
        ("tr", &registers.tr),
    ];
    text.push_str("\n ");
    for (name, segment) in segments {
        let _ = write!(text, " {name}={:04x}:{:x}", segment.selector, segment.base);
    }
    let (gdt, idt) = (&registers.gdt, &registers.idt);
    let _ = write!(
        text,
        "\n  gdt={:x}+{:x} idt={:x}+{:x}",
        gdt.base, gdt.limit, idt.base, idt.limit
    );
}

/// The bytes at `address`, if the guest's page tables map it to memory.
fn describe_code(text: &mut String, vcpu: &VcpuFd, memory: &GuestMemoryMmap, address: u64) {
    let mut code = [0; CODE];
    let place = vcpu.translate_gva(address).ok();
    let place = place.filter(|translation| translation.valid != 0);
    let read = place.map(|translation| {
        let place = GuestAddress(translation.physical_address);
        memory.read(&mut code, place).unwrap_or_default()
    });
    text.push_str("\n  code");
    match read {
        Some(length @ 1..) => {
            for byte in &code[..length] {
                let _ = write!(text, " {byte:02x}");
            }
        }
        Some(0) => text.push_str(": none, there is no memory"),
        None => text.push_str(": none, the address is not mapped"),
    }
}
