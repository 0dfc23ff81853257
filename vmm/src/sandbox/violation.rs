//! The response to a refused call: a line on standard error that names it, and the end of the program.
//!
//! The handler runs in the thread that made the call, at any point. It allocates nothing, takes no lock, and makes only
//! calls that every filter permits.
#![expect(
    unsafe_code,
    reason = "a signal's handler reads what the kernel hands it by raw pointers"
)]

use std::ffi::{CStr, c_int, c_void};
use std::fmt::{self, Write};

use syscalls::Sysno;
use vmm_sys_util::signal::register_signal_handler;

use crate::terminal;

/// The exit status after a refused call: a shell's for a process that SIGSYS has ended.
const STATUS: c_int = 128 + libc::SIGSYS;

/// `SYS_SECCOMP` of siginfo.h: a filter sent the signal.
const FROM_FILTER: c_int = 1;

/// The limit for writing the line, which may have no reader.
const PATIENCE: libc::timeval = libc::timeval {
    tv_sec: 1,
    tv_usec: 0,
};

/// The number of arenas of the C library's allocator: as many as it makes without counting CPUs.
#[cfg(target_env = "gnu")]
const ARENAS: c_int = 8;

/// Files that the C library opens if it can. The open fails without ending the program.
const DISPENSABLE: [&CStr; 2] = [
    // malloc(3), before it trims a thread's arena for the first time.
    c"/proc/sys/vm/overcommit_memory",
    // Counting CPUs.
    c"/sys/devices/system/cpu/online",
];

/// The members of `siginfo_t` for SIGSYS, which libc does not name.
#[repr(C)]
struct Refusal {
    signal: c_int,
    errno: c_int,
    code: c_int,
    padding: c_int,
    address: *const c_void,
    call: c_int,
    architecture: u32,
}

/// Installs the handler for refused calls.
pub(super) fn catch() -> Result<(), vmm_sys_util::errno::Error> {
    register_signal_handler(libc::SIGSYS, on_refusal)
}

/// Keeps the allocator from reading files about CPUs at run time.
pub(super) fn settle_allocator() {
    // SAFETY: it sets a number, and this is the only thread. An unknown option changes nothing.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Disables stack traces, which need files: opening these would be a refused call, and hide the panic or the failed
/// allocation.
pub(super) fn settle_backtraces() {
    const VARIABLE: &str = "RUST_BACKTRACE";
    if std::env::var_os(VARIABLE).is_none_or(|value| value == "0") {
        return;
    }
    tracing::info!("{VARIABLE} is of no use in the sandbox: call stacks need --sandbox off");
    // SAFETY: everything else in this program accesses the environment through the standard library, which locks it.
    unsafe { std::env::set_var(VARIABLE, "0") };
}

extern "C" fn on_refusal(_: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both to a handler with SA_SIGINFO, valid while it runs, and SIGSYS has these members.
    let (refusal, context) = unsafe {
        (
            &*info.cast::<Refusal>(),
            &mut *context.cast::<libc::ucontext_t>(),
        )
    };
    let registers = &mut context.uc_mcontext.gregs;
    let call = (refusal.code == FROM_FILTER).then_some(refusal.call);
    if call.is_some_and(|call| i64::from(call) == libc::SYS_openat) && is_dispensable(registers) {
        registers[RESULT] = -i64::from(libc::EACCES);
        return;
    }
    terminal::restore();
    let mut line = Line::default();
    // A line that is too long is cut.
    let _ = describe(&mut line, call, registers);
    line.end();
    end_in_time();
    // SAFETY: the bytes are initialised and belong to `line`; both calls are async-signal-safe, and the second does not
    // return.
    unsafe {
        libc::write(libc::STDERR_FILENO, line.bytes.as_ptr().cast(), line.length);
        libc::_exit(STATUS);
    }
}

/// Ends the program in a second, whatever this thread waits for.
fn end_in_time() {
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: PATIENCE,
    };
    // SAFETY: both calls only read what they are given, and are async-signal-safe. An action of zeroes with a handler is
    // one without flags, which blocks no other signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_late as *const () as libc::sighandler_t;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
    }
}

