//! From the 64-bit Linux boot protocol (ring 0, RSI at the boot parameters) to ring 3.
//!
//! As few instructions as possible run in ring 0: a KVM without hardware virtualization interprets them, one at a time,
//! and not all of them. So the tables are data that the linker fills in, there is no interrupt descriptor table (a
//! fault is a triple fault, which is one of the ways to end). Ring 3 may use every port, by IOPL and by the permission
//! bitmap of the task state both: the KVM on one of our machines looks only at the latter.

use core::arch::global_asm;

global_asm!(
    r#"
    .section .text.entry, "ax"
    .global _start
_start:
    cli
    mov rdi, rsi
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

    /* The first GiB, and the 4 MiB at 0xd0000000 where the disks' registers are; all of it for ring 3. */
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
    .fill 382, 8, 0

    .section .bss.stack, "aw", @nobits
    .balign 16
    .skip 0x40000
stack_end:
"#
);

/// What the VMM has left in memory (Linux `Documentation/arch/x86/boot.rst`, "The Real-Mode Kernel Header").
#[derive(Debug, Clone, Copy)]
pub struct BootParameters(u64);

const RAMDISK_IMAGE: u64 = 0x218;
const RAMDISK_SIZE: u64 = 0x21c;
const COMMAND_LINE: u64 = 0x228;

/// Longer command lines than this are nobody's.
const COMMAND_LINE_LIMIT: usize = 4096;

impl BootParameters {
    /// The parameters at a guest address.
    ///
    /// # Safety
    ///
    /// There must be boot parameters, and what they point to must stay as it is.
    pub unsafe fn at(address: u64) -> Self {
        Self(address)
    }

    fn field(self, offset: u64) -> u64 {
        // SAFETY: whoever made `self` vouches for the address; the field is aligned to 4 bytes.
        u64::from(unsafe { ((self.0 + offset) as *const u32).read() })
    }

    /// The kernel command line.
    pub fn command_line(self) -> &'static str {
        let start = self.field(COMMAND_LINE) as *const u8;
        let mut length = 0;
        // SAFETY: the command line ends in a zero, and lies in memory up to that.
        while length < COMMAND_LINE_LIMIT && unsafe { start.add(length).read() } != 0 {
            length += 1;
        }
        // SAFETY: as above; nothing writes to it.
        text(unsafe { core::slice::from_raw_parts(start, length) })
    }

    /// The initrd as text; empty if there is none.
    pub fn initrd(self) -> &'static str {
        let (start, length) = (self.field(RAMDISK_IMAGE), self.field(RAMDISK_SIZE));
        if length == 0 {
            return "";
        }
        // SAFETY: the VMM put that many bytes there, and nothing writes to them.
        text(unsafe { core::slice::from_raw_parts(start as *const u8, length as usize) })
    }
}

fn text(bytes: &'static [u8]) -> &'static str {
    core::str::from_utf8(bytes).unwrap_or("error this is not UTF-8")
}
