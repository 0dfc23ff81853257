//! All processes of a run.

use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal};

use super::cgroup::Cgroup;
use super::tree;
use crate::processes::Processes;

/// The variable that marks a run's processes, where there are no control groups.
pub const MARK: &str = "FAULTVISOR_RUN";

/// The processes of a run: its control group, or else what descends from its first process.
#[derive(Debug)]
pub struct Group {
    processes: Processes,
    first: Pid,
    cgroup: Option<Cgroup>,
    mark: String,
    is_killed: AtomicBool,
}

impl Group {
    /// The group of a first process, which leads a session.
    pub fn new(processes: Processes, first: Pid, cgroup: Option<Cgroup>, mark: String) -> Self {
        Self {
            processes,
            first,
            cgroup,
            mark,
            is_killed: AtomicBool::new(false),
        }
    }

    /// The ID of its first process.
    pub fn id(&self) -> u32 {
        u32::try_from(self.first.as_raw_nonzero().get()).unwrap_or(0)
    }

    /// Sends a signal to the first process and its process group; `SIGKILL` kills all.
    pub fn signal(&self, signal: Signal) {
        if signal == Signal::KILL {
            self.kill();
        } else {
            self.processes.signal_group(self.first, signal);
        }
    }

    /// Kills all processes.
    pub fn kill(&self) {
        self.is_killed.store(true, Ordering::Relaxed);
        self.processes.signal_group(self.first, Signal::KILL);
        let is_killed = self.cgroup.as_ref().is_some_and(Cgroup::kill);
        if !is_killed {
            tree::kill(self.first, &self.mark);
        }
    }

    /// Removes what is left of it in the system, when its first process has ended.
    pub fn tidy(&self) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.remove();
        }
    }
}
