//! The positions of an image's tables in its file.
//!
//! The library trusts the tables. An entry that refers a guest's write to a table, or a table's cluster with a refcount
//! of zero, would let the guest destroy the image. Every write is therefore checked here first, as in QEMU
//! (`qcow2_pre_write_overlap_check`).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::error::FormatError;
use super::header::{Header, Tables, u64_at};
use super::refcounts::{self, Shape};

/// The bits of an entry of the L1 table, or of the refcount table, that are an offset.
pub(super) const L2_OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
pub(super) const BLOCK_OFFSET: u64 = 0xffff_ffff_ffff_fe00;

/// The use of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Header,
    L1,
    L2,
    RefcountTable,
    RefcountBlock,
    Snapshots,
}

impl Kind {
    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::L1 => "L1 table",
            Self::L2 => "L2 table",
            Self::RefcountTable => "refcount table",
            Self::RefcountBlock => "refcount block",
            Self::Snapshots => "snapshot table",
        }
    }
}

/// A write of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Write {
    /// The header.
    Header,
    /// An L1 entry, which refers to an L2 table.
    L1Entry,
    /// An entry of the refcount table, which refers to a refcount block.
    RefcountTableEntry,
    /// Refcounts.
    RefcountBlock,
    /// An L2 table that an entry refers to.
    L2,
    /// Something without a reference yet: a new table, or a copy of data.
    Unreferenced,
}

/// A write that would destroy a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a write would destroy the {}", kind.name())]
pub(super) struct Overlap {
    pub kind: Kind,
    pub offset: u64,
    pub length: u64,
}

impl Overlap {
    /// In a form that the library passes on.
    pub(super) fn into_error(self) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, self)
    }
}

/// The tables of one image.
#[derive(Debug)]
pub(super) struct Metadata {
    cluster_bits: u32,
    refcount_order: u32,
    tables: Tables,
    /// The use of each cluster without guest data.
    clusters: BTreeMap<u64, Kind>,
}

impl Metadata {
    /// Reads the tables of an image that is to be written.
    ///
    /// # Errors
    ///
    /// If a table cannot be read, shares a cluster with another, or has a refcount of zero.
    pub(super) fn read(file: &File, header: &Header) -> Result<Self, FormatError> {
        let mut metadata = Self {
            cluster_bits: header.cluster_bits,
            refcount_order: header.refcount_order,
            tables: header.tables,
            clusters: BTreeMap::new(),
        };
        let (tables, bits) = (header.tables, header.cluster_bits);
        metadata.add(0, 1, Kind::Header)?;
        metadata.add(tables.l1_offset, tables.l1_length(), Kind::L1)?;
        let refcounts_length = tables.refcounts_length(bits);
        metadata.add(
            tables.refcounts_offset,
            refcounts_length,
            Kind::RefcountTable,
        )?;
        if let Some(offset) = header.snapshots {
            metadata.add(offset, 1, Kind::Snapshots)?;
        }
        for entry in entries(file, tables.l1_offset, tables.l1_length())? {
            metadata.lead_to(entry & L2_OFFSET, Kind::L2)?;
        }
        let blocks = entries(file, tables.refcounts_offset, refcounts_length)?;
        for entry in &blocks {
            metadata.lead_to(entry & BLOCK_OFFSET, Kind::RefcountBlock)?;
        }
        metadata.check_refcounts(file, &blocks)?;
        Ok(metadata)
    }

    /// The positions of refcounts in their blocks.
    pub(super) fn shape(&self) -> Shape {
        Shape {
            cluster_bits: self.cluster_bits,
            order: self.refcount_order,
        }
    }

    /// The positions of the root tables.
    pub(super) fn tables(&self) -> Tables {
        self.tables
    }

    /// Whether a cluster has no guest data.
    pub(super) fn is_table(&self, cluster: u64) -> bool {
        self.clusters.contains_key(&cluster)
    }

    /// Records that a cluster is free.
    pub(super) fn forget(&mut self, cluster: u64) {
        self.clusters.remove(&cluster);
    }

    /// Records clusters.
    fn add(&mut self, offset: u64, length: u64, kind: Kind) -> Result<(), FormatError> {
        let first = offset >> self.cluster_bits;
        let end = offset
            .saturating_add(length)
            .div_ceil(1 << self.cluster_bits);
        for cluster in first..end {
            match self.clusters.entry(cluster) {
                Entry::Vacant(entry) => drop(entry.insert(kind)),
                Entry::Occupied(_) => {
                    return Err(FormatError::Overlap(cluster << self.cluster_bits));
                }
            }
        }
        Ok(())
    }

    /// Records the target of an entry. One that is not aligned is left to the library, which reports it on use.
    fn lead_to(&mut self, offset: u64, kind: Kind) -> Result<(), FormatError> {
        let is_table = offset != 0 && offset & ((1 << self.cluster_bits) - 1) == 0;
        if is_table {
            self.add(offset, 1, kind)
        } else {
            Ok(())
        }
    }

