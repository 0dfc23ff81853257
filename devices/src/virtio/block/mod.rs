//! virtio-blk (virtio 1.2 §5.2): the device, in front of the thread that serves it.

mod limiter;
mod ranges;
mod request;
mod space;
#[cfg(test)]
mod tests;
mod worker;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::device::{Activation, Asleep, VirtioDevice};
use super::device_thread::DeviceThread;
use super::mailbox::{Mailbox, mailbox};
use super::queue_state::QueueStates;
use crate::block::fault::engine::{Engine, EngineState, EngineView};
use crate::block::fault::kinds::Kinds;
use crate::block::fault::record::Record;
use crate::block::model::access::Access;
use crate::block::model::backend::Backend;
use crate::block::model::errno::Errno;
use crate::block::model::power_cut::PowerCut;
use crate::block::model::request::SECTOR_SIZE;
use crate::block::policy::error_policy::{ErrorAction, ErrorPolicy, IoStatus, IoStatusCell};
use crate::block::policy::statistics::Statistics;
use crate::block::policy::write_threshold::{Exceeded, WriteThreshold};
use crate::block::throttle::group::{Group, Member};
pub use crate::life_cycle::Done;
use crate::life_cycle::{RestoreError, Run, SaveError, State};
use crate::sync::lock;
use crate::thread::{ThreadKind, ThreadStart};
pub use space::Feature;
use space::Space;
pub use worker::parked::{Hanging, Release};
pub use worker::polling::longest_poll_window;
pub use worker::power::PowerCutReport;
use worker::state::{DiskState, VERSION};
use worker::{Message, Worker};

/// Block device (virtio 1.2 §5).
const VIRTIO_ID_BLOCK: u32 = 2;

/// Default number of descriptors of a queue.
pub const DEFAULT_QUEUE_SIZE: u16 = 256;

/// Maximum number of queues of a disk: one for each vCPU that a machine can have.
pub const MAX_QUEUES: u16 = 256;

/// Maximum number of descriptors of a queue, as in QEMU.
pub const MAX_QUEUE_SIZE: u16 = 1024;

/// What kind of access failed (QEMU `IoOperationType`). A flush is a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A read.
    Read,
    /// A write or a flush.
    Write,
}

/// One failed request, as reported to the observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoError {
    /// What failed.
    pub kind: ErrorKind,
    /// The policy's action.
    pub action: ErrorAction,
    /// Why it failed.
    pub errno: Errno,
}

/// Notified of a disk's errors, faults and write threshold. Called on the disk's thread, which it must not block.
pub trait DiskObserver: Send + Sync {
    /// A request failed. With [`ErrorAction::Stop`], the io-status is set already.
    fn io_error(&self, error: &IoError);

    /// A request is held because of an error in `run`: the machine must stop, unless it has been
    /// continued since.
    fn stop_machine(&self, run: Run);

    /// A request that is about to be submitted exceeds the write threshold, which is cleared.
    fn write_threshold_exceeded(&self, exceeded: Exceeded);

    /// A rule has fired. Its decision is not applied yet.
    fn fault_injected(&self, record: &Record);

    /// A request is held in `run` because of a rule that stops the machine: it must stop, unless it
    /// has been continued since.
    fn reached_stop(&self, run: Run);

    /// A power cut has ended. The disk waits to be resumed.
    fn power_cut(&self, report: &PowerCutReport);
}

/// A disk's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfiguration {
    /// Its name; unique in the machine.
    pub id: String,
    /// Its serial for the guest; at most 20 bytes of it are visible.
    pub serial: String,
    /// Whether the guest may write.
    pub access: Access,
    /// The error policy.
    pub policy: ErrorPolicy,
    /// Request queues; from one to [`MAX_QUEUES`].
    pub queues: u16,
    /// Descriptors of each; a power of two up to [`MAX_QUEUE_SIZE`].
    pub queue_size: u16,
    /// Logical block size in bytes; a power of two from 512. A hint: the protocol's unit is the
    /// sector.
    pub logical_block_size: u32,
    /// Physical block size in bytes; a power of two, not less than the logical one.
    pub physical_block_size: u32,
    /// Whether writes are complete before they are durable, until a driver decides.
    pub write_cache: bool,
    /// Features that the driver is not offered.
    pub withheld: Vec<Feature>,
}

impl DiskConfiguration {
    /// A disk of this name, with defaults.
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            serial: String::new(),
            access: Access::default(),
            policy: ErrorPolicy::default(),
            queues: 1,
            queue_size: DEFAULT_QUEUE_SIZE,
            logical_block_size: 512,
            physical_block_size: 512,
            write_cache: true,
            withheld: Vec::new(),
        }
    }
}

