//! The user's terminal: raw while the guest has it, and put back on every way out.
#![expect(
    unsafe_code,
    reason = "only a signal handler can put the terminal back after a fatal signal"
)]

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::termios::{OptionalActions, OutputModes, Termios, isatty, tcgetattr, tcsetattr};

/// How the terminal was before it was made raw.
static BEFORE: OnceLock<Termios> = OnceLock::new();

/// Signals that end the process with no chance to clean up. Those that can be waited for (SIGINT,
/// SIGTERM, SIGHUP) end the machine in an orderly way instead, and SIGSYS is the sandbox's.
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
    /// Makes standard input raw, if it is a terminal. Output is still processed, so that lines of
    /// the program's own begin on the left.
    ///
    /// # Errors
    ///
    /// When the terminal refuses.
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

/// Puts the terminal back as it was before it was made raw. Only makes a system call, so that a
/// signal handler may call it.
pub fn restore() {
    if let Some(before) = BEFORE.get() {
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
    }
}

extern "C" fn on_fatal(signal: libc::c_int) {
    restore();
    // SAFETY: both functions are async-signal-safe (POSIX.1-2017 §2.4.3), and the default action
    // of the signal is to end the process, as it would have without this handler.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

fn catch_fatal_signals() {
    for signal in FATAL {
        // SAFETY: the handler only calls functions that are async-signal-safe.
        unsafe {
            libc::signal(signal, on_fatal as *const () as libc::sighandler_t);
        }
    }
}
