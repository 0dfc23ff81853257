//! The features and the configuration space (virtio 1.2 §5.2.3 and §5.2.4).

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use virtio_bindings::bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_CONFIG_WCE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_SIZE_MAX,
    VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};

use super::DiskConfiguration;
use super::ranges::MAX_RANGES;
use crate::block::model::access::Access;
use crate::block::model::request::{Capabilities, RangeLimits, SECTOR_SIZE};
use crate::life_cycle::RestoreError;
use crate::sync::lock;

/// Longest data segment that a driver should send, in bytes. With [`MAX_SEGMENTS`] it limits a
/// request.
pub(super) const SIZE_MAX: u32 = 4 << 20;

/// Maximum number of data segments of a request: a queue of 256 without header and status.
pub(super) const MAX_SEGMENTS: u16 = 254;

/// Used length of the configuration space.
const LENGTH: usize = 60;

/// Offset of `writeback`, the only field that a driver may write.
const WRITEBACK: u64 = 32;

/// A feature that can be withheld (virtio 1.2 §5.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// Discard requests.
    Discard,
    /// Write-zeroes requests.
    WriteZeroes,
    /// The driver may switch the write cache.
    ConfigWce,
    /// Flushes. Without them every write is durable when it completes.
    Flush,
}

impl Feature {
    fn bit(self) -> u32 {
        match self {
            Self::Discard => VIRTIO_BLK_F_DISCARD,
            Self::WriteZeroes => VIRTIO_BLK_F_WRITE_ZEROES,
            Self::ConfigWce => VIRTIO_BLK_F_CONFIG_WCE,
            Self::Flush => VIRTIO_BLK_F_FLUSH,
        }
    }

    /// Whether these bits contain it.
    pub(super) fn is_in(self, features: u64) -> bool {
        features & 1 << self.bit() != 0
    }
}

/// The offered features and the configuration space.
#[derive(Debug)]
pub(super) struct Space {
    features: u64,
    queues: u16,
    queue_size: u16,
    logical_block_size: u32,
    physical_block_size: u32,
    capabilities: Capabilities,
    /// The write cache setting after a reset.
    default_write_cache: bool,
    size: Mutex<Size>,
    write_cache: AtomicBool,
}

/// The mutable part of the configuration space, as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SpaceState {
    sectors: u64,
    generation: u32,
    write_cache: bool,
}

/// The size and its generation change together: equal generations before and after mean that the
/// reads in between saw one size.
#[derive(Debug, Clone, Copy, Default)]
struct Size {
    sectors: u64,
    generation: u32,
}

impl Space {
    pub(super) fn new(
        configuration: &DiskConfiguration,
        length: u64,
        mut capabilities: Capabilities,
    ) -> Self {
        let mut features = [
            VIRTIO_BLK_F_SIZE_MAX,
            VIRTIO_BLK_F_SEG_MAX,
            VIRTIO_BLK_F_BLK_SIZE,
            VIRTIO_BLK_F_TOPOLOGY,
            VIRTIO_BLK_F_FLUSH,
            VIRTIO_BLK_F_CONFIG_WCE,
        ]
        .iter()
        .fold(0, |features, bit| features | 1 << bit);
        let mut offer = |feature: u32, offered: bool| features |= u64::from(offered) << feature;
        let is_writable = configuration.access == Access::ReadWrite;
        offer(VIRTIO_BLK_F_RO, !is_writable);
        offer(VIRTIO_BLK_F_MQ, configuration.queues > 1);
        offer(
            VIRTIO_BLK_F_DISCARD,
            is_writable && capabilities.discard.is_some(),
        );
        offer(
            VIRTIO_BLK_F_WRITE_ZEROES,
            is_writable && capabilities.write_zeroes.is_some(),
        );
        for feature in &configuration.withheld {
            features &= !(1 << feature.bit());
        }
        // As in QEMU: without discards nothing is deallocated.
        capabilities.unmaps &= !configuration.withheld.contains(&Feature::Discard);
        // The ranges of a write-zeroes request together are limited to the maximum of one: a host
        // may have to write them, which delays a drain. Discards are quick.
        if let Some(limits) = &mut capabilities.write_zeroes {
            limits.max_length /= u64::from(MAX_RANGES);
        }
        let space = Self {
            features,
            queues: configuration.queues,
            queue_size: configuration.queue_size,
            logical_block_size: configuration.logical_block_size,
            physical_block_size: configuration.physical_block_size,
            capabilities,
            default_write_cache: configuration.write_cache,
            size: Mutex::default(),
            write_cache: AtomicBool::new(configuration.write_cache),
        };
        space.resize(length);
        space
    }

    /// The offered features.
    pub(super) fn features(&self) -> u64 {
        self.features
    }

