//! The machine's disks: opens them, and connects them to the monitor.

use std::io;
use std::sync::Arc;

use faultvisor_devices::block::fault::engine::{Engine, EngineState};
use faultvisor_devices::block::fault::record::Record;
use faultvisor_devices::block::format::open_error::OpenError;
use faultvisor_devices::block::host::direct_io::CacheMode;
use faultvisor_devices::block::model::access::Access;
use faultvisor_devices::block::model::backend::Backend;
use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::block::model::power_cut::PowerCut;
use faultvisor_devices::block::model::request::SECTOR_SIZE;
use faultvisor_devices::block::open::AioError;
use faultvisor_devices::block::policy::error_policy::{ErrorAction, IoStatus};
use faultvisor_devices::block::policy::write_threshold::Exceeded;
use faultvisor_devices::block::throttle::group::Group;
use faultvisor_devices::life_cycle::Run;
use faultvisor_devices::thread::ThreadStart;
use faultvisor_devices::virtio::block::{
    DiskObserver, Done, ErrorKind, Hanging, IoError, PowerCutReport, Release, VirtioBlock,
    longest_poll_window,
};
use faultvisor_schema::{
    BlockDeviceInfo, BlockDeviceIoStatus, BlockErrorAction, BlockInfo, BlockIoError, BlockStats,
    BlockWriteThreshold, Event, IOThreadInfo, IoOperationType, Signals,
};
use vm_memory::GuestMemoryMmap;

use super::nodes::{self, Nesting, Nodes};
use super::{faults, limits, power_cut, statistics};
use crate::cli::Drive;
use crate::device_manager::DeviceManager;
use crate::faults::{FaultLog, Target};
use crate::inbox::{Notice, Sender, Ticket};

/// A `--drive` that cannot be opened as a disk.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// The image.
    #[error("drive '{id}': {source}")]
    Open {
        /// The drive.
        id: String,
        /// What is wrong.
        source: OpenError,
    },
    /// The host lacks the requested engine.
    #[error("drive '{id}': {source}")]
    Aio {
        /// The drive.
        id: String,
        /// Why not.
        source: AioError,
    },
    /// The host refused a thread or a descriptor.
    #[error("drive '{id}': {source}")]
    Setup {
        /// The drive.
        id: String,
        /// The host's error.
        source: io::Error,
    },
}

/// Raises a disk's errors as signals, and stops the machine for them.
struct Observer {
    id: String,
    signals: Signals,
    inbox: Sender,
    fault_log: Option<Arc<FaultLog>>,
}

impl DiskObserver for Observer {
    fn io_error(&self, error: &IoError) {
        self.signals.raise(Event::BlockIoError(BlockIoError {
            qom_path: qom_path(&self.id),
            device: self.id.clone(),
            node_name: Some(self.id.clone()),
            operation: match error.kind {
                ErrorKind::Read => IoOperationType::Read,
                ErrorKind::Write => IoOperationType::Write,
            },
            action: match error.action {
                ErrorAction::Report => BlockErrorAction::Report,
                ErrorAction::Ignore => BlockErrorAction::Ignore,
                ErrorAction::Stop => BlockErrorAction::Stop,
            },
            nospace: Some(error.errno == Errno::ENOSPC),
            reason: error.errno.to_string(),
        }));
    }

    fn stop_machine(&self, run: Run) {
        self.inbox.send(Notice::DiskError(run));
    }

    fn write_threshold_exceeded(&self, exceeded: Exceeded) {
        self.signals
            .raise(Event::BlockWriteThreshold(BlockWriteThreshold {
                node_name: self.id.clone(),
                amount_exceeded: exceeded.amount,
                write_threshold: exceeded.threshold,
            }));
    }

    fn fault_injected(&self, record: &Record) {
        if let Some(log) = &self.fault_log {
            log.write(record);
        }
        self.signals
            .raise(Event::BlockFaultInjected(faults::injected(record)));
    }

    fn reached_stop(&self, run: Run) {
        self.inbox.send(Notice::DiskStop(run));
    }

