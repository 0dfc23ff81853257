//! The contents and errors of an image in memory, as `qemu-img check` sees them, for thousands of
//! images a second.

use miniz_oxide::inflate::decompress_slice_iter_to_slice;

use super::layout::{COMPRESSED, COPIED, OFFSET, ZERO};

/// The contents of a sector that repeats one eight-byte number.
pub type Stamp = u64;

/// The stamp of a sector with any other contents.
pub const MIXED: Stamp = u64::MAX;
/// The stamp of a sector that cannot be read.
pub const UNREADABLE: Stamp = u64::MAX - 1;

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// The reserved bits of an L1 entry, and of a standard L2 entry.
const RESERVED_L1: u64 = 0x7f00_0000_0000_01ff;
const RESERVED_L2: u64 = 0x3f00_0000_0000_01fe;

/// The stamp of a sector.
pub fn stamp(sector: &[u8]) -> Stamp {
    let first = u64::from_le_bytes(sector[..8].try_into().unwrap());
    match sector[8..] == sector[..sector.len() - 8] {
        true => first,
        false => MIXED,
    }
}

/// An L1 table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLevel {
    /// Its offset in bytes.
    offset: u64,
    /// Its number of entries.
    entries: u64,
    /// The disk size that it maps, in bytes.
    pub size: u64,
}

/// The result of `qemu-img check`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Errors, such as refcounts below the number of references.
    pub errors: Vec<String>,
    /// Clusters whose refcount exceeds the number of references.
    pub leaks: u64,
}

/// An image.
#[derive(Debug)]
pub struct Examination<'a> {
    bytes: &'a [u8],
    cluster_bits: u32,
    refcount_order: u32,
    version: u32,
    /// The active L1 table.
    pub active: FirstLevel,
    /// The L1 table of each internal snapshot.
    pub snapshots: Vec<FirstLevel>,
    snapshot_table: (u64, u64),
    refcount_table: (u64, u64),
}

impl<'a> Examination<'a> {
    /// Reads the header and the snapshot table.
    ///
    /// # Errors
    ///
    /// A description of the invalid field.
    pub fn new(bytes: &'a [u8]) -> Result<Self, String> {
        let file = File(bytes);
        let (long, quad) = (|at| file.long(at), |at| file.quad(at));
        if bytes.get(..4) != Some(b"QFI\xfb") {
            return Err("no magic".to_owned());
        }
        let version = long(4)?;
        if !(2..=3).contains(&version) {
            return Err(format!("version {version}"));
        }
        let is_new = version == 3;
        let features = if is_new { quad(72)? } else { 0 };
        if features != 0 {
            return Err(format!("incompatible features {features:#x}"));
        }
        let cluster_bits = long(20)?;
        let refcount_order = if is_new { long(96)? } else { 4 };
        if !(9..=21).contains(&cluster_bits) || refcount_order > 6 {
            return Err(format!("2^{cluster_bits}, 2^{refcount_order}"));
        }
        let active = FirstLevel {
            offset: quad(40)?,
            entries: u64::from(long(36)?),
            size: quad(24)?,
        };
        let mut image = Self {
            bytes,
            cluster_bits,
            refcount_order,
            version,
            active,
            snapshots: Vec::new(),
            snapshot_table: (quad(64)?, 0),
            refcount_table: (quad(48)?, u64::from(long(56)?) << cluster_bits),
        };
        image.read_snapshots(long(60)?)?;
        Ok(image)
    }

    fn read_snapshots(&mut self, count: u32) -> Result<(), String> {
        let file = File(self.bytes);
        let start = self.snapshot_table.0;
        if count > 0 && start > self.bytes.len() as u64 {
            return Err(format!("snapshots past the end: {start:#x}"));
        }
        let mut at = start;
        for _ in 0..count {
            let extra = u64::from(file.long(at + 36)?);
            let size = match extra {
                16.. => file.quad(at + 48)?,
                _ => self.active.size,
            };
            self.snapshots.push(FirstLevel {
                offset: file.quad(at)?,
                entries: u64::from(file.long(at + 8)?),
                size,
            });
            let names = file.long(at + 12)?;
            let names = u64::from(names >> 16) + u64::from(names & 0xffff);
            at = (at + 40 + extra + names).next_multiple_of(8);
        }
        self.snapshot_table.1 = at - start;
        Ok(())
    }

