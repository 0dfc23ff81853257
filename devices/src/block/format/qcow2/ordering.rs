//! The order in which the library's writes reach the file and the medium.
//!
//! The parent module states the rules that are enforced here, and why they suffice.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::header::{SIZE_AT, Tables, V2_LENGTH, u64_at};
use super::layer::Layer;
use super::metadata::{BLOCK_OFFSET, L2_OFFSET, Metadata, Overlap, Write};
use super::refcounts;
use super::references::Difference;
use super::release::Dropped;
use crate::block::model::errno::Errno;
use crate::sync::lock;

/// Entries by their offsets.
type Entries = BTreeMap<u64, Vec<u8>>;

/// Held-back entries.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Refcount table entries. L2 tables wait for them.
    refcounts: Entries,
    /// L1 entries.
    l1: Entries,
}

impl Held {
    /// Whether no entry is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.refcounts.is_empty() && self.l1.is_empty()
    }
}

/// An image's tables as far as they are known, and the entries held back.
#[derive(Debug)]
pub(super) struct Order {
    pub metadata: Metadata,
    held: Held,
    /// Clusters whose refcounts were raised here before the library wrote them.
    pub raised: BTreeSet<u64>,
    /// Clusters that have lost references in the file.
    pub dropped: Dropped,
    /// The size written to the header, overriding the library's.
    pinned_size: Option<u64>,
}

impl Order {
    pub(super) fn new(metadata: Metadata) -> Self {
        Self {
            metadata,
            held: Held::default(),
            raised: BTreeSet::new(),
            dropped: Dropped::default(),
            pinned_size: None,
        }
    }
}

impl Layer {
    /// Takes the held-back entries. Their targets are on the medium once the library has flushed
    /// and the medium is synced. Refcount table entries stay held back too: L2 tables that the
    /// library writes until then need them.
    pub(super) fn take_held(&self) -> Held {
        let Some(order) = &self.0.order else {
            return Held::default();
        };
        let mut order = lock(order);
        Held {
            refcounts: order.held.refcounts.clone(),
            l1: std::mem::take(&mut order.held.l1),
        }
    }

    /// Holds back again entries that were taken and not written. Newer ones take precedence.
    pub(super) fn put_back(&self, held: Held) {
        if let Some(order) = &self.0.order {
            let mut order = lock(order);
            for (offset, bytes) in held.l1 {
                order.held.l1.entry(offset).or_insert(bytes);
            }
        }
    }

    /// Discards held-back entries, as the library discards what it has not written. Their tables
    /// are unreferenced then. What was dropped for them may still be referenced, and leaks.
    pub(super) fn forget_held(&self) {
        let Some(order) = &self.0.order else {
            return;
        };
        let mut order = lock(order);
        let held = std::mem::take(&mut order.held);
        order.dropped = Dropped::default();
        let mut unused = targets(&order, &held.refcounts, BLOCK_OFFSET);
        unused.extend(targets(&order, &held.l1, L2_OFFSET));
        for cluster in unused {
            order.metadata.forget(cluster);
        }
    }

    /// Writes entries that were taken, once their targets are on the medium.
    ///
    /// # Errors
    ///
    /// The host's errno. The entries are held back again then.
    pub(super) fn write_held(&self, mut held: Held) -> Result<(), Errno> {
        let Some(order) = &self.0.order else {
            return Ok(());
        };
        let result = {
            let mut order = lock(order);
            // The targets of newer ones may not have a refcount on the medium yet.
            let mut taken = held.refcounts.clone();
            taken.retain(|offset, bytes| order.held.refcounts.get(offset) == Some(bytes));
            self.write_refcount_entries(&mut order, &taken)
                .and_then(|()| self.write_l1_entries(&mut order, &mut held.l1))
        };
        result.map_err(|error| {
            self.put_back(held);
            Errno::of(&error)
        })
    }

