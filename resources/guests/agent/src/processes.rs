//! Child processes: one thread reaps all of them, orphans among them.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use faultvisor_agent_protocol::run::Ending;
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process_group, waitid,
};

use crate::agent::lock;

/// Stack of a thread that does little.
pub const SMALL_STACK: usize = 64 << 10;

/// Called with a child's end.
type Ended = Box<dyn FnOnce(Ending) + Send>;

/// The children of the agent's that somebody waits for.
#[derive(Debug, Clone)]
pub struct Processes(Arc<Shared>);

struct Shared {
    waiting: Mutex<HashMap<Pid, Ended>>,
    started: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Processes {
    /// Starts to reap. Orphans become children of this process.
    ///
    /// # Errors
    ///
    /// The system refuses a thread.
    pub fn start() -> io::Result<Self> {
        rustix::process::set_child_subreaper(Some(Pid::INIT))?;
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            started: Condvar::new(),
        });
        let reaper = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("reaper".into())
            .stack_size(SMALL_STACK);
        thread.spawn(move || {
            loop {
                reaper.reap();
            }
        })?;
        Ok(Self(shared))
    }

    /// Starts a process and calls `ended` when it has ended. No process is reaped meanwhile, so that its ID is its own.
    ///
    /// # Errors
    ///
    /// Those of `start`.
    pub fn spawn<E>(
        &self,
        start: impl FnOnce() -> Result<Pid, E>,
        ended: impl FnOnce(Ending) + Send + 'static,
    ) -> Result<Pid, E> {
        let mut waiting = lock(&self.0.waiting);
        let pid = start()?;
        waiting.insert(pid, Box::new(ended));
        self.0.started.notify_one();
        Ok(pid)
    }

    /// Sends a signal to the group of a process that has not been reaped; false if it has.
    pub fn signal_group(&self, pid: Pid, signal: Signal) -> bool {
        let waiting = lock(&self.0.waiting);
        // An ID that is waited for is not used again.
        waiting.contains_key(&pid) && kill_process_group(pid, signal).is_ok()
    }
}

impl Shared {
    /// Waits for a child's end and reaps whatever has ended.
    fn reap(&self) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        match waitid(WaitId::All, options) {
            Err(Errno::CHILD) => self.wait_for_a_child(),
            Err(_) => {}
            Ok(_) => {
                let mut waiting = lock(&self.waiting);
                while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
                    let Some(ending) = ending(status) else {
                        continue;
                    };
                    if let Some(ended) = waiting.remove(&pid) {
                        ended(ending);
                    }
                }
            }
        }
    }

    /// Whoever has no child has no descendant either, until one is started.
    fn wait_for_a_child(&self) {
        let waiting = lock(&self.waiting);
        if waiting.is_empty() {
            drop(
                self.started
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
    }
}

fn ending(status: WaitStatus) -> Option<Ending> {
    let exited = status.exit_status().map(Ending::Status);
    exited.or_else(|| status.terminating_signal().map(Ending::Signal))
}
