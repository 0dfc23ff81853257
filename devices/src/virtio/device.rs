//! The interface between a transport and a virtio device.

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use super::interrupt::VirtioInterrupt;
use super::queue_state::QueueStates;
use crate::life_cycle::{Done, RestoreError, Run, SaveError, State};

/// What the device receives on DRIVER_OK, or when it is restored.
pub struct Activation {
    /// The negotiated features: the device's and the rings'.
    pub features: u64,
    /// The queues. A fresh driver's are unused.
    pub queues: QueueStates,
    /// Notifies the driver.
    pub interrupt: Arc<dyn VirtioInterrupt>,
}

/// Reports the end of [`VirtioDevice::sleep`]: the queues' states with nothing in flight, empty for a device that is not
/// active; or `None` when the device was woken before it came to that. Runs on any thread, and must not block. Dropped
/// instead of called where the device's thread has ended.
pub type Asleep = Box<dyn FnOnce(Option<QueueStates>) + Send>;

/// A virtio device, as its transport sees it.
///
/// The transport owns the registers and the negotiation; the device owns what its queues mean.
///
/// ```text
///                    asleep                                     awake
///            ┌──────────────────────┐        wake       ┌──────────────────────┐
///  (new) ───▶│       inactive       │──────────────────▶│       inactive       │
///            │                      │◀──────────────────│                      │
///            └──────────────────────┘       sleep       └──────────────────────┘
///              │ activate   ▲ reset                       │ activate   ▲ reset
///              ▼            │                             ▼            │
///            ┌──────────────────────┐        wake       ┌──────────────────────┐
///            │        active        │──────────────────▶│        active        │
///            │ takes no descriptors │◀─ drains ◀─ sleep │   serves its queues  │
///            └──────────────────────┘                   └──────────────────────┘
///              save, restore                              needs_reset: back to inactive
/// ```
///
/// A device begins inactive and asleep. `activate`, `reset`, `sleep` and `wake` take effect in the order in which they are
/// called; none of them waits for the device.
pub trait VirtioDevice: Send + Sync {
    /// The device ID (virtio 1.2 §5).
    fn device_id(&self) -> u32;

    /// The feature bits of its device type that it offers (virtio 1.2 §2.2). Those of the rings and of the transport are
    /// the transport's.
    fn features(&self) -> u64;

    /// The largest size of each of its queues, in descriptors.
    fn queue_sizes(&self) -> &[u16];

    /// The eventfd of each queue that receives the guest's notifications.
    fn kick_events(&self) -> &[EventFd];

    /// Reads its configuration space. Bytes past its end read as zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Handles a write to its configuration space by a driver with these features, none before they are negotiated.
    /// Read-only fields keep their values.
    fn write_config(&self, features: u64, offset: u64, data: &[u8]);

    /// Changes whenever the configuration space may have changed (virtio 1.2 §2.5).
    fn config_generation(&self) -> u32;

    /// Starts to use the queues, once it is awake. Calls [`VirtioInterrupt::needs_reset`] for
    /// invalid queues.
    fn activate(&self, activation: Activation);

    /// Returns to its state after power-on, apart from being awake or asleep, and calls `done` when it does not access guest
    /// memory any more.
    fn reset(&self, done: Done);

    /// Takes no more descriptors, and reports the queues' states when nothing is in flight.
    fn sleep(&self, done: Asleep);

    /// Serves its queues again, in this run.
    fn wake(&self, run: Run);

    /// Drains what is in flight, and ends its thread; calls `done` before that ends.
    fn close(&self, done: Done);

    /// Its state that the guest can observe, without its queues, and what it needs to continue.
    ///
    /// # Errors
    ///
    /// [`SaveError`] when it is not asleep.
    fn save(&self) -> Result<State, SaveError>;

    /// Restores a saved state, which is untrusted; activation with these states of its queues follows
    /// if the device was active, and otherwise none of them is ready.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] when it is not the state of such a device, which is unchanged then.
    fn restore(&self, state: &State, queues: &QueueStates) -> Result<(), RestoreError>;
}