    /// Writes refcount table entries. The blocks and their refcounts are on the medium before, the
    /// entries on return.
    fn write_refcount_entries(&self, order: &mut Order, entries: &Entries) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let blocks = targets(order, entries, BLOCK_OFFSET);
        let tables = order.metadata.tables();
        self.raise(order, tables, &blocks)?;
        self.sync_if_needed()?;
        for (offset, bytes) in entries {
            if is_entry(&order.metadata, *offset, bytes, Write::RefcountTableEntry) {
                self.write_bytes(bytes, *offset)?;
            }
        }
        self.wait_for_medium().map_err(Errno::into_error)?;
        order
            .held
            .refcounts
            .retain(|offset, bytes| entries.get(offset) != Some(bytes));
        Ok(())
    }

    /// Writes L1 entries, and drops the L2 tables that they referred to. After an error, `entries`
    /// holds those not written.
    fn write_l1_entries(&self, order: &mut Order, entries: &mut Entries) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let new_tables = targets(order, entries, L2_OFFSET);
        let tables = order.metadata.tables();
        self.raise(order, tables, &new_tables)?;
        self.sync_if_needed()?;
        while let Some(entry) = entries.first_entry() {
            let (offset, bytes) = (*entry.key(), entry.get());
            // A table that moved meanwhile has these entries in its new place.
            if is_entry(&order.metadata, offset, bytes, Write::L1Entry) {
                let mut old = [0; 8];
                self.read_bytes(&mut old, offset)?;
                self.write_bytes(bytes, offset)?;
                let shape = order.metadata.shape();
                let [old, new] =
                    [&old[..], bytes].map(|bytes| u64_at(bytes, 0).unwrap_or(0) & L2_OFFSET);
                if old != new && old != 0 {
                    order.dropped.add_table(old >> shape.cluster_bits);
                }
            }
            entry.remove();
        }
        Ok(())
    }

    /// Raises zero refcounts in the file to one, before a reference to the clusters is written.
    fn raise(&self, order: &mut Order, tables: Tables, clusters: &[u64]) -> io::Result<()> {
        let shape = order.metadata.shape();
        let mut by_block = BTreeMap::<u64, Vec<u64>>::new();
        for cluster in clusters {
            by_block
                .entry(shape.block(*cluster))
                .or_default()
                .push(*cluster);
        }
        for (index, clusters) in by_block {
            let Some(place) = self.block_place(order, tables, index)? else {
                let uncounted = "a cluster is to be used that no block of refcounts counts";
                return Err(io::Error::new(io::ErrorKind::InvalidData, uncounted));
            };
            let mut block = self.read_cluster(order, place)?;
            let mut is_changed = false;
            for cluster in clusters {
                let index = shape.index(cluster);
                if refcounts::get(&block, index, shape.order) == 0 {
                    refcounts::set(&mut block, index, shape.order, 1);
                    order.raised.insert(cluster);
                    is_changed = true;
                }
            }
            if is_changed {
                self.write_bytes(&block, place)?;
                self.data_written();
            }
        }
        Ok(())
    }

    /// Offset of a refcount block, by its entry's index, if there is one. A held-back entry counts:
    /// it is written before its dependents.
    pub(super) fn block_place(
        &self,
        order: &Order,
        tables: Tables,
        index: u64,
    ) -> io::Result<Option<u64>> {
        let shape = order.metadata.shape();
        let at = index.saturating_mul(8);
        if at >= tables.refcounts_length(shape.cluster_bits) {
            return Ok(None);
        }
        let offset = tables.refcounts_offset + at;
        let mut entry = [0; 8];
        match order.held.refcounts.get(&offset) {
            Some(bytes) if bytes.len() == entry.len() => entry.copy_from_slice(bytes),
            _ => self.read_bytes(&mut entry, offset)?,
        }
        let place = u64::from_be_bytes(entry) & BLOCK_OFFSET;
        let is_place = place != 0 && place.is_multiple_of(shape.cluster_size());
        Ok(is_place.then_some(place))
    }

    /// Reads a cluster of the file.
    pub(super) fn read_cluster(&self, order: &Order, offset: u64) -> io::Result<Vec<u8>> {
        let size = order.metadata.shape().cluster_size();
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        self.read_bytes(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Syncs if a target of an entry may not be on the medium yet.
    fn sync_if_needed(&self) -> io::Result<()> {
        if !self.0.unsynced.is_behind() {
            return Ok(());
        }
        // A failed sync stays failed.
        self.wait_for_medium().map_err(Errno::into_error)
    }

    /// Writes or holds back what the library writes, in the order that keeps the image consistent.
    pub(super) fn write_ordered(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(order) = &self.0.order else {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        // Locked to the end: no other write may overtake a sync.
        let mut order = lock(order);
        let write = order
            .metadata
            .classify(offset, bytes.len() as u64)
            .map_err(Overlap::into_error)?;
        match write {
            Write::L1Entry => {
                order.metadata.note_entry(write, bytes);
                order.held.l1.insert(offset, bytes.to_vec());
                Ok(())
            }
            Write::RefcountTableEntry => {
                order.metadata.note_entry(write, bytes);
                order.held.refcounts.insert(offset, bytes.to_vec());
                Ok(())
            }
            Write::L2 => self.write_l2(&mut order, bytes, offset),
            Write::Header => self.write_header(&mut order, bytes),
            Write::RefcountBlock => self.write_block(&mut order, bytes, offset),
            Write::Unreferenced => {
                drop(order);
                self.write_bytes(bytes, offset)?;
                self.data_written();
                Ok(())
            }
        }
    }

    fn write_l2(&self, order: &mut Order, bytes: &[u8], offset: u64) -> io::Result<()> {
        let shape = order.metadata.shape();
        let old = self.read_cluster(order, offset)?;
        let Difference { added, dropped } = Difference::between(&old, bytes, shape.cluster_bits);
        let held = order.held.refcounts.clone();
        self.write_refcount_entries(order, &held)?;
        let tables = order.metadata.tables();
        self.raise(order, tables, &added)?;
        self.sync_if_needed()?;
        self.write_bytes(bytes, offset)?;
        for cluster in dropped {
            order.dropped.add_data(cluster);
        }
        Ok(())
    }

    fn write_block(&self, order: &mut Order, bytes: &[u8], offset: u64) -> io::Result<()> {
        let shape = order.metadata.shape();
        let tables = order.metadata.tables();
        let mut block = None;
        for cluster in order.raised.clone() {
            if self.block_place(order, tables, shape.block(cluster))? != Some(offset) {
                continue;
            }
            let index = shape.index(cluster);
            if refcounts::get(bytes, index, shape.order) == 0 {
                // The library's copy is older than the allocation.
                let block = block.get_or_insert_with(|| bytes.to_vec());
                refcounts::set(block, index, shape.order, 1);
            } else {
                order.raised.remove(&cluster);
            }
        }
        self.write_bytes(block.as_deref().unwrap_or(bytes), offset)?;
        self.data_written();
        Ok(())
    }

    fn write_header(&self, order: &mut Order, bytes: &[u8]) -> io::Result<()> {
        let shape = order.metadata.shape();
        let old = order.metadata.tables();
        let new = Tables::of(bytes).unwrap_or(old);
        let l1 = |tables: Tables| shape.clusters(tables.l1_offset, tables.l1_length());
        let blocks = |tables: Tables| {
            let length = tables.refcounts_length(shape.cluster_bits);
            shape.clusters(tables.refcounts_offset, length)
        };
        let held = order.held.refcounts.clone();
        self.write_refcount_entries(order, &held)?;
        let mut dropped = Vec::new();
        for (before, after) in [(l1(old), l1(new)), (blocks(old), blocks(new))] {
            let added: Vec<_> = after.clone().filter(|c| !before.contains(c)).collect();
            self.raise(order, new, &added)?;
            dropped.extend(before.filter(|cluster| !after.contains(cluster)));
        }
        let mut header = bytes.to_vec();
        if let Some(size) = order.pinned_size
            && let Some(field) = header.get_mut(SIZE_AT..SIZE_AT + 8)
        {
            field.copy_from_slice(&size.to_be_bytes());
        }
        let waited = |()| self.wait_for_medium().map_err(Errno::into_error);
        waited(())?;
        self.write_bytes(&header, 0).and_then(waited)?;
        order
            .metadata
            .note_header(self.image().cached_file(), bytes);
        for cluster in dropped {
            order.dropped.add_table(cluster);
        }
        Ok(())
    }

    /// Pins the size in the header until it is unpinned: the library writes it before its tables.
    pub(super) fn pin_size(&self, size: Option<u64>) {
        if let Some(order) = &self.0.order {
            lock(order).pinned_size = size;
        }
    }

    /// Writes the guest's disk size to the header, where the library reads it.
    ///
    /// # Errors
    ///
    /// The host's errno.
    pub(super) fn write_size(&self, size: u64) -> io::Result<()> {
        let mut header = [0; V2_LENGTH];
        self.read_bytes(&mut header, 0)?;
        header[SIZE_AT..SIZE_AT + 8].copy_from_slice(&size.to_be_bytes());
        self.write_ordered(&header, 0)
    }
}

/// The clusters that entries refer to.
fn targets(order: &Order, entries: &Entries, mask: u64) -> Vec<u64> {
    let bits = order.metadata.shape().cluster_bits;
    let offsets = entries
        .values()
        .map(|bytes| u64_at(bytes, 0).unwrap_or(0) & mask);
    offsets
        .filter(|offset| *offset != 0)
        .map(|offset| offset >> bits)
        .collect()
}

fn is_entry(metadata: &Metadata, offset: u64, bytes: &[u8], write: Write) -> bool {
    metadata.classify(offset, bytes.len() as u64) == Ok(write)
}
