//! Dropped references: decrementing refcounts and punching holes.
//!
//! The module above has the argument for the order. A cluster is not allocated again before its refcount is decremented
//! here.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno as HostError;

use super::header::u64_at;
use super::layer::Layer;
use super::metadata::L2_OFFSET;
use super::ordering::Order;
use super::{refcounts, references};
use crate::sync::lock;

/// The number of dropped clusters that are released without waiting for a flush, to bound their memory.
const MANY: usize = 16 << 10;

/// Clusters that have lost references.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    clusters: BTreeMap<u64, Fate>,
    /// Whether clusters dropped now are punched out of the file.
    gives_back: bool,
}

/// What is known of a dropped cluster.
#[derive(Debug, Clone, Copy, Default)]
struct Fate {
    /// The references lost.
    count: u64,
    /// Whether it was a table.
    is_table: bool,
    /// Whether it is punched out of the file if no reference is left.
    is_given_back: bool,
}

impl Dropped {
    /// Records that a data cluster has lost a reference.
    pub(super) fn add_data(&mut self, cluster: u64) {
        let fate = self.clusters.entry(cluster).or_default();
        fate.count += 1;
        fate.is_given_back |= self.gives_back;
    }

    /// Records that a table's cluster has lost a reference.
    pub(super) fn add_table(&mut self, cluster: u64) {
        self.add_data(cluster);
        let fate = self.clusters.entry(cluster).or_default();
        fate.is_table = true;
    }
}

impl Layer {
    /// The number of clusters that wait for a decrement.
    pub(super) fn dropped(&self) -> usize {
        let order = self.0.order.as_ref();
        order.map_or(0, |order| lock(order).dropped.clusters.len())
    }

    /// Whether so many wait that they should be released now.
    pub(super) fn is_full(&self) -> bool {
        self.dropped() >= MANY
    }

    /// Whether some of them are to be punched out of the file.
    pub(super) fn owes_space(&self) -> bool {
        let Some(order) = &self.0.order else {
            return false;
        };
        let order = lock(order);
        let mut fates = order.dropped.clusters.values();
        fates.any(|fate| fate.is_given_back)
    }

    /// Sets whether clusters dropped from now on are punched out of the file.
    pub(super) fn give_back(&self, gives_back: bool) {
        if let Some(order) = &self.0.order {
            lock(order).dropped.gives_back = gives_back;
        }
    }

    /// Records a cluster that was allocated for data and is not referenced after all.
    pub(super) fn abandon(&self, cluster: u64) {
        if let Some(order) = &self.0.order {
            lock(order).dropped.add_data(cluster);
        }
    }

    /// Decrements the refcounts of dropped clusters, and punches holes for those that reach zero. The caller has
    /// exclusive access, has flushed everything to the medium, and makes the library read its tables again before
    /// anybody else uses the image. Returns whether that is needed.
    ///
    /// # Errors
    ///
    /// The host's error; clusters that are not decremented stay dropped. Those of a block that may be partly written
    /// are leaked: decrementing one twice would free a cluster in use.
    pub(super) fn release(&self) -> io::Result<bool> {
        let Some(order) = &self.0.order else {
            return Ok(false);
        };
        let mut order = lock(order);
        let shape = order.metadata.shape();
        let clusters = std::mem::take(&mut order.dropped.clusters);
        let mut by_block = BTreeMap::<u64, BTreeMap<u64, Fate>>::new();
        for (cluster, fate) in clusters {
            let block = by_block.entry(shape.block(cluster)).or_default();
            block.insert(cluster, fate);
        }
        let mut result = Ok(false);
        for (index, fates) in by_block {
            if result.is_err() {
                order.dropped.clusters.extend(fates);
                continue;
            }
            result = match self.decrement(&mut order, index, &fates) {
                Ok(written) => written.map(|()| true),
                Err(error) => {
                    order.dropped.clusters.extend(fates);
                    Err(error)
                }
            };
        }
        result
    }

