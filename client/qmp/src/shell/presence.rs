//! Whether the server is still there, between the thread that hears of its end and the one that reads lines.
//!
//! Nothing but a signal ends the waiting for a key. It is sent only while no command is executed, and once it may have
//! been sent no command is any more: so whoever presses Ctrl-C during a command ends the program, as anywhere, and the
//! signal that says that the server has gone does not.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libqmp::Error;
use rustix::process::{Signal, getpid, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Between two signals: the first may come just before a key is waited for.
const AGAIN: Duration = Duration::from_millis(50);

/// The side that reads lines.
#[derive(Debug)]
pub struct Presence {
    state: Arc<State>,
    /// Gone when no line is read any more.
    _reads: Sender<()>,
}

/// The side that hears of the end.
#[derive(Debug)]
pub struct Absence {
    state: Arc<State>,
    reads: Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    ended: Mutex<Option<Error>>,
    /// Changed only while the other is locked.
    calls: Arc<AtomicBool>,
}

/// Both sides. SIGINT ends the process only while a command is executed from now on.
///
/// # Errors
///
/// The system refuses it.
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
    /// Does something that may execute commands, unless the server has gone.
    ///
    /// # Errors
    ///
    /// Why it has gone, if it has before or meanwhile.
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

    /// Why the server has gone, if it has.
    ///
    /// # Errors
    ///
    /// That.
    pub fn is_there(&self) -> Result<(), Error> {
        self.check(false)
    }
}

impl Absence {
    /// Tells the other side, which hears of it with its next line. Returns whether it executes a command: that fails by
    /// itself, or has been answered, and then the other side looks here.
    pub fn note(&self, error: Error) -> bool {
        let ended = self.state.ended.lock();
        let mut ended = ended.unwrap_or_else(PoisonError::into_inner);
        *ended = Some(error);
        self.state.calls.load(Ordering::SeqCst)
    }

    /// Tells the other side at once.
    pub fn tell(self, error: Error) {
        if self.note(error) {
            return;
        }
        while self.reads.recv_timeout(AGAIN) == Err(RecvTimeoutError::Timeout) {
            // It is this process, which may signal itself.
            let _ = kill_process(getpid(), Signal::INT);
        }
    }
}