/// A callback for the end of a resize. Runs on the disk's thread.
pub type ResizeDone = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// A virtio-blk device.
pub struct VirtioBlock {
    configuration: Arc<DiskConfiguration>,
    io_status: Arc<IoStatusCell>,
    statistics: Arc<Statistics>,
    write_threshold: Arc<WriteThreshold>,
    view: Arc<EngineView>,
    space: Arc<Space>,
    /// Whether a close waits for the backend only.
    at_rest: Arc<AtomicBool>,
    /// Whether a driver has ever set DRIVER_OK.
    was_driven: AtomicBool,
    /// The group last passed to the thread.
    group: Mutex<Option<Arc<Group>>>,
    queue_sizes: Vec<u16>,
    kicks: Vec<EventFd>,
    mailbox: Mailbox<Message>,
    thread: DeviceThread,
}

fn thread_name(id: &str) -> String {
    format!("disk-{id}")
}

impl VirtioBlock {
    /// Starts a disk's thread, which first calls `start`.
    ///
    /// # Errors
    ///
    /// When the host refuses a thread or an eventfd.
    pub fn new(
        configuration: DiskConfiguration,
        backend: Box<dyn Backend>,
        memory: Arc<GuestMemoryMmap>,
        observer: Arc<dyn DiskObserver>,
        start: &ThreadStart,
    ) -> io::Result<Self> {
        let configuration = Arc::new(configuration);
        let io_status = Arc::new(IoStatusCell::default());
        let statistics = Arc::new(Statistics::default());
        let write_threshold = Arc::new(WriteThreshold::default());
        let view = Arc::new(EngineView::default());
        let at_rest = Arc::new(AtomicBool::new(false));
        let space = Space::new(&configuration, backend.length(), backend.capabilities());
        let space = Arc::new(space);
        let kicks = (0..configuration.queues).map(|_| EventFd::new(EFD_NONBLOCK));
        let kicks = kicks.collect::<io::Result<Vec<_>>>()?;
        let (mailbox, inbox) = mailbox()?;
        let worker = Worker::new(worker::Parts {
            configuration: configuration.clone(),
            io_status: io_status.clone(),
            statistics: statistics.clone(),
            write_threshold: write_threshold.clone(),
            view: view.clone(),
            at_rest: at_rest.clone(),
            space: space.clone(),
            backend,
            memory,
            observer,
            kicks: kicks
                .iter()
                .map(EventFd::try_clone)
                .collect::<io::Result<_>>()?,
            wake: Arc::clone(mailbox.wake()),
            inbox,
        })?;
        let name = thread_name(&configuration.id);
        let thread = DeviceThread::start(name, ThreadKind::Disk, start, worker)?;
        Ok(Self {
            queue_sizes: vec![configuration.queue_size; kicks.len()],
            configuration,
            io_status,
            statistics,
            write_threshold,
            view,
            space,
            at_rest,
            was_driven: AtomicBool::new(false),
            group: Mutex::new(None),
            kicks,
            mailbox,
            thread,
        })
    }

    /// Its thread's name. The host truncates it to 15 bytes.
    pub fn thread_name(&self) -> String {
        thread_name(&self.configuration.id)
    }

    /// Its thread's host ID.
    pub fn thread_id(&self) -> i32 {
        self.thread.id()
    }

    /// Whether a driver has ever set DRIVER_OK (virtio 1.2 §2.1), resets or not.
    pub fn was_driven(&self) -> bool {
        self.was_driven.load(Ordering::Relaxed)
    }

    /// The kinds of requests that a driver can have performed: those that it is offered, without writes for a
    /// read-only disk.
    pub fn possible_requests(&self) -> Kinds {
        let features = self.space.features();
        let mut kinds = Kinds::READ.with(Kinds::FLUSH);
        if self.configuration.access == Access::ReadWrite {
            kinds = kinds.with(Kinds::WRITE);
        }
        if Feature::Discard.is_in(features) {
            kinds = kinds.with(Kinds::DISCARD);
        }
        if Feature::WriteZeroes.is_in(features) {
            kinds = kinds.with(Kinds::WRITE_ZEROES);
        }
        kinds
    }

    /// The disk's configuration.
    pub fn configuration(&self) -> &DiskConfiguration {
        &self.configuration
    }

    /// The disk's io-status.
    pub fn io_status(&self) -> IoStatus {
        self.io_status.get()
    }

    /// Whether it stops the machine in this run: its observer is or is about to be notified.
    pub fn stops_machine(&self) -> bool {
        self.io_status.stops()
    }

    /// The disk's statistics since its creation.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Its write threshold.
    pub fn write_threshold(&self) -> &WriteThreshold {
        &self.write_threshold
    }

    /// Its throttle group, if it has one.
    pub fn group(&self) -> Option<Arc<Group>> {
        lock(&self.group).clone()
    }