    fn power_cut(&self, report: &PowerCutReport) {
        self.signals
            .raise(Event::BlockPowerCut(power_cut::event(&self.id, report)));
        if let Some(then) = report.then {
            self.inbox.send(Notice::PowerFailed {
                device: self.id.clone(),
                cut: report.cut,
                then,
            });
        }
    }
}

/// A disk's path in QEMU's object tree: the device, below the transport that `-device virtio-blk-pci` makes.
pub(super) fn qom_path(id: &str) -> String {
    format!("{}/virtio-backend", transport_path(id))
}

/// The path of a disk's transport in QEMU's object tree.
pub(super) fn transport_path(id: &str) -> String {
    format!("/machine/peripheral/{id}")
}

/// A disk with the image behind it.
pub(super) struct MachineDisk {
    device: Arc<VirtioBlock>,
    nodes: Nodes,
    /// Whether it has a volatile cache, which a power cut empties.
    has_volatile_cache: bool,
    /// Whether a flush reaches the host.
    flushes: bool,
}

/// The surroundings of a disk.
#[derive(Clone, Copy)]
pub(super) struct Surroundings<'a> {
    pub memory: &'a Arc<GuestMemoryMmap>,
    pub signals: &'a Signals,
    pub inbox: &'a Sender,
    pub fault_log: Option<&'a Arc<FaultLog>>,
    /// What its threads do at their start.
    pub threads: &'a ThreadStart,
}

impl MachineDisk {
    /// Its thread, as `query-iothreads` shows it. The size of a batch is not limited.
    pub(super) fn thread_info(&self) -> IOThreadInfo {
        let longest = longest_poll_window().as_nanos();
        IOThreadInfo {
            id: self.device.thread_name(),
            thread_id: self.device.thread_id().into(),
            poll_max_ns: i64::try_from(longest).unwrap_or(i64::MAX),
            poll_grow: 0,
            poll_shrink: 0,
            aio_max_batch: 0,
        }
    }

    /// Opens a drive and starts its thread. The disk starts paused.
    pub(super) fn open(
        drive: &Drive,
        index: u32,
        surroundings: Surroundings<'_>,
        devices: &mut DeviceManager,
    ) -> Result<Self, DriveError> {
        let (nodes, backend) = nodes::open(drive, index, surroundings)?;
        let setup_error = |source| DriveError::Setup {
            id: drive.disk.id.clone(),
            source,
        };
        Self::set_up(drive, nodes, backend, surroundings, devices).map_err(setup_error)
    }

    fn set_up(
        drive: &Drive,
        nodes: Nodes,
        backend: Box<dyn Backend>,
        surroundings: Surroundings<'_>,
        devices: &mut DeviceManager,
    ) -> io::Result<Self> {
        let Surroundings {
            memory,
            signals,
            inbox,
            fault_log,
            threads,
        } = surroundings;
        let observer = Observer {
            fault_log: fault_log.cloned(),
            id: drive.disk.id.clone(),
            signals: signals.clone(),
            inbox: inbox.clone(),
        };
        let device = VirtioBlock::new(
            drive.disk.clone(),
            backend,
            memory.clone(),
            Arc::new(observer),
            threads,
        )?;
        let device = Arc::new(device);
        devices.add_virtio(device.clone(), drive.ring_features)?;
        Ok(Self {
            device,
            nodes,
            has_volatile_cache: drive.volatile_cache.is_some(),
            flushes: drive.volatile_cache.is_some() || drive.image.cache != CacheMode::Unsafe,
        })
    }

    /// Its device and its name, for a view.
    pub(super) fn shared(&self) -> (String, Arc<VirtioBlock>) {
        (self.id().to_owned(), Arc::clone(&self.device))
    }

    pub(super) fn id(&self) -> &str {
        &self.device.configuration().id
    }

    /// The disk's capacity in sectors of 512 bytes.
    pub(super) fn sectors(&self) -> u64 {
        self.device.length() / SECTOR_SIZE
    }

    /// The capabilities that rules for it are checked against.
    pub(super) fn target(&self, has_monitor: bool) -> Target {
        Target {
            sectors: self.sectors(),
            possible: self.device.possible_requests(),
            volatile_cache: self.has_volatile_cache,
            flushes: self.flushes,
            has_monitor,
        }
    }

