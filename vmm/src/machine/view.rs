//! State that the monitor's thread reads without asking the machine's thread.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use faultvisor_devices::block::policy::error_policy::IoStatus;
use faultvisor_devices::sync::lock;
use faultvisor_devices::virtio::block::VirtioBlock;
use faultvisor_schema::{
    Event, KvmInfo, MachineCommand, MachineReturn, NameInfo, RunState, StatusInfo,
};

/// The machine's state, published to other threads.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

struct Shared {
    name: Option<String>,
    disks: BTreeMap<String, Arc<VirtioBlock>>,
    /// The run state, from power-on on. The machine's thread holds the lock during a change: events that it raises
    /// meanwhile belong to a state that is not published yet.
    state: Mutex<Option<RunState>>,
}

impl View {
    pub(super) fn new(name: Option<String>, disks: BTreeMap<String, Arc<VirtioBlock>>) -> Self {
        let state = Mutex::new(None);
        Self {
            shared: Arc::new(Shared { name, disks, state }),
        }
    }

    /// For the machine's thread: keeps readers out until the guard, with the new state in it, is dropped.
    pub(super) fn change(&self) -> MutexGuard<'_, Option<RunState>> {
        lock(&self.shared.state)
    }

    /// Whether there is a disk of that name.
    pub fn has_disk(&self, name: &str) -> bool {
        self.shared.disks.contains_key(name)
    }

    /// Whether a replayed event still describes the current state, as far as the published state shows.
    pub fn is_current(&self, event: &Event) -> bool {
        match event {
            Event::Stop => self.state() != Some(RunState::Running),
            Event::GuestPanicked(_) => self.state() == Some(RunState::GuestPanicked),
            Event::BlockIoError(error) => self
                .shared
                .disks
                .get(&error.device)
                .is_some_and(|disk| disk.io_status() != IoStatus::Ok),
            _ => true,
        }
    }

    /// Answers a query, unless the machine's thread is busy. That thread then answers, so that the answer is consistent
    /// with the events that the client has seen.
    pub fn answer(&self, command: &MachineCommand) -> Option<MachineReturn> {
        let state = self.state()?;
        match command {
            MachineCommand::QueryStatus => Some(MachineReturn::QueryStatus(status(state))),
            MachineCommand::QueryName => Some(MachineReturn::QueryName(self.name())),
            MachineCommand::QueryKvm => Some(MachineReturn::QueryKvm(kvm())),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> NameInfo {
        NameInfo {
            name: self.shared.name.clone(),
        }
    }

    /// The run state; none before power-on and during a change.
    fn state(&self) -> Option<RunState> {
        match self.shared.state.try_lock() {
            Ok(state) => *state,
            Err(TryLockError::Poisoned(error)) => *PoisonError::into_inner(error),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The answer to `query-status` in a state.
pub(super) fn status(state: RunState) -> StatusInfo {
    StatusInfo {
        running: state == RunState::Running,
        status: state,
    }
}

/// The answer to `query-kvm`.
pub(super) fn kvm() -> KvmInfo {
    KvmInfo {
        enabled: true,
        present: true,
    }
}
