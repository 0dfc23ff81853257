//! Whether the server is still connected, shared by the thread that notices and the one that reads lines.
//!
//! Only a signal interrupts the wait for a key. It is sent only while no command executes, and afterwards none is
//! executed: Ctrl-C during a command still ends the program, and the signal for a lost server does not.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libqmp::Error;
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// The interval between signals: the first may arrive just before the wait begins.
const AGAIN: Duration = Duration::from_millis(50);

/// The side of the thread that reads lines.
#[derive(Debug)]
pub struct Presence {
    state: Arc<State>,
    /// Dropped when no more lines are read.
    _reads: Sender<()>,
}

/// The side of the thread that notices the end.
#[derive(Debug)]
pub struct Absence {
    state: Arc<State>,
    reads: Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    ended: Mutex<Option<Error>>,
    /// Changed only with `gone` locked.
    calls: Arc<AtomicBool>,
}

/// Makes both sides. From now on SIGINT ends the process only while a command executes.
///
/// # Errors
///
/// A system call fails.
pub fn presence() -> io::Result<(Presence, Absence)> {
    let state = Arc::new(State::default());
    flag::register_conditional_default(SIGINT, Arc::clone(&state.calls))?;
    let (_reads, reads) = channel();
    let absence = Absence {
        state: Arc::clone(&state),
        reads,
    };
    Ok((Presence { state, _reads }, absence))
}

impl Presence {
    /// Runs a closure that may execute commands, unless the server is gone.
    ///
    /// # Errors
    ///
    /// Why the server is gone, before or during the call.
    pub fn call<T>(&self, call: impl FnOnce() -> T) -> Result<T, Error> {
        self.check(true)?;
        let result = call();
        self.check(false)?;
        Ok(result)
    }

    fn check(&self, calls: bool) -> Result<(), Error> {
        let ended = self.state.ended.lock();
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        let calls = calls && ended.is_none();
        self.state.calls.store(calls, Ordering::SeqCst);
        ended.clone().map_or(Ok(()), Err)
    }

    /// Checks that the server is connected.
    ///
    /// # Errors
    ///
    /// Why it is gone.
    pub fn is_there(&self) -> Result<(), Error> {
        self.check(false)
    }
}

impl Absence {
    /// Records the end; the other side notices it at its next line. Returns whether a command is executing: that fails by
    /// itself or is answered, and then the other side checks.
    pub fn note(&self, error: Error) -> bool {
        let ended = self.state.ended.lock();
        let mut ended = ended.unwrap_or_else(PoisonError::into_inner);
        *ended = Some(error);
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Records the end, and interrupts the wait for a key.
    pub fn tell(self, error: Error) {
        if self.note(error) {
            return;
        }
        while self.reads.recv_timeout(AGAIN) == Err(RecvTimeoutError::Timeout) {
            // The process may signal itself.
            let _ = kill_process(getpid(), Signal::INT);
        }
    }
}