    fn file(&self) -> File<'a> {
        File(self.bytes)
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// The refcount of a cluster.
    fn refcount(&self, cluster: u64) -> u64 {
        let per_block = (self.cluster_size() * 8) >> self.refcount_order;
        let entry = cluster / per_block * 8;
        if entry >= self.refcount_table.1 {
            return 0;
        }
        let entry = self
            .file()
            .entry(self.refcount_table.0.saturating_add(entry));
        let block = entry & !(self.cluster_size() - 1);
        let index = cluster % per_block;
        if block == 0 {
            return 0;
        }
        match self.refcount_order {
            order @ 0..3 => {
                let bit = index << order;
                let byte = self.file().byte(block.saturating_add(bit / 8));
                u64::from(byte) >> (bit % 8) & ((1 << (1 << order)) - 1)
            }
            order => {
                let width = 1u64 << (order - 3);
                let start = block.saturating_add(index * width);
                (start..start.saturating_add(width)).fold(0, |count, place| {
                    count << 8 | u64::from(self.file().byte(place))
                })
            }
        }
    }

    /// Compares refcounts with references, and COPIED flags with refcounts.
    pub fn verdict(&self) -> Verdict {
        let clusters = (self.bytes.len() as u64).div_ceil(self.cluster_size());
        let mut uses = Uses {
            cluster_bits: self.cluster_bits,
            length: self.bytes.len() as u64,
            tables: vec![0; usize::try_from(clusters + 1).unwrap()],
            data: vec![0; usize::try_from(clusters + 1).unwrap()],
            errors: Vec::new(),
        };
        uses.add_table("header", 0, 1);
        uses.add_table(
            "refcount table",
            self.refcount_table.0,
            self.refcount_table.1,
        );
        uses.add_table("snapshots", self.snapshot_table.0, self.snapshot_table.1);
        let blocks = self.blocks();
        for (_, block) in &blocks {
            uses.add_table("refcount block", *block, self.cluster_size());
        }
        let mut leveled = vec![("active", self.active)];
        leveled.extend(self.snapshots.iter().map(|level| ("snapshot", *level)));
        let mut second_levels = std::collections::BTreeSet::new();
        for (name, level) in leveled {
            uses.add_table(name, level.offset, level.entries * 8);
            for entry in self.first_level(level) {
                if entry & RESERVED_L1 != 0 {
                    uses.errors.push(format!("reserved bits: {entry:#x}"));
                }
                if entry & OFFSET != 0 {
                    second_levels.insert(entry & OFFSET);
                    uses.add("L2 table", entry & OFFSET, self.cluster_size(), true);
                    self.count_second_level(entry & OFFSET, &mut uses);
                }
            }
        }
        let mut verdict = Verdict::default();
        for cluster in 0..clusters + 1 {
            let index = usize::try_from(cluster).unwrap();
            let (tables, data) = (uses.tables[index], uses.data[index]);
            let (references, refcount) = (tables + data, self.refcount(cluster));
            if refcount < references {
                verdict.errors.push(format!(
                    "cluster {cluster}: refcount={refcount} reference={references}"
                ));
            }
            let is_second_level = second_levels.contains(&(cluster << self.cluster_bits));
            if tables > 0 && data > 0 || tables > 1 && !is_second_level {
                verdict.errors.push(format!(
                    "cluster {cluster}: {tables} times a table, {data} times data"
                ));
            }
            verdict.leaks += u64::from(refcount > references);
        }
        self.count_leaks_past_end(&blocks, clusters + 1, &mut verdict);
        verdict.errors.append(&mut uses.errors);
        self.check_copied(&mut verdict);
        verdict
    }

    /// The offsets of its tables, the header's first.
    pub fn tables(&self) -> Vec<u64> {
        let levels = [self.active]
            .into_iter()
            .chain(self.snapshots.iter().copied());
        let mut tables = vec![0, self.refcount_table.0];
        tables.extend(self.blocks().iter().map(|(_, block)| block));
        tables.extend((self.snapshot_table.1 > 0).then_some(self.snapshot_table.0));
        for level in levels {
            tables.push(level.offset);
            tables.extend(self.first_level(level).map(|entry| entry & OFFSET));
        }
        tables.sort_unstable();
        tables.dedup();
        tables
    }