extern "C" fn on_late(_: c_int) {
    // SAFETY: it is async-signal-safe, and does not return.
    unsafe { libc::_exit(STATUS) }
}

/// Whether this openat(2) is for a file that the C library can do without.
fn is_dispensable(registers: &[i64; 23]) -> bool {
    let Ok(address) = usize::try_from(registers[REGISTERS[1]].cast_unsigned()) else {
        return false;
    };
    let path = std::ptr::with_exposed_provenance(address);
    // SAFETY: the thread was about to pass this to the kernel as a path. If it is not one, the worst outcome is another
    // signal, in a program that is ending.
    let path = unsafe { CStr::from_ptr(path) };
    DISPENSABLE.contains(&path)
}

/// The argument registers of a call.
const REGISTERS: [usize; 3] = [
    libc::REG_RDI as usize,
    libc::REG_RSI as usize,
    libc::REG_RDX as usize,
];

/// The register of its result.
const RESULT: usize = libc::REG_RAX as usize;

fn describe(line: &mut Line, call: Option<c_int>, registers: &[i64; 23]) -> fmt::Result {
    let mut name = [0; 16];
    // SAFETY: the kernel writes at most 16 bytes, with a terminating zero.
    let name = unsafe {
        libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr());
        CStr::from_bytes_until_nul(&name)
    };
    let name = name.ok().and_then(|name| name.to_str().ok());
    let name = name.unwrap_or("?");
    let Some(call) = call else {
        return write!(line, "faultvisor: thread '{name}' has been sent SIGSYS");
    };
    let number = usize::try_from(call).ok();
    let known = number.and_then(Sysno::new).map_or("?", |call| call.name());
    write!(
        line,
        "faultvisor: the sandbox refuses thread '{name}' the system call {known} ({call}), with "
    )?;
    for (index, register) in REGISTERS.into_iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(line, "{separator}{:#x}", registers[register])?;
    }
    write!(
        line,
        "; please report this, and use --sandbox off until then"
    )
}

/// A line of bounded length, built without allocation.
struct Line {
    bytes: [u8; 320],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            bytes: [0; 320],
            length: 0,
        }
    }
}

impl Line {
    /// Ends it, overwriting the last byte if there is no room.
    fn end(&mut self) {
        self.length = self.length.min(self.bytes.len() - 1);
        self.bytes[self.length] = b'\n';
        self.length += 1;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = &mut self.bytes[self.length..];
        let count = text.len().min(room.len());
        room[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        if count == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> &str {
        std::str::from_utf8(&line.bytes[..line.length]).unwrap()
    }

    #[test]
    fn a_refused_call_is_described_by_thread_name_number_and_arguments() {
        let thread = std::thread::Builder::new().name("disk-d0".to_owned());
        let thread = thread.spawn(|| {
            let mut registers = [0; 23];
            registers[REGISTERS[1]] = 0x5401;
            registers[REGISTERS[2]] = -1;
            let mut line = Line::default();
            describe(&mut line, Some(16), &registers).unwrap();
            line.end();
            text(&line).to_owned()
        });
        assert_eq!(
            thread.unwrap().join().unwrap(),
            "faultvisor: the sandbox refuses thread 'disk-d0' the system call ioctl (16), with 0x0, 0x5401, \
             0xffffffffffffffff; please report this, and use --sandbox off until then\n"
        );
    }

    #[test]
    fn a_call_without_a_name_is_described_by_its_number() {
        let mut line = Line::default();
        describe(&mut line, Some(99_999), &[0; 23]).unwrap();
        assert!(text(&line).contains("the system call ? (99999)"));
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_still_a_line() {
        let mut line = Line::default();
        assert!(line.write_str(&"x".repeat(1000)).is_err());
        line.end();
        assert_eq!(line.length, 320);
        assert!(text(&line).ends_with("x\n"));
    }
}
