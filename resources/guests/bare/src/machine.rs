//! The machine's ports: the serial console, and the ways to end.

use core::arch::asm;
use core::fmt;

const COM1: u16 = 0x3f8;
const LINE_STATUS: u16 = COM1 + 5;
const DATA_READY: u8 = 1;
/// The keyboard controller's command port, and its command to pulse the reset line.
const KEYBOARD_COMMAND: u16 = 0x64;
const PULSE_RESET: u8 = 0xfe;
/// The ACPI sleep control register, and SLP_EN with the sleep type of S5.
const SLEEP_CONTROL: u16 = 0x600;
const SOFT_OFF: u8 = 1 << 5 | 5 << 2;
/// pvpanic's port.
const PVPANIC: u16 = 0x505;
/// A device's registers: mapped, but not executable.
const NO_MEMORY: u64 = 0xd000_0000;

fn write_port(port: u16, value: u8) {
    // SAFETY: a port of the machine's; it touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

fn read_port(port: u16) -> u8 {
    let value;
    // SAFETY: as in `write_port`.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// Writes to the serial console, whose transmitter is always ready.
#[derive(Debug, Clone, Copy)]
pub struct Serial;

impl Serial {
    /// Writes bytes unchanged.
    pub fn write(bytes: &[u8]) {
        // SAFETY: the string instruction reads exactly those bytes.
        unsafe {
            asm!(
                "rep outsb",
                in("dx") COM1,
                inout("rsi") bytes.as_ptr() => _,
                inout("rcx") bytes.len() => _,
                options(readonly, nostack)
            );
        }
    }

    /// Whether input is waiting.
    pub fn has_input() -> bool {
        read_port(LINE_STATUS) & DATA_READY != 0
    }

    /// Waits for a byte.
    pub fn read() -> u8 {
        while !Self::has_input() {
            core::hint::spin_loop();
        }
        read_port(COM1)
    }
}

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Self::write(text.as_bytes());
        Ok(())
    }
}

/// The ways to end.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// ACPI S5.
    Off,
    /// The keyboard controller's reset line.
    Reset,
    /// A triple fault.
    TripleFault,
    /// Executes where there is no memory, which no KVM can emulate.
    Lost,
}

/// Reports the guest's state to pvpanic: bit 0 that it has panicked, bit 1 that a crash kernel takes over.
pub fn panicked(what: u8) {
    write_port(PVPANIC, what);
}

/// Ends the guest, and never returns even if the machine goes on.
pub fn end(how: End) -> ! {
    match how {
        End::Off => write_port(SLEEP_CONTROL, SOFT_OFF),
        End::Reset => write_port(KEYBOARD_COMMAND, PULSE_RESET),
        // SAFETY: nothing comes after it; without an interrupt table the fault is a triple fault.
        End::TripleFault => unsafe { asm!("ud2", options(noreturn)) },
        // SAFETY: nothing comes after it.
        End::Lost => unsafe { asm!("jmp {}", in(reg) NO_MEMORY, options(noreturn)) },
    }
    spin()
}

/// Spins for ever.
pub fn spin() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The time stamp counter.
pub fn cycles() -> u64 {
    // SAFETY: every x86-64 CPU has it.
    unsafe { core::arch::x86_64::_rdtsc() }
}