    /// The refcount table entries that refer to blocks.
    fn blocks(&self) -> Vec<(u64, u64)> {
        // No entries past the end of the file.
        let entries = self.refcount_table.1.min(self.bytes.len() as u64) / 8;
        (0..entries)
            .map(|index| {
                let entry = self
                    .file()
                    .entry(self.refcount_table.0.saturating_add(index * 8));
                (index, entry & !(SECTOR as u64 - 1))
            })
            .filter(|(_, block)| *block != 0)
            .collect()
    }

    fn count_leaks_past_end(&self, blocks: &[(u64, u64)], end: u64, verdict: &mut Verdict) {
        let per_block = (self.cluster_size() * 8) >> self.refcount_order;
        for (index, block) in blocks {
            let start = usize::try_from(*block).unwrap_or(usize::MAX);
            let length = usize::try_from(self.cluster_size()).unwrap();
            let clusters = index * per_block..(index + 1) * per_block;
            let past_end = clusters.start.max(end)..clusters.end;
            let skipped = (past_end.start - clusters.start).min(per_block);
            let skipped = usize::try_from((skipped << self.refcount_order) / 8).unwrap();
            let bytes = self
                .bytes
                .get(start.saturating_add(skipped)..start.saturating_add(length));
            if bytes.is_some_and(|bytes| bytes.iter().any(|byte| *byte != 0)) {
                verdict.leaks += past_end.filter(|c| self.refcount(*c) > 0).count() as u64;
            }
        }
    }

    fn first_level(&self, level: FirstLevel) -> impl Iterator<Item = u64> {
        let file = self.file();
        (0..level.entries)
            .take_while(move |index| level.offset.saturating_add(index * 8) < file.0.len() as u64)
            .map(move |index| file.entry(level.offset.saturating_add(index * 8)))
    }

    fn second_level(&self, offset: u64) -> impl Iterator<Item = u64> {
        let file = self.file();
        (0..self.cluster_size() / 8).map(move |index| file.entry(offset.saturating_add(index * 8)))
    }

    fn count_second_level(&self, offset: u64, uses: &mut Uses) {
        for entry in self.second_level(offset) {
            if entry & COMPRESSED != 0 {
                let (start, length) = self.compressed(entry);
                uses.add("compressed cluster", start, length, false);
                if entry & COPIED != 0 {
                    uses.errors.push(format!("compressed, copied: {entry:#x}"));
                }
                continue;
            }
            let is_old_zero = self.version < 3 && entry & ZERO != 0;
            if entry & RESERVED_L2 != 0 || is_old_zero {
                uses.errors.push(format!("reserved bits: {entry:#x}"));
            }
            if entry & OFFSET != 0 {
                if entry & OFFSET & (self.cluster_size() - 1) != 0 {
                    uses.errors.push(format!("between clusters: {entry:#x}"));
                }
                uses.add("data cluster", entry & OFFSET, self.cluster_size(), false);
            }
        }
    }

    /// Offset and length of a compressed cluster.
    fn compressed(&self, entry: u64) -> (u64, u64) {
        let shift = 62 - (self.cluster_bits - 8);
        let start = entry & ((1 << shift) - 1);
        let sectors = ((entry & !(COMPRESSED | COPIED)) >> shift) + 1;
        (start, sectors * 512 - start % 512)
    }

    /// As QEMU (`check_oflag_copied`): COPIED is set exactly for refcount 1.
    fn check_copied(&self, verdict: &mut Verdict) {
        let mut check = |name: &str, entry: u64| {
            let refcount = self.refcount((entry & OFFSET) >> self.cluster_bits);
            if (refcount == 1) != (entry & COPIED != 0) {
                verdict.errors.push(format!(
                    "copied flag of {name}: {entry:#x} refcount={refcount}"
                ));
            }
        };
        for first in self.first_level(self.active) {
            if first & OFFSET == 0 {
                continue;
            }
            check("L2 table", first);
            for entry in self.second_level(first & OFFSET) {
                if entry & COMPRESSED == 0 && entry & OFFSET != 0 {
                    check("data cluster", entry);
                }
            }
        }
    }