    /// Whether it has a volatile cache, which a power cut empties.
    pub(super) fn has_volatile_cache(&self) -> bool {
        self.has_volatile_cache
    }

    /// Whether a driver has ever activated it.
    pub(super) fn was_driven(&self) -> bool {
        self.device.was_driven()
    }

    /// The image's path, as the command line has it.
    pub(super) fn path(&self) -> String {
        self.nodes.path()
    }

    pub(super) fn access(&self) -> Access {
        self.device.configuration().access
    }

    /// The state of its fault engine.
    pub(super) fn faults(&self) -> EngineState {
        self.device.faults()
    }

    pub(super) fn change_faults(&self, change: impl FnOnce(&mut Engine) + Send + 'static) {
        self.device.change_faults(change);
    }

    pub(super) fn release(
        &self,
        which: Hanging,
        how: Release,
        done: impl FnOnce(u64) + Send + 'static,
    ) {
        self.device.release(which, how, done);
    }

    pub(super) fn power_cut(&self, cut: PowerCut, done: Done) {
        self.device.power_cut(cut, done);
    }

    /// Requests a new length in bytes. The result arrives as a notice with the ticket.
    pub(super) fn resize(&self, length: u64, ticket: Ticket, inbox: &Sender) {
        let promise = inbox.promise(Notice::DiskResized(ticket, Err(Errno::EIO)));
        let done = move |result| promise.keep_with(Notice::DiskResized(ticket, result));
        self.device.resize(length, Box::new(done));
    }

    /// Its throttling group.
    pub(super) fn group(&self) -> Option<Arc<Group>> {
        self.device.group()
    }

    pub(super) fn set_group(&self, group: Option<Arc<Group>>, done: Done) {
        self.device.set_group(group, done);
    }

    /// Whether a request has failed with the action `stop`, or a rule has stopped the machine, since the last resume. True
    /// from before the event on, so that it precedes the notice.
    pub(super) fn stops_machine(&self) -> bool {
        self.device.stops_machine()
    }

    pub(super) fn set_write_threshold(&self, offset: u64) {
        self.device.write_threshold().set(offset);
    }

    /// Whether a close waits only for data whose writes were completed to the guest.
    pub(super) fn is_at_rest(&self) -> bool {
        self.device.is_at_rest()
    }

    /// Its nodes, as `query-named-block-nodes` shows them.
    pub(super) fn all_nodes(&self, nesting: Nesting) -> Vec<BlockDeviceInfo> {
        self.nodes.all(&self.device, nesting)
    }

    /// Its statistics, as `query-blockstats` shows them.
    pub(super) fn statistics(&self) -> BlockStats {
        let id = self.id().to_owned();
        BlockStats {
            qdev: Some(qom_path(&id)),
            device: Some(id),
            ..self.node_statistics()
        }
    }

    /// Its node's statistics, as `query-blockstats` shows them.
    pub(super) fn node_statistics(&self) -> BlockStats {
        BlockStats {
            device: None,
            qdev: None,
            node_name: Some(self.id().to_owned()),
            stats: statistics::of(self.device.statistics()),
            parent: None,
            backing: None,
        }
    }

    /// The disk, as `query-block` shows it.
    pub(super) fn info(&self) -> BlockInfo {
        let configuration = self.device.configuration();
        let io_status = match self.device.io_status() {
            IoStatus::Ok => BlockDeviceIoStatus::Ok,
            IoStatus::Failed => BlockDeviceIoStatus::Failed,
            IoStatus::NoSpace => BlockDeviceIoStatus::Nospace,
        };
        // As in QEMU, limits belong to the disk and not to its node.
        let mut medium = self.nodes.top(&self.device);
        if let Some(group) = self.group() {
            limits::show(&group, &mut medium);
        }
        BlockInfo {
            device: configuration.id.clone(),
            qdev: Some(qom_path(&configuration.id)),
            r#type: "unknown".to_owned(),
            removable: false,
            locked: false,
            inserted: Some(medium),
            // As in QEMU, only a disk whose error policy can stop the machine has an io-status.
            io_status: configuration.policy.may_stop().then_some(io_status),
        }
    }
}