    /// Decrements refcounts of one block. The inner result is that of writing it; after an outer error nothing has been
    /// changed.
    fn decrement(
        &self,
        order: &mut Order,
        index: u64,
        fates: &BTreeMap<u64, Fate>,
    ) -> io::Result<io::Result<()>> {
        let shape = order.metadata.shape();
        let tables = order.metadata.tables();
        // A cluster without a refcount is not the image's.
        let Some(place) = self.block_place(order, tables, index)? else {
            return Ok(Ok(()));
        };
        let mut block = self.read_cluster(order, place)?;
        let (mut free, mut holes) = (Vec::new(), Vec::<Range<u64>>::new());
        for (cluster, fate) in fates {
            let index = shape.index(*cluster);
            let count = refcounts::get(&block, index, shape.order);
            // The entry referred to a table or to a free cluster by mistake.
            let is_wrong = !fate.is_table && order.metadata.is_table(*cluster);
            let Some(left) = count.checked_sub(fate.count).filter(|_| !is_wrong) else {
                continue;
            };
            refcounts::set(&mut block, index, shape.order, left);
            if left > 0 {
                continue;
            }
            free.push(*cluster);
            match holes.last_mut() {
                _ if !fate.is_given_back => {}
                Some(hole) if hole.end == *cluster => hole.end += 1,
                _ => holes.push(*cluster..*cluster + 1),
            }
        }
        for hole in holes {
            self.punch(hole.start << shape.cluster_bits..hole.end << shape.cluster_bits)?;
        }
        let written = self.write_bytes(&block, place);
        self.data_written();
        for cluster in free {
            order.raised.remove(&cluster);
            order.metadata.forget(cluster);
        }
        Ok(written)
    }

    /// Punches a hole. A host that cannot keeps the space.
    fn punch(&self, bytes: Range<u64>) -> io::Result<()> {
        if self.is_frozen() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let file = self.image().cached_file();
        match fallocate(file, mode, bytes.start, bytes.end - bytes.start) {
            Ok(()) | Err(HostError::OPNOTSUPP | HostError::NOSYS | HostError::NODEV) => Ok(()),
            Err(error) => {
                tracing::debug!("'{self}' gives no space back: {error}");
                Ok(())
            }
        }
    }

    /// Clears entries of the L1 table from an index on, and drops the L2 tables and their clusters;
    /// about as many at a time as [`Layer::is_full`] allows. Returns whether none is left. The same
    /// is asked of the caller as for [`Layer::release`].
    ///
    /// # Errors
    ///
    /// What the host says.
    pub(super) fn cut_tables(&self, first: u64) -> io::Result<bool> {
        let Some(order) = &self.0.order else {
            return Ok(true);
        };
        let mut order = lock(order);
        let (shape, tables) = (order.metadata.shape(), order.metadata.tables());
        let start = first.saturating_mul(8).min(tables.l1_length());
        let mut l1 = vec![0; usize::try_from(tables.l1_length() - start).unwrap_or(0)];
        self.read_bytes(&mut l1, tables.l1_offset + start)?;
        for at in (0..l1.len()).step_by(8) {
            let table = u64_at(&l1, at).unwrap_or(0) & L2_OFFSET;
            if table == 0 {
                continue;
            }
            if order.dropped.clusters.len() >= MANY {
                return Ok(false);
            }
            let entries = match table.is_multiple_of(shape.cluster_size()) {
                true => self.read_cluster(&order, table)?,
                // An invalid entry refers to nothing.
                false => Vec::new(),
            };
            self.write_bytes(&[0; 8], tables.l1_offset + start + at as u64)?;
            for cluster in references::of_table(&entries, shape.cluster_bits) {
                order.dropped.add_data(cluster);
            }
            if !entries.is_empty() {
                order.dropped.add_table(table >> shape.cluster_bits);
            }
        }
        Ok(true)
    }

    /// Whether the L2 table at an index of the L1 table has entries that are not zero, from one of
    /// its own indices on.
    ///
    /// # Errors
    ///
    /// What the host says.
    pub(super) fn has_entries(&self, l1_index: u64, first: u64) -> io::Result<bool> {
        let Some(order) = &self.0.order else {
            return Ok(false);
        };
        let order = lock(order);
        let (shape, tables) = (order.metadata.shape(), order.metadata.tables());
        let at = l1_index.saturating_mul(8);
        if at >= tables.l1_length() {
            return Ok(false);
        }
        let mut entry = [0; 8];
        self.read_bytes(&mut entry, tables.l1_offset + at)?;
        let table = u64::from_be_bytes(entry) & L2_OFFSET;
        if table == 0 || !table.is_multiple_of(shape.cluster_size()) {
            return Ok(false);
        }
        let entries = self.read_cluster(&order, table)?;
        let rest = usize::try_from(first.saturating_mul(8)).unwrap_or(usize::MAX);
        let rest = entries.get(rest..).unwrap_or_default();
        Ok(rest.iter().any(|byte| *byte != 0))
    }
}
