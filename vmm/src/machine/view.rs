//! What the monitor's thread may look at, so that it need not ask the machine's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use faultvisor_devices::block::policy::error_policy::IoStatus;
use faultvisor_devices::sync::lock;
use faultvisor_devices::virtio::block::Disk;
use faultvisor_schema::{
    Event, KvmInfo, MachineCommand, MachineReturn, NameInfo, RunState, StatusInfo,
};

/// A machine as it looks to other threads.
#[derive(Clone)]
pub struct View {
    shared: Arc<Shared>,
}

struct Shared {
    name: Option<String>,
    disks: BTreeMap<String, Arc<Disk>>,
    /// The run state, from power-on on. Held by the machine's thread while it changes anything: what it raises in
    /// between is followed by a state that it has not published yet.
    state: Mutex<Option<RunState>>,
}

impl View {
    pub(super) fn new(name: Option<String>, disks: BTreeMap<String, Arc<Disk>>) -> Self {
        let state = Mutex::new(None);
        Self {
            shared: Arc::new(Shared { name, disks, state }),
        }
    }

    /// For the machine's thread: keeps others from looking until the guard, with the new state in it, is gone.
    pub(super) fn change(&self) -> MutexGuard<'_, Option<RunState>> {
        lock(&self.shared.state)
    }

    /// Whether a disk has that name.
    pub fn has_disk(&self, name: &str) -> bool {
        self.shared.disks.contains_key(name)
    }

    /// Whether the state that a replayed event tells of holds, as far as can be seen from here.
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

    /// The answer to a command that only asks, unless the machine's thread is busy: then it has to be asked, so that
    /// its answer fits to the events that the client has seen.
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

    /// The run state, unless it is not known yet or about to change.
    fn state(&self) -> Option<RunState> {
        match self.shared.state.try_lock() {
            Ok(state) => *state,
            Err(TryLockError::Poisoned(error)) => *PoisonError::into_inner(error),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// What `query-status` says of a state.
pub(super) fn status(state: RunState) -> StatusInfo {
    StatusInfo {
        running: state == RunState::Running,
        status: state,
    }
}

/// What `query-kvm` says.
pub(super) fn kvm() -> KvmInfo {
    KvmInfo {
        enabled: true,
        present: true,
    }
}
