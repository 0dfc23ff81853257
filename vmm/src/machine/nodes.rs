//! A disk's images: opens them, and describes them for the monitor's queries.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use faultvisor_devices::block::format::open_error::OpenError;
use faultvisor_devices::block::format::probe_guard::Probed;
use faultvisor_devices::block::format::probing::{self, Guess};
use faultvisor_devices::block::format::qcow2::chain::{ImageFormat, LayerInfo};
use faultvisor_devices::block::format::qcow2::corruption::{Corruption, CorruptionObserver};
use faultvisor_devices::block::format::qcow2::disk::Qcow2Image;
use faultvisor_devices::block::host::direct_io::CacheMode;
use faultvisor_devices::block::host::image::Image;
use faultvisor_devices::block::host::image_error::ImageError;
use faultvisor_devices::block::model::access::Access;
use faultvisor_devices::block::model::backend::Backend;
use faultvisor_devices::block::volatile::VolatileCache;
use faultvisor_devices::thread::ThreadStart;
use faultvisor_devices::virtio::block::VirtioBlock;
use faultvisor_schema::{
    BlockDeviceInfo, BlockImageCorrupted, BlockdevCacheInfo, BlockdevDetectZeroesOptions, Event,
    ImageInfo, Signals,
};

use super::disks::{DriveError, Surroundings};
use crate::cli::{Drive, Format};

/// Whether a description of an image includes its backing files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nesting {
    /// It does.
    Nested,
    /// Each image is described alone.
    Flat,
}

/// The images of one disk.
pub(super) struct Nodes {
    /// The images from the guest's down the backing chain.
    layers: Vec<LayerInfo>,
    cache: CacheMode,
    /// The disk's index in the machine, for generated node names.
    index: u32,
}

/// The node name of an image. The top image has the disk's name.
fn node_name(id: &str, index: u32, depth: usize) -> String {
    match depth {
        0 => id.to_owned(),
        _ => format!("#block{index}{depth:02}"),
    }
}

/// Raises an image's corruption as a signal.
struct CorruptionSignal {
    id: String,
    index: u32,
    signals: Signals,
}

impl CorruptionObserver for CorruptionSignal {
    fn image_corrupted(&self, corruption: &Corruption) {
        let number = |value: Option<u64>| value.and_then(|value| i64::try_from(value).ok());
        let event = BlockImageCorrupted {
            device: self.id.clone(),
            node_name: Some(node_name(&self.id, self.index, corruption.depth)),
            msg: corruption.message.clone(),
            offset: number(corruption.offset),
            size: number(corruption.length),
            fatal: corruption.fatal,
        };
        self.signals.raise(Event::BlockImageCorrupted(event));
    }
}

/// Opens a drive's images, in the configured or the probed format.
pub(super) fn open(
    drive: &Drive,
    index: u32,
    surroundings: Surroundings<'_>,
) -> Result<(Nodes, Box<dyn Backend>), DriveError> {
    let is_qcow2 = match drive.format {
        Format::Raw => false,
        Format::Qcow2 => true,
        Format::Probe => probe(drive)?,
    };
    let (nodes, backend) = if is_qcow2 {
        open_qcow2(drive, index, surroundings)?
    } else {
        open_raw(drive, index, surroundings.threads)?
    };
    let Some(capacity) = drive.volatile_cache else {
        return Ok((nodes, backend));
    };
    let cache = VolatileCache::new(backend, capacity).map_err(|error| setup_error(drive, error))?;
    if drive.format == Format::Probe && !is_qcow2 {
        // In front of the cache too, where a refused write still fails to the guest.
        return Ok((nodes, Box::new(Probed::new(Box::new(cache)))));
    }
    Ok((nodes, Box::new(cache)))
}

/// Probes an image without a configured format for qcow2. Warns about the result.
fn probe(drive: &Drive) -> Result<bool, DriveError> {
    let (id, path) = (&drive.disk.id, drive.file.display());
    let refused = |source| DriveError::Open {
        id: id.clone(),
        source,
    };
    let guess = probing::probe(&drive.file)
        .map_err(|error| refused(ImageError::Open(drive.file.clone(), error).into()))?;
    match guess {
        Guess::Foreign(format) => Err(refused(OpenError::foreign(&drive.file, format))),
        Guess::Qcow2 => {
            tracing::warn!(
                "drive '{id}': '{path}' looks like qcow2 and is used as such; format=qcow2 says so"
            );
            Ok(true)
        }
        Guess::Raw => {
            tracing::warn!(
                "drive '{id}': '{path}' is used as raw, for it looks like no other format; writes to its first sector \
                 that would change that fail; format=raw says that it is raw"
            );
            Ok(false)
        }
    }
}

fn open_raw(
    drive: &Drive,
    index: u32,
    threads: &ThreadStart,
) -> Result<(Nodes, Box<dyn Backend>), DriveError> {
    let id = || drive.disk.id.clone();
    let image = Image::open(&drive.file, drive.image).map_err(|source| DriveError::Open {
        id: id(),
        source: source.into(),
    })?;
    let file = image.cached_file().try_clone();
    let layer = LayerInfo {
        path: drive.file.clone(),
        format: ImageFormat::Raw,
        virtual_size: image.length(),
        cluster_size: None,
        backing_name: None,
        backing_path: None,
        backing_format: None,
        file: file.map_err(|source| setup_error(drive, source))?,
    };
    let nodes = Nodes {
        layers: vec![layer],
        cache: image.cache(),
        index,
    };
    let backend = match drive.format {
        Format::Probe => drive.aio.start_probed(image, &drive.disk.id, threads),
        _ => drive.aio.start(image, &drive.disk.id, threads),
    };
    let backend = backend.map_err(|source| DriveError::Aio { id: id(), source })?;
    Ok((nodes, backend))
}

