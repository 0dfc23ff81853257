//! The header of a qcow2 image (QEMU `docs/interop/qcow2.txt`), checked before the image is used.
//!
//! Refused are what QEMU refuses (`block/qcow2.c`), with its limits, and what imago does not check: encryption, tables
//! beyond these limits, and tables beyond the end of the file.

use std::fs::File;
use std::iter;
use std::os::unix::fs::FileExt;

use super::error::FormatError;

/// The magic number.
pub(in crate::block) const MAGIC: [u8; 4] = *b"QFI\xfb";

/// Length of the header of version 2, and of the shortest one of version 3.
pub(super) const V2_LENGTH: usize = 72;
const V3_LENGTH: usize = 104;

/// Offset of the virtual size.
pub(super) const SIZE_AT: usize = 24;

/// The range of the binary logarithm of the cluster size (QEMU `MIN_CLUSTER_BITS`, `MAX_CLUSTER_BITS`).
const CLUSTER_BITS: std::ops::RangeInclusive<u32> = 9..=21;

/// The largest L1 table in bytes (QEMU `QCOW_MAX_L1_SIZE`).
const MAX_L1_LENGTH: u64 = 32 << 20;

/// The largest refcount table, in bytes (QEMU `QCOW_MAX_REFTABLE_SIZE`).
const MAX_REFCOUNT_TABLE_LENGTH: u64 = 8 << 20;

/// The longest name of a backing file, in bytes.
const MAX_NAME_LENGTH: u32 = 1023;

/// The highest offset that a table can have: its entries have 56 bits for one.
const MAX_OFFSET: u64 = 1 << 56;

/// Bits of the incompatible features.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED_L2: u64 = 1 << 4;

/// Offsets of the incompatible features, and of their last byte, which has the bits above.
pub(super) const FEATURES_AT: u64 = 72;
/// The bit of that byte in an image that must not be written.
pub(super) const CORRUPT_BIT: u8 = 1 << 1;

/// The header extension with the backing file's format.
const BACKING_FORMAT: u32 = 0xe279_2aca;

/// The header extension with the features' names, and the length of each entry.
const FEATURE_NAMES: u32 = 0x6803_f857;
const FEATURE_NAME_LENGTH: usize = 48;

/// The header's reference to a backing file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Backing {
    /// Its name, unresolved.
    pub name: String,
    /// Its format, if it is named.
    pub format: Option<String>,
}

/// A valid header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub version: u32,
    pub cluster_bits: u32,
    /// The virtual size in bytes.
    pub size: u64,
    pub tables: Tables,
    /// Offset of the snapshot table in bytes, if there is one.
    pub snapshots: Option<u64>,
    /// Binary logarithm of the bits of a refcount.
    pub refcount_order: u32,
    pub backing: Option<Backing>,
}

/// The offsets of the two root tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tables {
    /// Offset of the L1 table.
    pub l1_offset: u64,
    /// Its number of entries.
    pub l1_entries: u32,
    /// Offset of the refcount table.
    pub refcounts_offset: u64,
    /// Its length in clusters.
    pub refcounts_clusters: u32,
}

impl Tables {
    /// The fields in the first bytes of a header, if there are enough bytes.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        Some(Self {
            l1_offset: u64_at(bytes, 40)?,
            l1_entries: u32_at(bytes, 36)?,
            refcounts_offset: u64_at(bytes, 48)?,
            refcounts_clusters: u32_at(bytes, 56)?,
        })
    }

    /// Length of the L1 table in bytes.
    pub(super) fn l1_length(self) -> u64 {
        u64::from(self.l1_entries) * 8
    }

    /// Length of the refcount table in bytes.
    pub(super) fn refcounts_length(self, cluster_bits: u32) -> u64 {
        u64::from(self.refcounts_clusters) << cluster_bits
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    bytes.try_into().ok().map(u32::from_be_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

impl Header {
    /// Reads the header of a file of this length.
    ///
    /// # Errors
    ///
    /// [`FormatError`] says why the image cannot be used.
    pub(super) fn read(file: &File, length: u64) -> Result<Self, FormatError> {
        // The header, its extensions and the backing file's name are in the first cluster.
        let most = 1usize << CLUSTER_BITS.end();
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(most).min(most)];
        file.read_exact_at(&mut bytes, 0)
            .map_err(FormatError::Read)?;
        Self::parse(&bytes, length)
    }

    fn parse(bytes: &[u8], length: u64) -> Result<Self, FormatError> {
        let u32_at = |at| u32_at(bytes, at).ok_or(FormatError::Truncated("header"));
        let u64_at = |at| u64_at(bytes, at).ok_or(FormatError::Truncated("header"));
        if bytes.get(..4) != Some(&MAGIC[..]) {
            return Err(FormatError::Magic);
        }
        let version = u32_at(4)?;
        let cluster_bits = u32_at(20)?;
        if !(2..=3).contains(&version) {
            return Err(FormatError::Version(version));
        }
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return Err(FormatError::ClusterBits(cluster_bits));
        }
        let (mut header_length, mut refcount_order) = (V2_LENGTH, 4);
        if version == 3 {
            header_length = usize::try_from(u32_at(100)?).unwrap_or(usize::MAX);
            if !(V3_LENGTH..=1 << cluster_bits).contains(&header_length) {
                return Err(FormatError::HeaderLength(header_length));
            }
            check_features(u64_at(72)?)?;
            refcount_order = u32_at(96)?;
        }
        if refcount_order > 6 {
            return Err(FormatError::RefcountOrder(refcount_order));
        }
        if u32_at(32)? != 0 {
            return Err(FormatError::Feature("it is encrypted"));
        }
        let tables = Tables::of(bytes).ok_or(FormatError::Truncated("header"))?;
        let size = u64_at(SIZE_AT)?;
        check_tables(tables, cluster_bits, size, length)?;
        let snapshots = (u32_at(60)? > 0).then(|| u64_at(64)).transpose()?;
        // The rest of the file does not belong to the header.
        let cluster = bytes.get(..1 << cluster_bits).unwrap_or(bytes);
        if version == 3 {
            check_extensions(cluster.get(header_length..).unwrap_or_default())?;
        }
        Ok(Self {
            version,
            cluster_bits,
            size,
            tables,
            snapshots,
            refcount_order,
            backing: backing(cluster, header_length, u64_at(8)?, u32_at(16)?)?,
        })
    }
}

