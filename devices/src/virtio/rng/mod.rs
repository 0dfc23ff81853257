//! virtio-rng (virtio 1.2 §5.4): entropy of the host for the guest.

mod quota;
mod source;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::Arc;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::{Activation, Asleep, VirtioDevice};
use super::device_thread::DeviceThread;
use super::mailbox::{Mailbox, mailbox};
use super::queue_state::QueueStates;
use crate::life_cycle::{Done, RestoreError, Run, SaveError, State};
use crate::thread::{ThreadKind, ThreadStart};
pub use quota::RateLimit;
pub use source::{EntropySource, HostEntropy};
use worker::{Message, Worker};

/// Entropy device (virtio 1.2 §5).
const VIRTIO_ID_RNG: u32 = 4;

/// Descriptors of its queue, as in QEMU.
const QUEUE_SIZE: u16 = 8;

/// An entropy device's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RngConfiguration {
    /// Its name; unique in the machine.
    pub id: String,
    /// Its rate limit. Without one, it returns as much as the guest requests.
    pub limit: Option<RateLimit>,
}

/// A virtio-rng device.
pub struct VirtioRng {
    kicks: [EventFd; 1],
    mailbox: Mailbox<Message>,
    thread: DeviceThread,
}

impl VirtioRng {
    /// Starts the device's thread, which first calls `start`.
    ///
    /// # Errors
    ///
    /// When the host refuses a thread or a descriptor.
    pub fn new(
        configuration: RngConfiguration,
        source: Box<dyn EntropySource>,
        memory: Arc<GuestMemoryMmap>,
        start: &ThreadStart,
    ) -> io::Result<Self> {
        let kick = EventFd::new(EFD_NONBLOCK)?;
        let (mailbox, inbox) = mailbox()?;
        let name = format!("rng-{}", configuration.id);
        let worker = Worker::new(worker::Parts {
            configuration,
            source,
            memory,
            kick: kick.try_clone()?,
            wake: Arc::clone(mailbox.wake()),
            inbox,
        })?;
        Ok(Self {
            kicks: [kick],
            mailbox,
            thread: DeviceThread::start(name, ThreadKind::Rng, start, worker)?,
        })
    }
}

impl Drop for VirtioRng {
    fn drop(&mut self) {
        self.mailbox.send(Message::Close(Box::new(|| ())));
        self.thread.join();
    }
}

impl VirtioDevice for VirtioRng {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn kick_events(&self) -> &[EventFd] {
        &self.kicks
    }

    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_config(&self, _features: u64, _offset: u64, _data: &[u8]) {}

    fn config_generation(&self) -> u32 {
        0
    }

    fn activate(&self, activation: Activation) {
        self.mailbox.send(Message::Activate(activation));
    }

    fn reset(&self, done: Done) {
        self.mailbox.send(Message::Reset(done));
    }

    fn sleep(&self, done: Asleep) {
        self.mailbox.send(Message::Sleep(done));
    }

    fn wake(&self, _run: Run) {
        self.mailbox.send(Message::Wake);
    }

    fn close(&self, done: Done) {
        self.mailbox.send(Message::Close(done));
    }

    fn save(&self) -> Result<State, SaveError> {
        self.mailbox.ask(Message::Save).ok_or(SaveError::Ended)?
    }

    fn restore(&self, state: &State, _queues: &QueueStates) -> Result<(), RestoreError> {
        let state = state.decode()?;
        self.mailbox
            .ask(|answer| Message::Restore(state, answer))
            .ok_or(RestoreError::Ended)?
    }
}
