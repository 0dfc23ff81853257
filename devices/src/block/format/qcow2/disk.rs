//! Requests on a qcow2 image.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;

use imago::{FormatAccess, Mapping, ShallowMapping};

use super::chain::{BackingFiles, Chain, LayerInfo};
use super::corruption::{Corruption, CorruptionObserver, depth_of};
use super::layer::Layer;
use crate::block::engine::blocking;
use crate::block::engine::thread_pool::Medium;
use crate::block::format::open_error::OpenError;
use crate::block::host::direct_io::CacheMode;
use crate::block::host::image::ImageOptions;
use crate::block::model::access::Access;
use crate::block::model::backend::HostRequest;
use crate::block::model::errno::Errno;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::request::{Capabilities, Durability, Operation, RangeLimits};
use crate::sync::lock;

/// The longest range that is discarded or zeroed at a time: nothing else is done meanwhile.
const MAX_RANGE: u64 = 1 << 30;

/// How often a long operation yields to waiting threads, which may wait for each other.
const MAX_YIELDS: u32 = 256;

/// A qcow2 image and its backing images. Several threads can use it at the same time.
pub struct Qcow2Image {
    /// Shared by what finds or adds clusters; exclusive for what drops clusters that others may be using.
    access: RwLock<FormatAccess<Layer>>,
    pub(super) top: Layer,
    layers: Vec<LayerInfo>,
    /// Size of the backing image in bytes.
    pub(super) below_size: Option<u64>,
    pub(super) version: u32,
    pub(super) cluster_size: u64,
    pub(super) has_snapshots: bool,
    pub(super) length: AtomicU64,
    /// Held by a flush: a second one must not end before what the first has begun is written. Taken before `access`.
    flushing: Mutex<()>,
    /// Threads that wait for `flushing`, or for shared `access`.
    waiting: AtomicUsize,
    /// No further requests arrive.
    closing: AtomicBool,
    observer: Arc<dyn CorruptionObserver>,
    /// The depths of the images whose corruption, not fatal, was reported.
    told: Mutex<BTreeSet<usize>>,
    /// Nothing is done any more.
    pub(super) broken: AtomicBool,
}

impl Qcow2Image {
    /// Opens and locks an image and its backing images: the first as `options` say, the others against writers.
    ///
    /// # Errors
    ///
    /// [`OpenError`] names the path and the reason.
    pub fn open(
        path: &Path,
        options: ImageOptions,
        backing_files: BackingFiles,
        observer: Arc<dyn CorruptionObserver>,
    ) -> Result<Self, OpenError> {
        let Chain {
            access,
            top,
            header,
            layers,
        } = Chain::open(path, options, backing_files)?;
        Ok(Self {
            access: RwLock::new(access),
            top,
            below_size: layers.get(1).map(|below| below.virtual_size),
            layers,
            version: header.version,
            cluster_size: 1 << header.cluster_bits,
            has_snapshots: header.snapshots.is_some(),
            length: AtomicU64::new(header.size),
            flushing: Mutex::default(),
            waiting: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            observer,
            told: Mutex::default(),
            broken: AtomicBool::new(false),
        })
    }

    /// Descriptions of the image and its backing images, the guest's first.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// Takes these descriptions, for use without the image.
    pub fn take_layers(&mut self) -> Vec<LayerInfo> {
        std::mem::take(&mut self.layers)
    }

    /// The cache mode.
    pub fn cache(&self) -> CacheMode {
        self.top.image().cache()
    }

