//! A guest's requests on a qcow2 image.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use imago::format::PreallocateMode;
use imago::{FormatAccess, Mapping, ShallowMapping};

use super::chain::Chain;
use super::corruption::depth_of;
use super::discard::{of_hint, used_part};
use super::layer::Layer;
use super::{BackingFiles, Corruption, CorruptionObserver, LayerInfo};
use crate::block::buffers::GuestBuffers;
use crate::block::pool::Medium;
use crate::block::progress::bounce_buffer;
use crate::block::{
    Access, CacheMode, Capabilities, Durability, Errno, ImageOptions, OpenError, Operation, Range,
    RangeLimits, Request, Zeroing, raw,
};
use crate::sync::lock;

/// Longest range that is discarded or zeroed at a time: nothing else is done meanwhile.
const MAX_RANGE: u64 = 1 << 30;

/// A qcow2 image and the images under it. Several threads can use it at the same time.
pub struct Qcow2Image {
    /// Shared by what only finds clusters or adds some; alone for what gives clusters away, whose
    /// places others may still be using.
    access: RwLock<FormatAccess<Layer>>,
    top: Layer,
    layers: Vec<LayerInfo>,
    /// Bytes of the image under this one.
    below_size: Option<u64>,
    /// The image has been made shorter, and its tables may have what was cut off still.
    was_cut: AtomicBool,
    version: u32,
    cluster_size: u64,
    has_snapshots: bool,
    length: AtomicU64,
    /// Held by a flush: a second one must not end before what the first has begun is written.
    flushing: Mutex<()>,
    observer: Arc<dyn CorruptionObserver>,
    /// The depths of the images of which something was told that was not fatal.
    told: Mutex<BTreeSet<usize>>,
    /// Nothing is done any more.
    broken: AtomicBool,
}

