//! A virtqueue's state as plain data.

use serde::{Deserialize, Serialize};

use super::queue::Configuration;

/// An enabled queue: its configuration, and the device's position in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueState {
    /// The driver's configuration, unchecked.
    pub configuration: Configuration,
    /// Index of the next entry of the available ring that the device takes.
    pub next_available: u16,
    /// Index of the next entry of the used ring that the device writes.
    pub next_used: u16,
}

impl QueueState {
    /// A queue that no device has used since its driver enabled it.
    pub fn unused(configuration: Configuration) -> Self {
        Self {
            configuration,
            next_available: 0,
            next_used: 0,
        }
    }
}

/// One for each queue of a device. A queue that the driver has not enabled is `None`.
pub type QueueStates = Vec<Option<QueueState>>;