    /// Moves the disk to a group, or to none, and calls `done` when that is in effect. Throttled requests are checked
    /// again. They are not in flight: they stay throttled across a pause, and a reset or close drops them.
    pub fn set_group(&self, group: Option<Arc<Group>>, done: Done) {
        let join =
            |group: &Arc<Group>| Member::join(Arc::clone(group), Arc::clone(self.mailbox.wake()));
        let member = group.as_ref().map(join);
        *lock(&self.group) = group;
        self.mailbox.send(Message::Limit(member, done));
    }

    /// The state of its fault engine.
    pub fn faults(&self) -> EngineState {
        self.view.get()
    }

    /// Changes its fault engine, on the disk's thread, between two requests.
    pub fn change_faults(&self, change: impl FnOnce(&mut Engine) + Send + 'static) {
        self.mailbox.send(Message::Faults(Box::new(change)));
    }

    /// Releases hanging requests, and calls `done` with their number. On a paused disk they wait for
    /// its resume.
    pub fn release(&self, which: Hanging, how: Release, done: impl FnOnce(u64) + Send + 'static) {
        self.mailbox
            .send(Message::Release(which, how, Box::new(done)));
    }

    /// Cuts the power, and calls `done` at the end. The disk is paused then. The interrupted
    /// requests fail on resume; a reset drops them.
    pub fn power_cut(&self, cut: PowerCut, done: Done) {
        self.mailbox.send(Message::PowerCut(cut, done));
    }

    /// Its current length in bytes, as its driver sees it.
    pub fn length(&self) -> u64 {
        self.space.sectors() * SECTOR_SIZE
    }

    /// Whether its write cache is enabled.
    pub fn caches_writes(&self) -> bool {
        self.space.has_write_cache()
    }

    /// Resizes the disk to a length in bytes once nothing is in flight, and calls `done` with the
    /// host's result. An active driver is notified. A held request past the new end fails on
    /// resume.
    pub fn resize(&self, length: u64, done: ResizeDone) {
        self.mailbox.send(Message::Resize(length, done));
    }

    /// Whether a close waits only for the backend to write what the guest has seen complete.
    pub fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Acquire)
    }
}

impl Drop for VirtioBlock {
    fn drop(&mut self) {
        self.mailbox.send(Message::Close(Box::new(|| ())));
        self.thread.join();
    }
}

impl VirtioDevice for VirtioBlock {
    fn device_id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        self.space.features()
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn kick_events(&self) -> &[EventFd] {
        &self.kicks
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        self.space.read(offset, data);
    }

    fn write_config(&self, features: u64, offset: u64, data: &[u8]) {
        self.space.write(features, offset, data);
    }

    fn config_generation(&self) -> u32 {
        self.space.generation()
    }

    fn activate(&self, activation: Activation) {
        self.was_driven.store(true, Ordering::Relaxed);
        self.mailbox.send(Message::Activate(activation));
    }

    /// Also drops held requests.
    fn reset(&self, done: Done) {
        self.mailbox.send(Message::Reset(done));
    }

    /// Held requests stay held.
    fn sleep(&self, done: Asleep) {
        self.mailbox.send(Message::Sleep(done));
    }

    /// Clears the io-status, and resubmits held requests in the order of their arrival.
    fn wake(&self, run: Run) {
        self.io_status.begin(run);
        self.mailbox.send(Message::Resume(run));
    }

    /// Drops held requests, which the guest has not seen complete.
    fn close(&self, done: Done) {
        self.mailbox.send(Message::Close(done));
    }

    fn save(&self) -> Result<State, SaveError> {
        let mut state = self.mailbox.ask(Message::Save).ok_or(SaveError::Ended)??;
        let now = Instant::now();
        state.group = self.group().map(|group| group.save(now));
        State::of(&state)
    }

    /// A throttle group of the saved name that the disk is in is restored in place: disks that share
    /// one are moved to it before. Without it, the disk gets one of its own.
    fn restore(&self, state: &State, queues: &QueueStates) -> Result<(), RestoreError> {
        let state: Box<DiskState> = state.decode_version(VERSION)?;
        let group = state.group.clone();
        if let Some(group) = &group {
            group.check()?;
        }
        self.mailbox
            .ask(|answer| Message::Restore(state, queues.clone(), answer))
            .ok_or(RestoreError::Ended)??;
        let now = Instant::now();
        match (group, self.group()) {
            (Some(saved), Some(own)) if own.name() == saved.name => own.restore(&saved, now),
            (None, None) => {}
            (saved, _) => {
                let group = saved.map(|saved| Arc::new(Group::restored(&saved, now)));
                self.set_group(group, Box::new(|| ()));
            }
        }
        Ok(())
    }
}