/// Refuses features that change the meaning of the rest of the image.
fn check_features(features: u64) -> Result<(), FormatError> {
    let known = [
        (CORRUPT, "it is marked as corrupt"),
        (
            DIRTY,
            "it was not closed properly; 'qemu-img check -r all' repairs that",
        ),
        (DATA_FILE, "its data is in another file"),
        (COMPRESSION, "its compression is not deflate"),
        (EXTENDED_L2, "it has subclusters"),
    ];
    for (bit, reason) in known {
        if features & bit != 0 {
            return Err(FormatError::Feature(reason));
        }
    }
    match features {
        0 => Ok(()),
        _ => Err(FormatError::UnknownFeatures(features)),
    }
}

fn check_tables(
    tables: Tables,
    cluster_bits: u32,
    size: u64,
    length: u64,
) -> Result<(), FormatError> {
    // An entry refers to a table of one cluster, each of whose entries refers to a cluster.
    let entry_bits = 2 * cluster_bits - 3;
    let needed = (size >> entry_bits) + u64::from(size & ((1 << entry_bits) - 1) != 0);
    let l1 = ("L1 table", tables.l1_offset, tables.l1_length());
    let refcounts = (
        "refcount table",
        tables.refcounts_offset,
        tables.refcounts_length(cluster_bits),
    );
    if needed * 8 > MAX_L1_LENGTH {
        return Err(FormatError::Size(size));
    }
    if l1.2 > MAX_L1_LENGTH {
        return Err(FormatError::TableLength(l1.0, l1.2));
    }
    if refcounts.2 > MAX_REFCOUNT_TABLE_LENGTH {
        return Err(FormatError::TableLength(refcounts.0, refcounts.2));
    }
    if u64::from(tables.l1_entries) < needed {
        return Err(FormatError::ShortL1);
    }
    if tables.refcounts_clusters == 0 {
        return Err(FormatError::NoRefcounts);
    }
    for (name, offset, bytes) in [l1, refcounts] {
        // The header has the first cluster; an empty table may have no offset.
        let is_misplaced = offset == 0 && bytes > 0;
        if is_misplaced || offset > MAX_OFFSET || offset & ((1 << cluster_bits) - 1) != 0 {
            return Err(FormatError::TableOffset(name, offset));
        }
        if offset + bytes > length && bytes > 0 {
            return Err(FormatError::Truncated(name));
        }
    }
    Ok(())
}

/// The reference to the backing file in the first cluster.
fn backing(
    cluster: &[u8],
    header_length: usize,
    offset: u64,
    length: u32,
) -> Result<Option<Backing>, FormatError> {
    if offset == 0 {
        return Ok(None);
    }
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let name = start
        .checked_add(length as usize)
        .filter(|_| length <= MAX_NAME_LENGTH)
        .and_then(|end| cluster.get(start..end))
        .ok_or(FormatError::BackingName)?;
    let name = str::from_utf8(name).map_err(|_| FormatError::BackingName)?;
    // It is part of messages of one line.
    if name.contains(char::is_control) {
        return Err(FormatError::BackingName);
    }
    if name.is_empty() {
        return Ok(None);
    }
    let extensions = cluster.get(header_length..start).unwrap_or_default();
    Ok(Some(Backing {
        name: name.to_owned(),
        format: backing_format(extensions)?,
    }))
}

/// The format of the backing file, which version 2 can have, too.
fn backing_format(bytes: &[u8]) -> Result<Option<String>, FormatError> {
    for extension in extensions(bytes) {
        let (kind, data) = extension?;
        if kind == BACKING_FORMAT {
            let format = str::from_utf8(data).map_err(|_| FormatError::Extension(kind))?;
            if format.contains(char::is_control) {
                return Err(FormatError::Extension(kind));
            }
            return Ok(Some(format.to_owned()));
        }
    }
    Ok(None)
}

/// Refuses extensions that the library mishandles. It parses everything up to the end of the first cluster as
/// extensions, and panics on a feature's name of one byte.
fn check_extensions(bytes: &[u8]) -> Result<(), FormatError> {
    for extension in extensions(bytes) {
        let (kind, data) = extension?;
        if kind == FEATURE_NAMES && !data.len().is_multiple_of(FEATURE_NAME_LENGTH) {
            return Err(FormatError::Extension(kind));
        }
    }
    Ok(())
}

/// Header extensions and their types, up to the end marker.
fn extensions(mut bytes: &[u8]) -> impl Iterator<Item = Result<(u32, &[u8]), FormatError>> {
    iter::from_fn(move || {
        let (kind, length) = (u32_at(bytes, 0)?, u32_at(bytes, 4)? as usize);
        if kind == 0 {
            return None;
        }
        let data = bytes.get(8..8usize.saturating_add(length));
        let whole = length
            .checked_next_multiple_of(8)
            .and_then(|length| length.checked_add(8));
        bytes = whole
            .and_then(|whole| bytes.get(whole..))
            .unwrap_or_default();
        Some(
            data.map(|data| (kind, data))
                .ok_or(FormatError::Extension(kind)),
        )
    })
}
