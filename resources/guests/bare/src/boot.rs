//! Entry from the 64-bit Linux boot protocol (ring 0, RSI at the boot parameters) or from PVH (32 bits without paging,
//! EBX at the start information), down to ring 3. A VMM that knows PVH finds its entry in a note; the other is that of
//! the ELF file.
//!
//! As few instructions as possible run in ring 0: a KVM without hardware virtualization interprets them one at a time,
//! and does not know all of them. So the linker fills in the tables, and there is no interrupt descriptor table (a
//! fault is a triple fault, which is one of the ways to end). Ring 3 may use every port, by IOPL and by the task
//! state's permission bitmap: some KVMs check only the bitmap.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .note.pvh, "a", @note
    /* XEN_ELFNOTE_PHYS32_ENTRY */
    .long 4, 4, 18
    .asciz "Xen"
    .long pvh_start

    .section .text.entry, "ax"
    .global _start
_start:
    mov rdi, rsi
    xor esi, esi
    jmp start

    .code32
pvh_start:
    mov eax, cr4
    or eax, 0x20
    mov cr4, eax
    mov eax, offset page_map
    mov cr3, eax
    /* Long mode, which paging makes active. */
    mov ecx, 0xc0000080
    rdmsr
    or eax, 0x100
    wrmsr
    mov eax, cr0
    or eax, 0x80000000
    mov cr0, eax
    lgdt [gdt_pointer]
    mov edi, ebx
    mov esi, 1
    /* A far jump, spelled out for want of one in this syntax. */
    .byte 0xea
    .long start
    .short 8
    .code64

    /* RDI is at what the VMM has left, and ESI says by which protocol. */
start:
    cli
    lea rsp, [stack_end]
    /* The base of a TSS descriptor is in pieces that no relocation can fill in. */
    lea rax, [task_state]
    mov word ptr [task_descriptor + 2], ax
    shr eax, 16
    mov byte ptr [task_descriptor + 4], al
    mov byte ptr [task_descriptor + 7], ah
    lgdt [gdt_pointer]
    lea rax, [page_map]
    mov cr3, rax
    /* FXSAVE and SSE exceptions: the compiler uses SSE. */
    mov rax, cr4
    or eax, 0x600
    mov cr4, rax
    mov eax, 0x28
    ltr ax
    push 0x1b
    lea rax, [stack_end]
    push rax
    push 0x3002
    push 0x23
    lea rax, [ring_3]
    push rax
    iretq
ring_3:
    call guest_main
    ud2

    .section .data.tables, "aw"
    .balign 16
    /* Null; ring 0 code and data; ring 3 data and code; the task state with a bit for each port. */
gdt:
    .quad 0
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00cff3000000ffff
    .quad 0x00affb000000ffff
task_descriptor:
    .quad 0x0000890000002068
    .quad 0
gdt_end:
gdt_pointer:
    .short gdt_end - gdt - 1
    .quad gdt
    .balign 16
task_state:
    .long 0
    .quad stack_end
    .fill 88, 1, 0
    .short 0
    .short 104
    .fill 8192, 1, 0
    .byte 0xff

    /* The first GiB, and what holds the disks' registers: the 4 MiB at 0xd0000000 in Faultvisor, the 2 MiB at 0xfea00000
       in QEMU's microvm; all of it for ring 3. */
    .balign 4096
page_map:
    .quad page_directory_pointers + 7
    .fill 511, 8, 0
page_directory_pointers:
    .quad low_directory + 7
    .quad 0
    .quad 0
    .quad high_directory + 7
    .fill 508, 8, 0
low_directory:
    .set page, 0
    .rept 512
    .quad page + 0x87
    .set page, page + 0x200000
    .endr
high_directory:
    .fill 128, 8, 0
    .quad 0xd0000000 + 0x9f
    .quad 0xd0200000 + 0x9f
    .fill 371, 8, 0
    .quad 0xfea00000 + 0x9f
    .fill 10, 8, 0

    .section .bss.stack, "aw", @nobits
    .balign 16
    .skip 0x40000
stack_end:
"#
);

/// The protocol by which the VMM started the guest, as passed to `guest_main`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Linux `Documentation/arch/x86/boot.rst`, "64-bit Boot Protocol".
    Linux,
    /// Xen `docs/misc/pvh.pandoc`.
    Pvh,
}

impl Protocol {
    /// The value that the entry code puts into a register.
    pub fn from_register(value: u32) -> Self {
        if value == 0 { Self::Linux } else { Self::Pvh }
    }
}

/// What the VMM left in memory.
#[derive(Debug, Clone, Copy)]
pub struct BootParameters {
    /// The kernel command line.
    pub command_line: &'static str,
    /// The initrd as text; empty if there is none.
    pub initrd: &'static str,
}

/// Offsets in the "zero page" (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").
mod linux {
    pub const RAMDISK_IMAGE: u64 = 0x218;
    pub const RAMDISK_SIZE: u64 = 0x21c;
    pub const COMMAND_LINE: u64 = 0x228;
}

/// Offsets in the start information and in the first entry of its list of modules (Xen
/// `include/public/arch-x86/hvm/start_info.h`).
mod pvh {
    pub const MODULE_COUNT: u64 = 0x0c;
    pub const MODULES: u64 = 0x10;
    pub const COMMAND_LINE: u64 = 0x18;
    pub const MODULE_START: u64 = 0;
    pub const MODULE_SIZE: u64 = 8;
}

/// Longest command line that is accepted.
const COMMAND_LINE_LIMIT: usize = 4096;

impl BootParameters {
    /// The parameters at a guest address.
    ///
    /// # Safety
    ///
    /// There must be parameters of that protocol, and what they point to must not change.
    pub unsafe fn at(address: u64, protocol: Protocol) -> Self {
        // SAFETY: the caller vouches for the addresses; the fields are aligned to 4 bytes. All that a VMM leaves lies
        // below 4 GiB, whatever the width of the field.
        let field = |at: u64| u64::from(unsafe { (at as *const u32).read() });
        let (command_line, initrd, length) = match protocol {
            Protocol::Linux => (
                field(address + linux::COMMAND_LINE),
                field(address + linux::RAMDISK_IMAGE),
                field(address + linux::RAMDISK_SIZE),
            ),
            Protocol::Pvh => {
                let (start, length) = match field(address + pvh::MODULE_COUNT) {
                    0 => (0, 0),
                    _ => {
                        let module = field(address + pvh::MODULES);
                        (
                            field(module + pvh::MODULE_START),
                            field(module + pvh::MODULE_SIZE),
                        )
                    }
                };
                (field(address + pvh::COMMAND_LINE), start, length)
            }
        };
        Self {
            // SAFETY: the caller's.
            command_line: unsafe { text_up_to_zero(command_line) },
            initrd: match length {
                0 => "",
                // SAFETY: the VMM placed that many bytes there, and nothing writes to them.
                _ => text(unsafe {
                    core::slice::from_raw_parts(initrd as *const u8, length as usize)
                }),
            },
        }
    }
}

/// # Safety
///
/// The text must end in a zero, lie in mapped memory up to it, and not change.
unsafe fn text_up_to_zero(address: u64) -> &'static str {
    let start = address as *const u8;
    let mut length = 0;
    // SAFETY: the caller's.
    while length < COMMAND_LINE_LIMIT && unsafe { start.add(length).read() } != 0 {
        length += 1;
    }
    // SAFETY: the caller's.
    text(unsafe { core::slice::from_raw_parts(start, length) })
}

fn text(bytes: &'static [u8]) -> &'static str {
    core::str::from_utf8(bytes).unwrap_or("error this is not UTF-8")
}