    pub(super) fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<Layer>> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        access
    }

    pub(super) fn lock_flushes(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let only = lock(&self.flushing);
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        only
    }

    /// Yields the image to other threads between two steps of a long operation. The locks are not fair: a thread that
    /// locks again at once often wins.
    ///
    /// # Errors
    ///
    /// ECANCELED if the image is being closed.
    pub(super) fn give_way(&self) -> Result<(), Errno> {
        for _ in 0..MAX_YIELDS {
            if self.waiting.load(Ordering::Acquire) == 0 {
                break;
            }
            thread::yield_now();
        }
        match self.closing.load(Ordering::Acquire) {
            true => Err(Errno(libc::ECANCELED)),
            false => Ok(()),
        }
    }

    pub(super) fn alone(&self) -> RwLockWriteGuard<'_, FormatAccess<Layer>> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_writable(&self) -> bool {
        self.top.image().access() == Access::ReadWrite
    }

    /// The errno of the library's error about the guest's image.
    pub(super) fn errno(&self, error: &io::Error) -> Errno {
        self.errno_at_depth(error, 0)
    }

    /// The same if backing images were involved, for a range of whole clusters.
    pub(super) fn errno_in(
        &self,
        error: &io::Error,
        access: &FormatAccess<Layer>,
        start: u64,
        length: u64,
    ) -> Errno {
        let first = start / self.cluster_size * self.cluster_size;
        let end = start
            .saturating_add(length)
            .checked_next_multiple_of(self.cluster_size)
            .unwrap_or(u64::MAX);
        self.errno_at_depth(error, depth_of(error, access, first..end))
    }

    /// Corrupt metadata of the guest's image end its use if it is written. Backing images are only read, and the rest
    /// of the disk stays usable.
    fn errno_at_depth(&self, error: &io::Error, depth: usize) -> Errno {
        let is_fatal = depth == 0 && self.is_writable();
        if let Some(corruption) = Corruption::of(error, depth, is_fatal) {
            self.corrupted(&corruption);
            return Errno::EIO;
        }
        match error.kind() {
            _ if error.raw_os_error().is_some() => Errno::of(error),
            io::ErrorKind::OutOfMemory => Errno(libc::ENOMEM),
            io::ErrorKind::Unsupported => Errno(libc::EOPNOTSUPP),
            // As often as the guest likes.
            _ => {
                tracing::debug!("'{}': {error}", self.top);
                Errno::EIO
            }
        }
    }

    /// As in QEMU (`qcow2_signal_corruption`): a fatal corruption ends the use of the image, another one is reported
    /// once.
    fn corrupted(&self, corruption: &Corruption) {
        if corruption.fatal {
            if self.broken.swap(true, Ordering::AcqRel) {
                return;
            }
            self.top.freeze_and_mark();
        } else if !lock(&self.told).insert(corruption.depth) {
            return;
        }
        match corruption.depth {
            0 => tracing::error!("'{}' is corrupt: {}", self.top, corruption.message),
            depth => tracing::error!(
                "a backing file of '{}' is corrupt, {depth} below it: {}",
                self.top,
                corruption.message
            ),
        }
        self.observer.image_corrupted(corruption);
    }

    fn read(&self, mut offset: u64, buffers: &IoBuffers) -> Result<(), Errno> {
        let access = self.shared();
        let mut rest = buffers.clone();
        while rest.length() > 0 {
            let (mapping, count) = access
                .get_mapping(offset, rest.length())
                .map_err(|error| self.errno_in(&error, &access, offset, rest.length()))?;
            let piece = rest.first(count);
            match mapping {
                Mapping::Raw {
                    storage,
                    offset: place,
                    ..
                } => read_data(storage, place, &piece)?,
                Mapping::Zero { .. } => piece.fill_with_zeroes(),
                Mapping::Special { .. } => self.read_compressed(&access, offset, piece)?,
                // Beyond the end of the disk, or something that did not exist when this was written.
                _ => return Err(Errno::EIO),
            }
            if count == 0 {
                return Err(Errno::EIO);
            }
            offset += count;
            rest = rest.after(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Reads compressed data, a cluster at a time, into a bounce buffer, as the library needs references and guest
    /// memory permits none.
    fn read_compressed(
        &self,
        access: &FormatAccess<Layer>,
        mut offset: u64,
        mut rest: IoBuffers,
    ) -> Result<(), Errno> {
        let mut unpacked = Vec::new();
        while rest.length() > 0 {
            let in_cluster = self.cluster_size - offset % self.cluster_size;
            let count = usize::try_from(in_cluster.min(rest.length())).unwrap_or(0);
            unpacked.resize(count, 0);
            access
                .read(&mut unpacked[..], offset)
                .map_err(|error| self.errno_in(&error, access, offset, count as u64))?;
            rest.copy_from(&unpacked);
            offset += count as u64;
            rest = rest.after(count);
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        access: &FormatAccess<Layer>,
        mut offset: u64,
        buffers: &IoBuffers,
    ) -> Result<(), Errno> {
        let mut rest = buffers.clone();
        while rest.length() > 0 {
            let mapping = quietly(|| access.prepare_data_mapping(offset, rest.length(), true))
                .map_err(|error| self.errno_in(&error, access, offset, rest.length()))?;
            let (layer, place, count) = (mapping.storage(), mapping.offset(), mapping.length());
            if let Err(overlap) = layer.check_data(place, count) {
                drop(mapping);
                return Err(self.errno(&overlap.into_error()));
            }
            let operation = Operation::Write {
                offset: place,
                durability: Durability::Cached,
            };
            if let Err(errno) = transfer(layer, operation, rest.first(count)) {
                drop(mapping);
                self.abandon(access, offset, place, count);
                return Err(errno);
            }
            layer.data_written();
            quietly(|| access.commit_data_mapping(mapping)).map_err(|error| self.errno(&error))?;
            offset += count;
            rest = rest.after(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    /// Drops clusters that were allocated for data that could not be written: those of a range to which the guest's
    /// part of the disk does not refer.
    fn abandon(&self, access: &FormatAccess<Layer>, mut offset: u64, mut place: u64, count: u64) {
        let end = place + count;
        while place < end {
            let in_cluster = self.cluster_size - place % self.cluster_size;
            let is_in_use = match access.get_shallow_mapping(offset, 1) {
                Ok((ShallowMapping::Raw { offset, .. }, _)) => offset == place,
                // It may be one that reads as zeroes and keeps its cluster.
                Ok((ShallowMapping::Zero { explicit: true, .. }, _)) | Err(_) => true,
                Ok(_) => false,
            };
            if !is_in_use {
                self.top.abandon(place / self.cluster_size);
            }
            offset += in_cluster;
            place += in_cluster;
        }
    }
}

impl Medium for Qcow2Image {
    fn execute(&self, request: HostRequest) -> Result<(), Errno> {
        if self.broken.load(Ordering::Acquire) {
            // As in QEMU, whose node has no driver then.
            return Err(Errno(libc::ENOMEDIUM));
        }
        let durability = match &request.operation {
            Operation::Read { offset } => return self.read(*offset, &request.buffers),
            Operation::Flush => return self.flush(),
            Operation::Discard { ranges } => return self.discard(ranges),
            Operation::Write { offset, durability } => {
                self.write(&self.shared(), *offset, &request.buffers)?;
                *durability
            }
            Operation::WriteZeroes {
                ranges,
                zeroing,
                durability,
            } => {
                self.write_zeroes(ranges, *zeroing)?;
                *durability
            }
        };
        match durability {
            Durability::Cached if !self.top.is_full() => Ok(()),
            _ => self.flush(),
        }
    }

    fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    fn capabilities(&self) -> Capabilities {
        if !self.is_writable() {
            return Capabilities::default();
        }
        let limits = RangeLimits {
            max_length: MAX_RANGE,
            alignment: u32::try_from(self.cluster_size).unwrap_or(u32::MAX),
        };
        // Version 2 has no clusters that read as zeroes whatever the backing image has.
        let discard = (self.version >= 3 || self.below_size.is_none()).then_some(limits);
        Capabilities {
            discard,
            write_zeroes: Some(limits),
            unmaps: discard.is_some(),
        }
    }

    fn resize(&self, length: u64) -> Result<(), Errno> {
        self.change_size(length)
    }

    fn can_prepare_resize(&self, length: u64) -> bool {
        self.can_free_past(length)
    }

    fn prepare_resize(&self, length: u64) {
        if let Err(errno) = self.free_past(length) {
            // The resize itself reports it.
            tracing::debug!("'{}' cannot get shorter: {errno}", self.top);
        }
    }

    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        if self.broken.load(Ordering::Acquire) || !self.is_writable() {
            return;
        }
        if let Err(errno) = self.flush_and_release() {
            tracing::error!("'{}' cannot be written completely: {errno}", self.top);
        }
    }
}

/// Calls the library with its log suppressed: it complains each time that it may not free what is released here
/// (`release`). Errors are in its return value.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> T {
    tracing::dispatcher::with_default(&tracing::Dispatch::none(), work)
}

/// Transfers bytes between a file and guest memory, as for a raw image.
fn transfer(layer: &Layer, operation: Operation, buffers: IoBuffers) -> Result<(), Errno> {
    let request = HostRequest { operation, buffers };
    blocking::execute(layer.image(), request)
}

fn read_data(layer: &Layer, offset: u64, buffers: &IoBuffers) -> Result<(), Errno> {
    let read = |buffers| transfer(layer, Operation::Read { offset }, buffers);
    match read(buffers.clone()) {
        Err(Errno::EIO) => {}
        result => return result,
    }
    let length = buffers.length();
    let zeroes = layer.zeroes_past_end(offset, length).ok_or(Errno::EIO)?;
    let in_file = length - zeroes;
    read(buffers.first(in_file))?;
    buffers
        .after(usize::try_from(in_file).unwrap_or(usize::MAX))
        .fill_with_zeroes();
    Ok(())
}
