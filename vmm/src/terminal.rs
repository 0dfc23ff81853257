//! The user's terminal: raw while the guest has it, restored on every way out.
#![expect(
    unsafe_code,
    reason = "only a signal handler can put the terminal back after a fatal signal"
)]

use std::os::fd::AsFd;
use std::ptr;
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

/// The terminal's state before it was made raw.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// The previous actions of [`FATAL`]: Rust reports stack overflows by some of them.
static PREVIOUS: OnceLock<[libc::sigaction; FATAL.len()]> = OnceLock::new();

/// Signals that end the process without cleanup. Those that can be waited for (SIGINT, SIGTERM, SIGHUP) end the machine
/// in order instead, and SIGSYS is the sandbox's.
const FATAL: [libc::c_int; 6] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    libc::SIGQUIT,
];

/// Keeps the terminal raw until it is dropped.
#[derive(Debug)]
pub struct RawTerminal(());

impl RawTerminal {
    /// Makes standard input raw if it is a terminal. Output is still processed, so that the program's own lines begin
    /// in the first column.
    ///
    /// # Errors
    ///
    /// If the terminal refuses.
    pub fn enter() -> std::io::Result<Option<Self>> {
        let stdin = std::io::stdin();
        if !isatty(&stdin) {
            return Ok(None);
        }
        let before = tcgetattr(&stdin)?;
        let mut raw = before.clone();
        raw.make_raw();
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        if BEFORE.set(before).is_ok() {
            catch_fatal_signals();
            let report = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore();
                report(panic);
            }));
        }
        tcsetattr(stdin.as_fd(), OptionalActions::Now, &raw)?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

/// Restores the terminal. Makes only system calls, so that a signal handler may call it.
pub fn restore() {
    if let Some(before) = BEFORE.get() {
        // In the background SIGTTOU would stop the program, which is about to end.
        without_sigttou(|| {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        });
    }
}

/// Performs an action with SIGTTOU blocked in this thread.
fn without_sigttou(act: impl FnOnce()) {
    // SAFETY: the sets are this function's own; sigemptyset initialises the one before it is read, pthread_sigmask the
    // other; all calls are async-signal-safe.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        let mut before: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut blocked);
        libc::sigaddset(&raw mut blocked, libc::SIGTTOU);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        act();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut());
    }
}

/// Signals that an instruction raises, and raises again when the handler returns.
const OF_INSTRUCTIONS: [libc::c_int; 4] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE];

extern "C" fn on_fatal(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    restore();
    // SAFETY: the kernel passes a valid `info` to a handler with SA_SIGINFO.
    let code = unsafe { (*info).si_code };
    // Codes above 0 come from the kernel. BUS_MCEERR_AO reports a memory error that no access has hit yet.
    let by_instruction = OF_INSTRUCTIONS.contains(&signal)
        && code > 0
        && !(signal == libc::SIGBUS && code == libc::BUS_MCEERR_AO);
    let place = FATAL.iter().position(|fatal| *fatal == signal);
    let previous = PREVIOUS.get().zip(place);
    // SAFETY: all functions are async-signal-safe (POSIX.1-2017 §2.4.3), and the action is one that the kernel
    // returned. The signal is blocked until this handler returns: what is raised is delivered then, with its default
    // action, which ends the process.
    unsafe {
        match previous {
            Some((actions, place)) if by_instruction => {
                libc::sigaction(signal, &raw const actions[place], ptr::null_mut());
            }
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::raise(signal);
            }
        }
    }
}

/// Installs the handler in front of the existing one, on the alternate stack that Rust gives each thread for stack
/// overflows.
fn catch_fatal_signals() {
    // SAFETY: an action of zeroes is the default one, without flags and blocked signals. The kernel copies actions from
    // and to memory of this function. The handler calls only functions that are async-signal-safe.
    unsafe {
        let mut previous: [libc::sigaction; FATAL.len()] = std::mem::zeroed();
        for (signal, previous) in FATAL.into_iter().zip(&mut previous) {
            libc::sigaction(signal, ptr::null(), previous);
        }
        if PREVIOUS.set(previous).is_err() {
            return;
        }
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fatal as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        for signal in FATAL {
            libc::sigaction(signal, &raw const action, ptr::null_mut());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::env;
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Command, Stdio};

    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// Set for the process whose stack overflows.
    const CHILD: &str = "FAULTVISOR_TEST_OVERFLOWS";

    fn overflow(depth: u64) -> u64 {
        let here = black_box([depth; 64]);
        if depth == u64::MAX {
            return 0;
        }
        overflow(black_box(depth + 1)) + here[7]
    }

    #[test]
    fn a_stack_overflow_restores_the_terminal_and_is_reported() {
        if env::var_os(CHILD).is_some() {
            let _terminal = RawTerminal::enter().unwrap().unwrap();
            black_box(overflow(0));
            return;
        }
        let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&control).unwrap();
        unlockpt(&control).unwrap();
        let name = ptsname(&control, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let terminal = rustix::fs::open(name, flags, Mode::empty()).unwrap();
        let before = format!("{:?}", tcgetattr(&terminal).unwrap());
        let said = tempfile::tempfile().unwrap();
        let name = "terminal::tests::a_stack_overflow_restores_the_terminal_and_is_reported";
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::from(terminal.try_clone().unwrap()))
            .stdout(Stdio::null())
            .stderr(Stdio::from(said.try_clone().unwrap()))
            .status()
            .unwrap();
        let said = text(said);
        assert_eq!(status.signal(), Some(libc::SIGABRT), "{said}");
        assert!(said.contains("has overflowed its stack"), "{said}");
        let after = format!("{:?}", tcgetattr(&terminal).unwrap());
        assert_eq!(after, before);
    }

    fn text(mut file: File) -> String {
        use std::io::{Read, Seek};
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }
}
