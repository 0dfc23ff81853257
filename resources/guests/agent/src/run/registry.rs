//! The runs that are not forgotten, by their IDs.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use faultvisor_agent_protocol::failure::{Failure, FailureKind};
use faultvisor_agent_protocol::run::RunId;

use super::group::Group;
use super::mailbox::Mailbox;
use crate::agent::lock;

/// The most runs at once, with those that have ended and whose client does not know yet.
const RUNS: usize = 512;
/// The most runs that have ended without their client's knowledge.
const ENDED: usize = 64;

/// A run as other connections see it.
#[derive(Debug)]
pub struct Entry {
    /// Its ID.
    pub id: RunId,
    /// Its processes.
    pub group: Group,
    /// What its thread is told.
    pub mailbox: Arc<Mailbox>,
    /// Its terminal, if it has one.
    pub terminal: Option<OwnedFd>,
}

/// All runs.
#[derive(Debug, Default)]
pub struct Runs {
    last: AtomicU64,
    known: Mutex<BTreeMap<RunId, Arc<Entry>>>,
}

impl Runs {
    /// The ID of another run.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn next(&self) -> Result<RunId, Failure> {
        if lock(&self.known).len() >= RUNS {
            let message = format!("the agent has {RUNS} programs already");
            return Err(Failure::new(FailureKind::Busy, message));
        }
        Ok(RunId(self.last.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Adds a run.
    pub fn add(&self, entry: Arc<Entry>) {
        lock(&self.known).insert(entry.id, entry);
    }

    /// Finds a run.
    pub fn find(&self, id: RunId) -> Result<Arc<Entry>, Failure> {
        let found = lock(&self.known).get(&id).cloned();
        found.ok_or_else(|| no_such_run(id))
    }

    /// Removes a run.
    pub fn remove(&self, id: RunId) {
        lock(&self.known).remove(&id);
    }

    /// The number of runs.
    pub fn count(&self) -> u64 {
        u64::try_from(lock(&self.known).len()).unwrap_or(u64::MAX)
    }

    /// Has the oldest runs forgotten that have ended without a client, beyond the bound.
    pub fn forget_excess(&self) {
        let known = lock(&self.known);
        let ended = known.values().filter(|entry| entry.mailbox.is_abandoned());
        let ended: Vec<_> = ended.collect();
        let excess = ended.len().saturating_sub(ENDED);
        for entry in &ended[..excess] {
            entry.mailbox.forget();
        }
    }
}

/// The failure of a request for a run that is not there.
pub fn no_such_run(id: RunId) -> Failure {
    let message = format!("there is no run {}: it has ended, or never was", id.0);
    Failure::new(FailureKind::NoSuchRun, message)
}