    /// Whether every table has a refcount. One without would be allocated again.
    fn check_refcounts(&self, file: &File, blocks: &[u64]) -> Result<(), FormatError> {
        let shape = self.shape();
        let mut current = None;
        let mut block = vec![0; 1 << self.cluster_bits];
        for (cluster, kind) in &self.clusters {
            let place = usize::try_from(shape.block(*cluster))
                .ok()
                .and_then(|index| blocks.get(index))
                .map_or(0, |entry| entry & BLOCK_OFFSET);
            if current != Some(place) {
                current = Some(place);
                // What is beyond the file has no refcount.
                block.fill(0);
                let _ = (place != 0).then(|| read_available(file, &mut block, place));
            }
            let count = refcounts::get(&block, shape.index(*cluster), shape.order);
            // Snapshots are not modified.
            if count == 0 && *kind != Kind::Snapshots {
                let offset = cluster << self.cluster_bits;
                return Err(FormatError::NotCounted(kind.name(), offset));
            }
        }
        Ok(())
    }

    /// The table that a write at this offset would destroy, if there is one.
    pub(super) fn overlap(&self, offset: u64, length: u64) -> Option<Overlap> {
        let first = offset >> self.cluster_bits;
        let end = offset
            .saturating_add(length)
            .div_ceil(1 << self.cluster_bits);
        let (_, kind) = self.clusters.range(first..end.max(first)).next()?;
        Some(Overlap {
            kind: *kind,
            offset,
            length,
        })
    }

    /// The meaning of the library's write at this offset.
    ///
    /// # Errors
    ///
    /// The table that it would destroy.
    pub(super) fn classify(&self, offset: u64, length: u64) -> Result<Write, Overlap> {
        let Some(overlap) = self.overlap(offset, length) else {
            return Ok(Write::Unreferenced);
        };
        let cluster_size = 1 << self.cluster_bits;
        let is_cluster = length == cluster_size && offset.is_multiple_of(cluster_size);
        let is_within = |start: u64, size| offset >= start && offset + length <= start + size;
        let refcounts_length = self.tables.refcounts_length(self.cluster_bits);
        match overlap.kind {
            Kind::Header if is_within(0, cluster_size) => Ok(Write::Header),
            Kind::L1
                if length == 8 && is_within(self.tables.l1_offset, self.tables.l1_length()) =>
            {
                Ok(Write::L1Entry)
            }
            Kind::RefcountTable
                if length == 8 && is_within(self.tables.refcounts_offset, refcounts_length) =>
            {
                Ok(Write::RefcountTableEntry)
            }
            Kind::L2 if is_cluster => Ok(Write::L2),
            Kind::RefcountBlock if is_cluster => Ok(Write::RefcountBlock),
            _ => Err(overlap),
        }
    }

    /// Records an entry that is about to be written. The library must not make two entries refer to one table.
    pub(super) fn note_entry(&mut self, write: Write, bytes: &[u8]) {
        let (mask, kind) = match write {
            Write::L1Entry => (L2_OFFSET, Kind::L2),
            Write::RefcountTableEntry => (BLOCK_OFFSET, Kind::RefcountBlock),
            _ => return,
        };
        let offset = u64_at(bytes, 0).unwrap_or(0) & mask;
        if offset != 0 {
            self.clusters.insert(offset >> self.cluster_bits, kind);
        }
    }

    /// Records a header that is about to be written, which may move tables. The library has written its targets.
    pub(super) fn note_header(&mut self, file: &File, bytes: &[u8]) {
        let Some(tables) = Tables::of(bytes).filter(|tables| *tables != self.tables) else {
            return;
        };
        self.tables = tables;
        self.clusters
            .retain(|_, kind| !matches!(kind, Kind::L1 | Kind::RefcountTable));
        let refcounts_length = tables.refcounts_length(self.cluster_bits);
        for (offset, length, kind) in [
            (tables.l1_offset, tables.l1_length(), Kind::L1),
            (
                tables.refcounts_offset,
                refcounts_length,
                Kind::RefcountTable,
            ),
        ] {
            let first = offset >> self.cluster_bits;
            let end = offset
                .saturating_add(length)
                .div_ceil(1 << self.cluster_bits);
            self.clusters
                .extend((first..end).map(|cluster| (cluster, kind)));
        }
        // A table that cannot be read is not guarded.
        let blocks = entries(file, tables.refcounts_offset, refcounts_length).unwrap_or_default();
        let blocks = blocks.into_iter().map(|entry| entry & BLOCK_OFFSET);
        self.clusters.extend(
            blocks
                .filter(|offset| *offset != 0)
                .map(|offset| (offset >> self.cluster_bits, Kind::RefcountBlock)),
        );
    }
}

/// Reads as much as the file has.
fn read_available(file: &File, mut rest: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !rest.is_empty() {
        match file.read_at(rest, offset) {
            Ok(0) => break,
            Ok(count) => {
                offset = offset.saturating_add(count as u64);
                rest = &mut rest[count..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The entries of a table in the file.
fn entries(file: &File, offset: u64, length: u64) -> Result<Vec<u64>, FormatError> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset)
        .map_err(FormatError::Read)?;
    let (entries, _) = bytes.as_chunks::<8>();
    Ok(entries.iter().copied().map(u64::from_be_bytes).collect())
}