impl Qcow2Image {
    /// Opens an image and the images under it, and locks them: the first as `options` say, the
    /// others so that nobody writes them.
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
            was_cut: AtomicBool::new(false),
            version: header.version,
            cluster_size: 1 << header.cluster_bits,
            has_snapshots: header.snapshots.is_some(),
            length: AtomicU64::new(header.size),
            flushing: Mutex::default(),
            observer,
            told: Mutex::default(),
            broken: AtomicBool::new(false),
        })
    }

    /// What can be said of the image and those under it, the guest's first.
    pub fn layers(&self) -> &[LayerInfo] {
        &self.layers
    }

    /// Takes what can be said of the images, for who goes on without them.
    pub fn take_layers(&mut self) -> Vec<LayerInfo> {
        std::mem::take(&mut self.layers)
    }

    /// How the host's page cache is used.
    pub fn cache(&self) -> CacheMode {
        self.top.image().cache()
    }

    fn shared(&self) -> RwLockReadGuard<'_, FormatAccess<Layer>> {
        self.access.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> RwLockWriteGuard<'_, FormatAccess<Layer>> {
        self.access.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_writable(&self) -> bool {
        self.top.image().access() == Access::ReadWrite
    }

    /// The errno of an error of the library about the guest's image.
    fn errno(&self, error: &io::Error) -> Errno {
        self.errno_at_depth(error, 0)
    }

    /// The same where images under it have been asked too, for a range of whole clusters.
    fn errno_in(
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

    /// What the guest's image says that cannot be ends its use, if it is written. Those under it
    /// are only read, and are no reason to do without the rest.
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

    /// As in QEMU (`qcow2_signal_corruption`): what is fatal ends the use of the image, and what is
    /// not is told of once.
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

    fn read(&self, mut offset: u64, buffers: &GuestBuffers) -> Result<(), Errno> {
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
                // The disk has no more; or something that was not there when this was written.
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

    /// Reads what has to be unpacked, a cluster at a time: the library has no other memory than
    /// ours for it, as the guest's is not for references.
    fn read_compressed(
        &self,
        access: &FormatAccess<Layer>,
        mut offset: u64,
        mut rest: GuestBuffers,
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

    fn write(
        &self,
        access: &FormatAccess<Layer>,
        mut offset: u64,
        buffers: &GuestBuffers,
    ) -> Result<(), Errno> {
        let mut rest = buffers.clone();
        while rest.length() > 0 {
            let mapping = access
                .prepare_data_mapping(offset, rest.length(), true)
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
            transfer(layer, operation, rest.first(count))?;
            layer.data_written();
            access
                .commit_data_mapping(mapping)
                .map_err(|error| self.errno(&error))?;
            offset += count;
            rest = rest.after(usize::try_from(count).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Errno> {
        if !self.is_writable() {
            return Ok(());
        }
        let _only = lock(&self.flushing);
        self.flush_in_order(|| self.shared().flush())
    }

    /// Writes what waits, after what `flush_library` writes that it leads to.
    fn flush_in_order(&self, flush_library: impl FnOnce() -> io::Result<()>) -> Result<(), Errno> {
        let held = self.top.take_held();
        if let Err(error) = flush_library() {
            self.top.put_back(held);
            return Err(self.errno(&error));
        }
        if !held.is_empty() {
            if let Err(errno) = self.top.wait_for_medium() {
                self.top.put_back(held);
                return Err(errno);
            }
            self.top.write_held(held)?;
        }
        self.top.wait_for_medium()
    }

    fn discard(&self, ranges: &[Range]) -> Result<(), Errno> {
        if self.capabilities().discard.is_none() {
            return Ok(());
        }
        for range in ranges {
            of_hint(self.discard_used(range))?;
        }
        Ok(())
    }

    /// Discards what is in use in a range.
    fn discard_used(&self, range: &Range) -> Result<(), Errno> {
        let mut access = self.alone();
        let (mut offset, end) = (range.offset, range.end());
        while offset < end {
            let used = used_part(&access, offset..end).map_err(|error| self.errno(&error))?;
            offset = used.end;
            if !used.is_empty() {
                access
                    .discard_to_any(used.start, used.end - used.start)
                    .map_err(|error| self.errno(&error))?;
            }
        }
        Ok(())
    }

    fn write_zeroes(&self, ranges: &[Range], zeroing: Zeroing) -> Result<(), Errno> {
        for range in ranges {
            let (start, end) = (range.offset, range.end());
            // The rest of the last cluster is nobody's.
            let whole_end = match end == self.length() {
                true => end,
                false => end / self.cluster_size * self.cluster_size,
            };
            let whole_start = start.next_multiple_of(self.cluster_size).min(whole_end);
            if self.version < 3 || whole_start >= whole_end {
                self.write_zero_bytes(&self.shared(), start, end)?;
                continue;
            }
            self.write_zero_bytes(&self.shared(), start, whole_start)?;
            let length = whole_end - whole_start;
            let zeroed = match zeroing {
                Zeroing::KeepSpace => self.shared().write_zeroes(whole_start, length),
                Zeroing::MayUnmap => self.alone().discard_to_zero(whole_start, length),
            };
            zeroed.map_err(|error| self.errno(&error))?;
            self.write_zero_bytes(&self.shared(), whole_end, end)?;
        }
        Ok(())
    }

    fn write_zero_bytes(
        &self,
        access: &FormatAccess<Layer>,
        mut start: u64,
        end: u64,
    ) -> Result<(), Errno> {
        while start < end {
            let zeroes = bounce_buffer(end - start);
            self.write(access, start, &zeroes)?;
            start += zeroes.length();
        }
        Ok(())
    }

    fn resize_alone(&self, length: u64) -> Result<(), Errno> {
        let _only = lock(&self.flushing);
        let mut access = self.alone();
        // A table that moves takes its entries with it, and what they lead to must be there.
        self.flush_in_order(|| access.flush())?;
        let old = access.size();
        if length < old {
            self.was_cut.store(true, Ordering::Release);
        }
        // The bytes of a longer image under this one would show in what is new. So would what was
        // cut off: the library goes on where that could not be given away.
        let shows = self.was_cut.load(Ordering::Acquire)
            || self.below_size.is_some_and(|below| below > old);
        let mode = match shows {
            true => PreallocateMode::Zero,
            false => PreallocateMode::None,
        };
        access
            .resize(length, mode)
            .map_err(|error| self.errno_in(&error, &access, old.saturating_sub(1), 1))?;
        self.clear_tail(&access, old).inspect_err(|_| {
            if let Err(error) = access.resize(old, PreallocateMode::None) {
                tracing::error!("'{}' keeps its new size: {error}", self.top);
            }
        })
    }

    /// Zeroes what the last cluster has beyond the disk's old end, now that the guest sees it.
    fn clear_tail(&self, access: &FormatAccess<Layer>, old: u64) -> Result<(), Errno> {
        let end = access.size().min(old.next_multiple_of(self.cluster_size));
        if old >= end {
            return Ok(());
        }
        let (mapping, _) = access
            .get_shallow_mapping(old, end - old)
            .map_err(|error| self.errno(&error))?;
        match mapping {
            ShallowMapping::Raw { .. } | ShallowMapping::Special { .. } => {
                self.write_zero_bytes(access, old, end)
            }
            _ => Ok(()),
        }
    }
}

impl Medium for Qcow2Image {
    fn execute(&self, request: Arc<Request>) -> Result<(), Errno> {
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
            Durability::Cached => Ok(()),
            Durability::Durable => self.flush(),
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
        // Version 2 has no clusters that read as zeroes whatever is under them.
        let discard = (self.version >= 3).then_some(limits);
        Capabilities {
            discard,
            write_zeroes: Some(limits),
            unmaps: discard.is_some(),
        }
    }

    fn resize(&self, length: u64) -> Result<(), Errno> {
        let is_shorter = length < self.length();
        if self.broken.load(Ordering::Acquire) {
            return Err(Errno(libc::ENOMEDIUM));
        }
        if !self.is_writable() {
            return Err(Errno(libc::EACCES));
        }
        if is_shorter && self.has_snapshots {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        // Most of what will have to be flushed when nothing else can be done.
        self.flush()?;
        self.resize_alone(length)?;
        self.length.store(length, Ordering::Release);
        // The size is another by now, and so it must be to the guest. What could not be written
        // is its next flush's to tell.
        if let Err(errno) = self.flush() {
            tracing::error!(
                "'{}' has its new size, but not all of it: {errno}",
                self.top
            );
        }
        Ok(())
    }

    fn close(&self) {
        if self.broken.load(Ordering::Acquire) {
            return;
        }
        if let Err(errno) = self.flush() {
            tracing::error!("'{}' cannot be written completely: {errno}", self.top);
        }
    }
}

/// Moves bytes between a file and the guest's memory, as for a raw image.
fn transfer(layer: &Layer, operation: Operation, buffers: GuestBuffers) -> Result<(), Errno> {
    let request = Request { operation, buffers };
    raw::execute(layer.image(), Arc::new(request))
}

fn read_data(layer: &Layer, offset: u64, buffers: &GuestBuffers) -> Result<(), Errno> {
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