    /// The stamp of each sector. Unallocated sectors have the stamps of the backing file.
    pub fn content(&self, level: FirstLevel, backing: &[Stamp]) -> Vec<Stamp> {
        let per_cluster = usize::try_from(self.cluster_size()).unwrap() / SECTOR;
        let sectors = usize::try_from(level.size).unwrap() / SECTOR;
        let mut content = Vec::with_capacity(sectors);
        let entries = self.cluster_size() / 8;
        let mut first_level = self.first_level(level);
        'disk: loop {
            let first = first_level.next().unwrap_or(0) & OFFSET;
            for index in 0..entries {
                if content.len() >= sectors {
                    break 'disk;
                }
                let entry = match first {
                    0 => 0,
                    first => self.file().entry(first.saturating_add(index * 8)),
                };
                self.cluster(entry, per_cluster, &mut content, backing);
            }
        }
        content.truncate(sectors);
        content
    }

    fn cluster(&self, entry: u64, count: usize, content: &mut Vec<Stamp>, backing: &[Stamp]) {
        let size = count * SECTOR;
        if entry & COMPRESSED != 0 {
            let (start, length) = self.compressed(entry);
            let start = usize::try_from(start).unwrap_or(usize::MAX);
            let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
            let packed = self.bytes.get(start..end.min(self.bytes.len()));
            let mut unpacked = vec![0; size];
            let input = packed.unwrap_or_default();
            // Up to the cluster size: the last sector may continue with another cluster's data.
            let result =
                decompress_slice_iter_to_slice(&mut unpacked, std::iter::once(input), false, true);
            match result {
                Ok(length) if length == size => {
                    content.extend(unpacked.chunks_exact(SECTOR).map(stamp));
                }
                _ => content.extend(vec![UNREADABLE; count]),
            }
        } else if self.version >= 3 && entry & ZERO != 0 {
            content.extend(vec![0; count]);
        } else if entry & OFFSET != 0 {
            let start = usize::try_from(entry & OFFSET).unwrap_or(usize::MAX);
            for sector in 0..count {
                let place = start.saturating_add(sector * SECTOR);
                let bytes = self.bytes.get(place..place.saturating_add(SECTOR));
                content.push(bytes.map_or(0, stamp));
            }
        } else {
            let start = content.len();
            content.extend((start..start + count).map(|s| backing.get(s).copied().unwrap_or(0)));
        }
    }
}

/// The number of references to each cluster of a file.
struct Uses {
    cluster_bits: u32,
    length: u64,
    tables: Vec<u64>,
    data: Vec<u64>,
    errors: Vec<String>,
}

impl Uses {
    fn add_table(&mut self, name: &str, offset: u64, length: u64) {
        if length > 0 {
            self.add(name, offset, length, true);
        }
    }

    fn add(&mut self, name: &str, offset: u64, length: u64, is_table: bool) {
        let size = 1u64 << self.cluster_bits;
        let end = offset.saturating_add(length);
        if end > self.length.next_multiple_of(size) + size {
            self.errors
                .push(format!("{name} past the end: {offset:#x}"));
            return;
        }
        if is_table && !offset.is_multiple_of(size) {
            self.errors
                .push(format!("{name} between clusters: {offset:#x}"));
        }
        let uses = if is_table {
            &mut self.tables
        } else {
            &mut self.data
        };
        for cluster in offset / size..end.div_ceil(size) {
            match uses.get_mut(usize::try_from(cluster).unwrap()) {
                Some(count) => *count += 1,
                None => self
                    .errors
                    .push(format!("{name} past the end: {offset:#x}")),
            }
        }
    }
}

/// The bytes of a file, with zeroes past its end.
#[derive(Clone, Copy)]
struct File<'a>(&'a [u8]);

impl File<'_> {
    fn array<const N: usize>(self, at: u64) -> Option<[u8; N]> {
        let at = usize::try_from(at).ok()?;
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }

    fn byte(self, at: u64) -> u8 {
        self.array(at).map_or(0, u8::from_be_bytes)
    }

    fn entry(self, at: u64) -> u64 {
        self.array(at).map_or(0, u64::from_be_bytes)
    }

    fn long(self, at: u64) -> Result<u32, String> {
        let bytes = self
            .array(at)
            .ok_or_else(|| format!("it ends before {at}"))?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn quad(self, at: u64) -> Result<u64, String> {
        let bytes = self
            .array(at)
            .ok_or_else(|| format!("it ends before {at}"))?;
        Ok(u64::from_be_bytes(bytes))
    }
}