    /// Sectors of the disk, rounded down to whole blocks.
    pub(super) fn sectors(&self) -> u64 {
        lock(&self.size).sectors
    }

    /// Sets the disk's length in bytes.
    pub(super) fn resize(&self, length: u64) {
        let block = u64::from(self.logical_block_size).max(SECTOR_SIZE);
        let mut size = lock(&self.size);
        size.sectors = length / block * (block / SECTOR_SIZE);
        size.generation = size.generation.wrapping_add(1);
    }

    /// Changes whenever a field does (virtio 1.2 §2.5).
    pub(super) fn generation(&self) -> u32 {
        lock(&self.size).generation
    }

    /// The range limits of discard and write-zeroes requests.
    pub(super) fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Whether a write may complete before it is durable, for a driver with these features.
    pub(super) fn caches_writes(&self, features: u64) -> bool {
        if !Feature::Flush.is_in(features) {
            // The driver cannot flush.
            return false;
        }
        !Feature::ConfigWce.is_in(features) || self.has_write_cache()
    }

    /// The write cache setting in the configuration space.
    pub(super) fn has_write_cache(&self) -> bool {
        self.write_cache.load(Ordering::Acquire)
    }

    /// Resets the driver's choices.
    pub(super) fn reset(&self) {
        self.write_cache
            .store(self.default_write_cache, Ordering::Release);
    }

    /// Its mutable part, as plain data.
    pub(super) fn save(&self) -> SpaceState {
        let Size {
            sectors,
            generation,
        } = *lock(&self.size);
        SpaceState {
            sectors,
            generation,
            write_cache: self.has_write_cache(),
        }
    }

    /// Checks a saved state.
    ///
    /// # Errors
    ///
    /// [`RestoreError::Mismatch`] when the disk has another size.
    pub(super) fn check(&self, state: SpaceState) -> Result<(), RestoreError> {
        let sectors = self.sectors();
        if state.sectors == sectors {
            return Ok(());
        }
        Err(RestoreError::Mismatch {
            what: "sectors",
            saved: state.sectors.to_string(),
            own: sectors.to_string(),
        })
    }

    /// Restores a saved state that was checked.
    pub(super) fn restore(&self, state: SpaceState) {
        lock(&self.size).generation = state.generation;
        self.write_cache.store(state.write_cache, Ordering::Release);
    }

    /// Reads it; bytes past its end are zero.
    pub(super) fn read(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let bytes = self.bytes();
        for (to, from) in data.iter_mut().zip(bytes.iter().skip(start)) {
            *to = *from;
        }
    }

    /// Handles a write of a driver with these features. Only the write cache field is writable.
    pub(super) fn write(&self, features: u64, offset: u64, data: &[u8]) {
        if Feature::ConfigWce.is_in(features)
            && offset == WRITEBACK
            && let [cached] = data
        {
            self.write_cache.store(*cached != 0, Ordering::Release);
        }
    }

    fn bytes(&self) -> [u8; LENGTH] {
        let mut space = [0; LENGTH];
        let mut put = |at: usize, bytes: &[u8]| space[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.sectors().to_le_bytes());
        put(8, &SIZE_MAX.to_le_bytes());
        let segments = self.queue_size.saturating_sub(2).clamp(1, MAX_SEGMENTS);
        put(12, &u32::from(segments).to_le_bytes());
        // No geometry.
        put(20, &self.logical_block_size.to_le_bytes());
        let ratio = self.physical_block_size / self.logical_block_size.max(1);
        let exponent = u8::try_from(ratio.checked_ilog2().unwrap_or(0)).unwrap_or(0);
        put(24, &[exponent]);
        put(32, &[u8::from(self.has_write_cache())]);
        put(34, &self.queues.to_le_bytes());
        let ranges = |limits: Option<RangeLimits>| limits.map_or(0, |_| MAX_RANGES);
        put(36, &max_sectors(self.capabilities.discard).to_le_bytes());
        put(40, &ranges(self.capabilities.discard).to_le_bytes());
        let alignment = self
            .capabilities
            .discard
            .map_or(0, |limits| limits.alignment);
        let alignment = alignment.max(self.logical_block_size) / 512;
        put(44, &alignment.to_le_bytes());
        put(
            48,
            &max_sectors(self.capabilities.write_zeroes).to_le_bytes(),
        );
        put(52, &ranges(self.capabilities.write_zeroes).to_le_bytes());
        put(56, &[u8::from(self.capabilities.unmaps)]);
        space
    }
}

/// Sectors of the longest range.
pub(super) fn max_sectors(limits: Option<RangeLimits>) -> u32 {
    limits.map_or(0, |limits| {
        u32::try_from(limits.max_length / SECTOR_SIZE).unwrap_or(u32::MAX)
    })
}