fn open_qcow2(
    drive: &Drive,
    index: u32,
    surroundings: Surroundings<'_>,
) -> Result<(Nodes, Box<dyn Backend>), DriveError> {
    let id = || drive.disk.id.clone();
    let observer = Arc::new(CorruptionSignal {
        id: id(),
        index,
        signals: surroundings.signals.clone(),
    });
    let mut image = Qcow2Image::open(&drive.file, drive.image, drive.backing, observer)
        .map_err(|source| DriveError::Open { id: id(), source })?;
    let nodes = Nodes {
        layers: image.take_layers(),
        cache: image.cache(),
        index,
    };
    let backend = drive
        .aio
        .start_qcow2(image, &drive.disk.id, surroundings.threads);
    let backend = backend.map_err(|source| DriveError::Aio { id: id(), source })?;
    Ok((nodes, backend))
}

fn setup_error(drive: &Drive, source: io::Error) -> DriveError {
    DriveError::Setup {
        id: drive.disk.id.clone(),
        source,
    }
}

impl Nodes {
    /// The path of the disk's image, as the command line has it.
    pub(super) fn path(&self) -> String {
        let path = self.layers.first().map(|layer| &layer.path);
        path.map(|path| path.display().to_string())
            .unwrap_or_default()
    }

    /// The disk's image, as `query-block` shows it.
    pub(super) fn top(&self, device: &VirtioBlock) -> BlockDeviceInfo {
        self.node(0, device, Nesting::Nested)
    }

    /// All images.
    pub(super) fn all(&self, device: &VirtioBlock, nesting: Nesting) -> Vec<BlockDeviceInfo> {
        let depths = 0..self.layers.len();
        depths
            .map(|depth| self.node(depth, device, nesting))
            .collect()
    }

    fn node(&self, depth: usize, device: &VirtioBlock, nesting: Nesting) -> BlockDeviceInfo {
        let configuration = device.configuration();
        let under = self.layers.get(depth + 1);
        let is_top = depth == 0;
        let file = self.layers.get(depth).map(|layer| layer.path.display());
        let format = self.layers.get(depth).map(|layer| layer.format.name());
        BlockDeviceInfo {
            file: file.map(|path| path.to_string()).unwrap_or_default(),
            node_name: Some(self.name(depth, device)),
            ro: !is_top || configuration.access == Access::ReadOnly,
            drv: format.unwrap_or_default().to_owned(),
            backing_file: under.map(|layer| layer.path.display().to_string()),
            backing_file_depth: number(self.layers.len() as u64 - 1 - depth as u64),
            // No migration makes a node inactive.
            active: true,
            encrypted: false,
            detect_zeroes: BlockdevDetectZeroesOptions::Off,
            bps: 0,
            bps_rd: 0,
            bps_wr: 0,
            iops: 0,
            iops_rd: 0,
            iops_wr: 0,
            image: self.image(depth, device, nesting),
            bps_max: None,
            bps_rd_max: None,
            bps_wr_max: None,
            iops_max: None,
            iops_rd_max: None,
            iops_wr_max: None,
            bps_max_length: None,
            bps_rd_max_length: None,
            bps_wr_max_length: None,
            iops_max_length: None,
            iops_rd_max_length: None,
            iops_wr_max_length: None,
            iops_size: None,
            group: None,
            cache: BlockdevCacheInfo {
                writeback: !is_top || device.caches_writes(),
                direct: self.cache == CacheMode::None,
                no_flush: self.cache == CacheMode::Unsafe,
            },
            write_threshold: match depth {
                0 => number(device.write_threshold().get()),
                _ => 0,
            },
        }
    }

    /// The top node has the disk's name. The others have generated names like QEMU's.
    fn name(&self, depth: usize, device: &VirtioBlock) -> String {
        node_name(&device.configuration().id, self.index, depth)
    }

    fn image(&self, depth: usize, device: &VirtioBlock, nesting: Nesting) -> ImageInfo {
        let layer = self.layers.get(depth);
        let text = |path: &PathBuf| path.display().to_string();
        let virtual_size = match depth {
            0 => device.length(),
            _ => layer.map_or(0, |layer| layer.virtual_size),
        };
        let is_qcow2 = layer.is_some_and(|layer| layer.format == ImageFormat::Qcow2);
        let has_backing = nesting == Nesting::Nested && depth + 1 < self.layers.len();
        ImageInfo {
            filename: layer.map(|layer| text(&layer.path)).unwrap_or_default(),
            format: layer
                .map(|layer| layer.format.name().to_owned())
                .unwrap_or_default(),
            dirty_flag: is_qcow2.then_some(false),
            actual_size: layer
                .and_then(|layer| layer.file.metadata().ok())
                .map(|metadata| number(metadata.blocks() * 512)),
            virtual_size: number(virtual_size),
            cluster_size: layer.and_then(|layer| layer.cluster_size).map(number),
            encrypted: None,
            compressed: None,
            backing_filename: layer.and_then(|layer| layer.backing_name.clone()),
            full_backing_filename: layer.and_then(|layer| layer.backing_path.as_ref().map(text)),
            backing_filename_format: layer.and_then(|layer| layer.backing_format.clone()),
            backing_image: has_backing.then(|| Box::new(self.image(depth + 1, device, nesting))),
        }
    }
}

fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
