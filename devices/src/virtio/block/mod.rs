//! virtio-blk (virtio 1.2 §5.2): the device, in front of the thread that does its work.

mod request;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_SIZE_MAX,
};
use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
use virtio_bindings::bindings::virtio_ring::{
    VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Interrupt, VirtioDevice, queue};
use crate::block::policy::{IoStatusCell, Run};
use crate::block::{
    Access, Action, Backend, Errno, ErrorPolicy, IoStatus, SECTOR_SIZE, Statistics,
};
use crate::sync::lock;
use worker::{Activation, Message, Worker};

/// Block device (virtio 1.2 §5).
const VIRTIO_ID_BLOCK: u32 = 2;

/// Descriptors of the request queue.
const QUEUE_SIZE: u16 = 256;

/// Longest data segment that a driver should send, in bytes. With [`SEG_MAX`] it limits a request.
const SIZE_MAX: u32 = 4 << 20;

/// Data segments of a request: what a queue has room for beside header and status.
const SEG_MAX: u32 = QUEUE_SIZE as u32 - 2;

/// What kind of access failed (QEMU `IoOperationType`). A flush is a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A read.
    Read,
    /// A write or a flush.
    Write,
}

/// One failed request, as its observer hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoError {
    /// What failed.
    pub kind: ErrorKind,
    /// What the policy made of it.
    pub action: Action,
    /// Why it failed.
    pub errno: Errno,
}

/// Who hears of a disk's errors. Called on the disk's thread, which it must not hold up.
pub trait DiskObserver: Send + Sync {
    /// A request failed. With [`Action::Stop`], the disk's io-status says so already.
    fn io_error(&self, error: &IoError);

    /// A request is held because of an error in `run`: the machine must stop, unless it has been
    /// continued since.
    fn stop_machine(&self, run: Run);
}

/// What a disk is, apart from its data.
#[derive(Debug, Clone)]
pub struct DiskConfiguration {
    /// Its name; unique in the machine.
    pub id: String,
    /// Its identity for the guest; at most 20 bytes of it are seen.
    pub serial: String,
    /// Its size. The backend may have less.
    pub sectors: u64,
    /// Whether the guest may write.
    pub access: Access,
    /// What becomes of errors.
    pub policy: ErrorPolicy,
}

/// A callback for the end of something that a disk's thread was asked for. Runs on that thread.
pub type Done = Box<dyn FnOnce() + Send>;

/// A virtio-blk device. It is created paused; [`Disk::resume`] lets it work.
pub struct Disk {
    configuration: Arc<DiskConfiguration>,
    io_status: Arc<IoStatusCell>,
    statistics: Arc<Statistics>,
    kick: EventFd,
    messages: Sender<Message>,
    wake: EventFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Disk {
    /// Starts a disk's thread.
    ///
    /// # Errors
    ///
    /// When the host refuses a thread or an eventfd.
    pub fn new(
        configuration: DiskConfiguration,
        backend: Box<dyn Backend>,
        memory: Arc<GuestMemoryMmap>,
        observer: Arc<dyn DiskObserver>,
    ) -> io::Result<Self> {
        let configuration = Arc::new(configuration);
        let io_status = Arc::new(IoStatusCell::default());
        let statistics = Arc::new(Statistics::default());
        let (kick, wake) = (EventFd::new(EFD_NONBLOCK)?, EventFd::new(EFD_NONBLOCK)?);
        let (messages, inbox) = mpsc::channel();
        let worker = Worker::new(worker::Parts {
            configuration: configuration.clone(),
            io_status: io_status.clone(),
            statistics: statistics.clone(),
            backend,
            memory,
            observer,
            kick: kick.try_clone()?,
            wake: wake.try_clone()?,
            inbox,
        });
        let thread = thread::Builder::new()
            .name(format!("disk-{}", configuration.id))
            .stack_size(256 << 10)
            .spawn(move || worker.run())?;
        Ok(Self {
            configuration,
            io_status,
            statistics,
            kick,
            messages,
            wake,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What the disk is.
    pub fn configuration(&self) -> &DiskConfiguration {
        &self.configuration
    }

    /// How the disk stands since the machine last ran.
    pub fn io_status(&self) -> IoStatus {
        self.io_status.get()
    }

    /// What the disk has done since it was made.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Readable when the guest has kicked: for KVM to write to instead of an exit (KVM API §4.59).
    pub fn kick_event(&self) -> &EventFd {
        &self.kick
    }

    /// Takes no more requests from the guest, and calls `drained` when none is in flight any more,
    /// or the machine was continued before that. Held requests stay held.
    pub fn pause(&self, drained: Done) {
        self.send(Message::Pause(drained));
    }

    /// Begins a run: clears the io-status, re-submits what is held in the order of its arrival,
    /// and takes requests again.
    pub fn resume(&self, run: Run) {
        self.io_status.begin(run);
        self.send(Message::Resume(run));
    }

    /// Forgets the queue and every held request, and calls `done` when nothing is in flight any
    /// more.
    pub fn reset_then(&self, done: Done) {
        self.send(Message::Reset(done));
    }

    /// Lets in-flight requests end, then ends the thread; `done` is called before it does. Held
    /// requests are dropped: the guest was never told that they were done.
    pub fn close(&self, done: Done) {
        self.send(Message::Close(done));
    }

    fn send(&self, message: Message) {
        // Without a receiver the thread has ended, after a close; the message's callback is
        // called by nobody, as after a close it need not be.
        let _ = self.messages.send(message);
        let _ = self.wake.write(1);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.close(Box::new(|| ()));
        if let Some(thread) = lock(&self.thread).take()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

impl VirtioDevice for Disk {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let mut features = [
            VIRTIO_F_VERSION_1,
            VIRTIO_RING_F_INDIRECT_DESC,
            VIRTIO_RING_F_EVENT_IDX,
            VIRTIO_BLK_F_SIZE_MAX,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_FLUSH,
        ]
        .iter()
        .fold(0, |features, bit| features | 1 << bit);
        if self.configuration.access == Access::ReadOnly {
            features |= 1 << VIRTIO_BLK_F_RO;
        }
        features
    }

    fn queue_sizes(&self) -> &[u16] {
        &[QUEUE_SIZE]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        // capacity, size_max, seg_max, geometry (none), blk_size (virtio 1.2 §5.2.4).
        let mut space = [0; 24];
        space[..8].copy_from_slice(&self.configuration.sectors.to_le_bytes());
        space[8..12].copy_from_slice(&SIZE_MAX.to_le_bytes());
        space[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        space[20..].copy_from_slice(&SECTOR_SIZE.to_le_bytes()[..4]);
        data.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (to, from) in data.iter_mut().zip(space.iter().skip(start)) {
            *to = *from;
        }
    }

    fn activate(
        &self,
        features: u64,
        queues: Vec<Option<queue::Configuration>>,
        interrupt: Arc<Interrupt>,
    ) {
        if let Some(Some(queue)) = queues.first() {
            self.send(Message::Activate(Activation {
                features,
                queue: *queue,
                interrupt,
            }));
        }
    }

    fn notify(&self, queue: u32) {
        if queue == 0 {
            let _ = self.kick.write(1);
        }
    }

    fn reset(&self) {
        let (done, is_done) = mpsc::channel();
        self.reset_then(Box::new(move || {
            let _ = done.send(());
        }));
        // An error means that the thread has ended, and with it every access to guest memory.
        let _ = is_done.recv();
    }
}
