//! virtio-vsock (virtio 1.3 §5.10): streams between the guest and unix sockets of the host.
//!
//! A client on the host connects to the device's socket, writes `CONNECT PORT`, and is connected to that port of the
//! guest once it reads `OK` and the host's port. A guest that connects to a port of the host reaches the listener of that
//! port beside the socket ([`UnixListeners`]).

mod backend;
mod backlog;
mod connection;
mod credit;
mod descriptors;
mod handshake;
pub(crate) mod packet;
mod statistics;
pub(crate) mod table;
#[cfg(test)]
mod tests;
mod transfer;
pub(crate) mod worker;

use std::io;
use std::os::unix::net::UnixListener;
use std::sync::Arc;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::{Activation, Asleep, VirtioDevice};
use super::device_thread::DeviceThread;
use super::mailbox::{Mailbox, mailbox};
use super::queue_state::QueueStates;
use crate::life_cycle::{Done, RestoreError, Run, SaveError, State};
use crate::thread::{ThreadKind, ThreadStart};
pub use backend::{Connector, MAX_PATH, UnixListeners};
use statistics::Counters;
pub use statistics::VsockStatistics;
use table::{Bounds, Table};
use worker::{Message, Parts, Worker};

/// Socket device (virtio 1.3 §5).
const VIRTIO_ID_VSOCK: u32 = 19;

/// Streams (virtio 1.3 §5.10.3). A driver that does not accept it has streams, too.
const VIRTIO_VSOCK_F_STREAM: u64 = 1 << 0;

/// Maximum number of descriptors of each.
const QUEUE_SIZE: u16 = 256;

/// A guest's context ID: neither one of those with a meaning (0, 1, 2), nor the wildcard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestCid(u32);

impl GuestCid {
    /// The CID with this number; none for one that no guest can have.
    pub fn new(cid: u32) -> Option<Self> {
        (3..u32::MAX).contains(&cid).then_some(Self(cid))
    }

    /// Its number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// A virtio-vsock device.
pub struct VirtioVsock {
    cid: GuestCid,
    kicks: [EventFd; 3],
    mailbox: Mailbox<Message>,
    counters: Arc<Counters>,
    thread: DeviceThread,
}

impl VirtioVsock {
    /// Starts the device's thread, which first calls `start`. Clients of `listener`, which does not block, are connected
    /// to the guest, and the guest by `connector`.
    ///
    /// Raises the program's limit on descriptors as far as the host allows: there are fewer connections where that is low.
    ///
    /// # Errors
    ///
    /// When the host refuses a thread or a descriptor.
    pub fn new(
        cid: GuestCid,
        listener: UnixListener,
        connector: Box<dyn Connector>,
        memory: Arc<GuestMemoryMmap>,
        start: &ThreadStart,
    ) -> io::Result<Self> {
        let bounds = Bounds::default().within(descriptors::raise_limit());
        Self::with_bounds(cid, bounds, listener, connector, memory, start)
    }

    /// The same with other bounds.
    pub(crate) fn with_bounds(
        cid: GuestCid,
        bounds: Bounds,
        listener: UnixListener,
        connector: Box<dyn Connector>,
        memory: Arc<GuestMemoryMmap>,
        start: &ThreadStart,
    ) -> io::Result<Self> {
        let event = || EventFd::new(EFD_NONBLOCK);
        let kicks = [event()?, event()?, event()?];
        let [receive, transmit, events] = &kicks;
        let (mailbox, inbox) = mailbox()?;
        let counters = Arc::new(Counters::default());
        let parts = Parts {
            memory: Arc::clone(&memory),
            listener,
            kicks: [
                receive.try_clone()?,
                transmit.try_clone()?,
                events.try_clone()?,
            ],
            wake: Arc::clone(mailbox.wake()),
            inbox,
        };
        let guest_cid = cid.0.into();
        let table = Table::new(guest_cid, bounds, memory, connector, counters.clone());
        let worker = Worker::new(parts, table)?;
        Ok(Self {
            cid,
            kicks,
            mailbox,
            counters,
            thread: DeviceThread::start("vsock".to_owned(), ThreadKind::Vsock, start, worker)?,
        })
    }

    /// The guest's CID.
    pub fn cid(&self) -> GuestCid {
        self.cid
    }

    /// The counters.
    pub fn statistics(&self) -> VsockStatistics {
        self.counters.read()
    }
}

impl Drop for VirtioVsock {
    fn drop(&mut self) {
        self.mailbox.send(Message::Close(Box::new(|| ())));
        self.thread.join();
    }
}

impl VirtioDevice for VirtioVsock {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        VIRTIO_VSOCK_F_STREAM
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE; 3]
    }

    fn kick_events(&self) -> &[EventFd] {
        &self.kicks
    }

    /// `guest_cid` (virtio 1.3 §5.10.4).
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let fields = u64::from(self.cid.0).to_le_bytes();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        for (at, byte) in (offset..usize::MAX).zip(&mut *data) {
            *byte = fields.get(at).copied().unwrap_or_default();
        }
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
