//! Signals that ask this program to end.
//!
//! They are caught from the program's start on, in a thread of their own, which never waits for a guest: a stopped
//! machine answers nothing.

use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use faultvisor_harness::guest::Control;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::terminal;

/// How long a command that was killed may take to end, before it is left.
const KILLED: Duration = Duration::from_secs(10);

/// What a signal ends.
#[derive(Debug)]
enum Phase {
    /// This program.
    Program,
    /// The process of a machine, whose end the main thread notices.
    Machine(OwnedFd),
    /// A command, by this many signals until now.
    Command(Control, u32),
    /// The lab.
    Lab(Arc<AtomicBool>),
}

#[derive(Debug)]
struct Shared {
    phase: Mutex<Phase>,
    /// The first signal; 0 if there was none.
    signal: AtomicI32,
}

/// Ends what goes on when a signal comes. Clones of it are the same.
#[derive(Debug, Clone)]
pub struct Interruption(Arc<Shared>);

impl Interruption {
    /// Catches SIGHUP, SIGINT and SIGTERM, and SIGWINCH for a command's terminal.
    ///
    /// # Errors
    ///
    /// The host refuses a handler or a thread.
    pub fn catch() -> Result<Self, Failure> {
        let signals = Signals::new([SIGHUP, SIGINT, SIGTERM, SIGWINCH]);
        let mut signals = signals.map_err(Failure::host("cannot catch signals"))?;
        let shared = Arc::new(Shared {
            phase: Mutex::new(Phase::Program),
            signal: AtomicI32::new(0),
        });
        let interruption = Self(Arc::clone(&shared));
        let thread = thread::Builder::new().name("signals".to_owned());
        thread
            .spawn(move || {
                for signal in signals.forever() {
                    shared.act(signal);
                }
            })
            .map_err(Failure::host("cannot start a thread"))?;
        Ok(interruption)
    }

    /// The first signal, if one has come.
    pub fn signal(&self) -> Option<i32> {
        Some(self.0.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    /// From now on a signal kills this machine's process, which its owner has not waited for yet.
    ///
    /// # Errors
    ///
    /// The host refuses a descriptor of it.
    pub fn machine(&self, process: u32) -> Result<(), Failure> {
        let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or(io::Error::from(io::ErrorKind::InvalidInput));
        // A descriptor, and not the ID, which another process may have later.
        let opened = pid.and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let process = opened.map_err(Failure::host("cannot watch the machine's process"))?;
        *self.0.phase() = Phase::Machine(process);
        Ok(())
    }

    /// From now on a signal ends the lab.
    pub fn lab(&self, cancelled: Arc<AtomicBool>) {
        *self.0.phase() = Phase::Lab(cancelled);
    }

    /// Until the result is dropped, signals are the command's: the second kills it, and the third leaves it.
    pub fn command(&self, control: Control) -> OfCommand {
        let before = std::mem::replace(&mut *self.0.phase(), Phase::Command(control, 0));
        OfCommand {
            shared: Arc::clone(&self.0),
            before: Some(before),
        }
    }
}

/// Signals are a command's until this is dropped.
#[derive(Debug)]
pub struct OfCommand {
    shared: Arc<Shared>,
    before: Option<Phase>,
}

impl Drop for OfCommand {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            *self.shared.phase() = before;
        }
    }
}

impl Shared {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn act(&self, signal: i32) {
        let mut phase = self.phase();
        if signal == SIGWINCH {
            if let Phase::Command(control, _) = &*phase {
                let control = control.clone();
                let (rows, columns) = terminal::size();
                // The command may have ended, or have no terminal.
                aside(move || drop(control.resize(rows, columns)));
            }
            return;
        }
        let first = self
            .signal
            .compare_exchange(0, signal, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        match &mut *phase {
            Phase::Machine(process) if first => {
                // It may have ended.
                let _ = pidfd_send_signal(process, Signal::KILL);
            }
            Phase::Lab(cancelled) if first => cancelled.store(true, Ordering::Relaxed),
            Phase::Command(control, asked) => {
                *asked += 1;
                let control = control.clone();
                match *asked {
                    1 => aside(move || drop(control.signal(signal))),
                    2 => {
                        let killed = control.clone();
                        aside(move || drop(killed.kill()));
                        aside(move || {
                            thread::sleep(KILLED);
                            control.disconnect();
                        });
                    }
                    _ => control.disconnect(),
                }
            }
            _ => {
                terminal::restore();
                process::exit(128 + signal);
            }
        }
    }
}

/// Does something in a thread of its own, as it may wait for the guest.
pub fn aside(act: impl FnOnce() + Send + 'static) {
    let started: io::Result<_> = thread::Builder::new().name("aside".to_owned()).spawn(act);
    // Without a thread, the next signal tries again.
    drop(started);
}
