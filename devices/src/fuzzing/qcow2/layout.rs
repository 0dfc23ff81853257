//! Small qcow2 images, made without the code under test (QEMU `docs/interop/qcow2.txt`).

use std::collections::{BTreeMap, BTreeSet};

use miniz_oxide::deflate::compress_to_vec;

/// The entry's cluster has refcount 1, and may be written in place.
pub const COPIED: u64 = 1 << 63;
/// The entry leads to compressed data.
pub const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeroes.
pub const ZERO: u64 = 1;
/// The offset bits of an entry.
pub const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;

/// An image's properties, apart from its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// 2 or 3.
    pub version: u32,
    /// Binary logarithm of the cluster size in bytes.
    pub cluster_bits: u32,
    /// Binary logarithm of the refcount width in bits.
    pub refcount_order: u32,
    /// The guest's disk size in bytes.
    pub size: u64,
}

impl Layout {
    /// The cluster size in bytes.
    pub fn cluster_size(self) -> usize {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table.
    fn l2_entries(self) -> usize {
        self.cluster_size() / 8
    }

    fn l1_entries(self) -> usize {
        usize::try_from(self.size)
            .unwrap()
            .div_ceil(self.l2_entries() * self.cluster_size())
            .max(1)
    }

    /// The lowest bit of the sector count in a compressed cluster's entry.
    pub fn sectors_shift(self) -> u32 {
        62 - (self.cluster_bits - 8)
    }
}

/// An image under construction.
#[derive(Debug)]
pub struct Maker {
    layout: Layout,
    backing: Option<(String, &'static str)>,
    file: Vec<u8>,
    l1: Vec<u64>,
    /// The L1 table and the size of each snapshot.
    snapshots: Vec<(Vec<u64>, u64)>,
    /// Offset of the next compressed cluster: behind the last one, in the same cluster.
    packed: Option<usize>,
}

impl Maker {
    /// An image without data.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            backing: None,
            file: vec![0; layout.cluster_size()],
            l1: vec![0; layout.l1_entries()],
            snapshots: Vec::new(),
            packed: None,
        }
    }

    /// Sets its backing file, by name and format.
    pub fn over(mut self, name: &str, format: &'static str) -> Self {
        self.backing = Some((name.to_owned(), format));
        self
    }

    /// Writes a cluster of data.
    pub fn data(&mut self, cluster: usize, bytes: &[u8]) {
        let place = self.allocate(1);
        self.file[place..place + bytes.len()].copy_from_slice(bytes);
        self.enter(cluster, place as u64);
    }

    /// Makes a cluster read as zeroes, allocated or not.
    pub fn zero(&mut self, cluster: usize, is_allocated: bool) {
        let place = if is_allocated { self.allocate(1) } else { 0 };
        self.enter(cluster, place as u64 | ZERO);
    }

    /// Writes a cluster compressed.
    pub fn compressed(&mut self, cluster: usize, bytes: &[u8]) {
        let packed = compress_to_vec(bytes, 6);
        assert!(packed.len() < self.layout.cluster_size());
        // A one-bit refcount cannot count two compressed clusters in one.
        let may_share = self.layout.refcount_order > 0;
        let start = self.packed.filter(|_| may_share);
        let start = start.unwrap_or_else(|| self.allocate(1));
        let end = start + packed.len();
        if end > self.file.len() {
            // Data behind the last cluster extends into the next.
            self.allocate(1);
        }
        self.file[start..end].copy_from_slice(&packed);
        let is_last = end.next_multiple_of(self.layout.cluster_size()) == self.file.len();
        let has_room = !end.is_multiple_of(self.layout.cluster_size());
        self.packed = (is_last && has_room).then_some(end);
        let sectors = ((end - 1) / 512 - start / 512) as u64;
        let entry = COMPRESSED | start as u64 | sectors << self.layout.sectors_shift();
        self.enter(cluster, entry);
    }

    /// Takes an internal snapshot.
    pub fn snapshot(&mut self) {
        self.snapshots.push((self.l1.clone(), self.layout.size));
    }

    /// The whole file.
    pub fn finish(mut self) -> Vec<u8> {
        let l1 = self.allocate_table(self.l1.len() * 8);
        let active = self.l1.clone();
        let mut references = self.references();
        let mut tables = vec![(l1, active.clone())];
        for (table, _) in self.snapshots.clone() {
            tables.push((self.allocate_table(table.len() * 8), table));
        }
        let snapshots = self.snapshot_table(&tables[1..]);
        // Only tables are allocated from here on.
        let cluster_size = self.layout.cluster_size();
        let mut count = |start: usize, length: usize| {
            for cluster in start / cluster_size..(start + length).div_ceil(cluster_size) {
                *references.entry(cluster).or_default() += 1;
            }
        };
        count(0, 1);
        for (start, table) in &tables {
            count(*start, table.len() * 8);
        }
        count(snapshots.0, snapshots.1);
        let (start, clusters) = self.refcounts(references.clone());
        for entry in &mut tables[0].1 {
            let is_once = references.get(&self.cluster_of(*entry)) == Some(&1);
            *entry |= if *entry != 0 && is_once { COPIED } else { 0 };
        }
        for (place, table) in &tables {
            for (index, entry) in table.iter().enumerate() {
                self.put(place + index * 8, *entry);
            }
        }
        for place in active.iter().collect::<BTreeSet<_>>() {
            if *place != 0 {
                self.mark(usize::try_from(*place).unwrap(), &references);
            }
        }
        self.header(l1, start, clusters, snapshots.0);
        self.file
    }

    fn allocate(&mut self, clusters: usize) -> usize {
        self.packed = None;
        let place = self.file.len();
        let length = place + clusters * self.layout.cluster_size();
        self.file.resize(length, 0);
        place
    }

    fn allocate_table(&mut self, bytes: usize) -> usize {
        self.allocate(bytes.div_ceil(self.layout.cluster_size()))
    }

    fn put(&mut self, place: usize, value: u64) {
        self.file[place..place + 8].copy_from_slice(&value.to_be_bytes());
    }

    fn get(&self, place: usize) -> u64 {
        u64::from_be_bytes(self.file[place..place + 8].try_into().unwrap())
    }

    fn cluster_of(&self, entry: u64) -> usize {
        usize::try_from(entry & OFFSET).unwrap() >> self.layout.cluster_bits
    }

    /// Enters a cluster into an L2 table that no snapshot uses.
    fn enter(&mut self, cluster: usize, entry: u64) {
        let entries = self.layout.l2_entries();
        let index = cluster / entries;
        let old = self.l1[index];
        let is_shared = self.snapshots.iter().any(|(l1, _)| l1[index] == old);
        if old == 0 || is_shared {
            let place = self.allocate(1);
            if old != 0 {
                let start = usize::try_from(old).unwrap();
                let table = start..start + self.layout.cluster_size();
                self.file.copy_within(table, place);
            }
            self.l1[index] = place as u64;
        }
        let table = usize::try_from(self.l1[index]).unwrap();
        self.put(table + cluster % entries * 8, entry);
    }

    /// The number of references to each L2 table, and to each cluster from L2 tables.
    fn references(&self) -> BTreeMap<usize, u64> {
        let mut references = BTreeMap::new();
        let tables = self.snapshots.iter().map(|(l1, _)| l1).chain([&self.l1]);
        for place in tables.flatten().filter(|place| **place != 0) {
            *references.entry(self.cluster_of(*place)).or_default() += 1;
            let place = usize::try_from(*place).unwrap();
            for index in 0..self.layout.l2_entries() {
                let entry = self.get(place + index * 8);
                let (first, last) = if entry & COMPRESSED != 0 {
                    let shift = self.layout.sectors_shift();
                    let start = usize::try_from(entry & ((1 << shift) - 1)).unwrap();
                    let sectors = usize::try_from((entry & !COMPRESSED) >> shift).unwrap();
                    let end = (start / 512 + sectors + 1) * 512;
                    let size = self.layout.cluster_size();
                    (start / size, (end - 1) / size)
                } else if entry & OFFSET != 0 {
                    (self.cluster_of(entry), self.cluster_of(entry))
                } else {
                    continue;
                };
                for cluster in first..=last {
                    *references.entry(cluster).or_default() += 1;
                }
            }
        }
        references
    }

    /// Sets the COPIED flag of each entry of a table in use.
    fn mark(&mut self, table: usize, references: &BTreeMap<usize, u64>) {
        for index in 0..self.layout.l2_entries() {
            let place = table + index * 8;
            let entry = self.get(place);
            let is_plain = entry & COMPRESSED == 0 && entry & OFFSET != 0;
            if is_plain && references.get(&self.cluster_of(entry)) == Some(&1) {
                self.put(place, entry | COPIED);
            }
        }
    }

    /// Writes the snapshot table, with these L1 tables. Returns its offset and its length.
    fn snapshot_table(&mut self, tables: &[(usize, Vec<u64>)]) -> (usize, usize) {
        let mut table = Vec::new();
        for (number, ((place, entries), (_, size))) in
            tables.iter().zip(&self.snapshots).enumerate()
        {
            let (id, name) = ((number + 1).to_string(), format!("s{number}"));
            let length = |text: &str| u16::try_from(text.len()).unwrap().to_be_bytes();
            table.extend((*place as u64).to_be_bytes());
            table.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
            table.extend(length(&id));
            table.extend(length(&name));
            table.extend([0; 20]);
            table.extend(16u32.to_be_bytes());
            table.extend(0u64.to_be_bytes());
            table.extend(size.to_be_bytes());
            table.extend(id.as_bytes());
            table.extend(name.as_bytes());
            table.resize(table.len().next_multiple_of(8), 0);
        }
        if table.is_empty() {
            return (0, 0);
        }
        let place = self.allocate_table(table.len());
        self.file[place..place + table.len()].copy_from_slice(&table);
        (place, table.len())
    }

    /// Writes the refcounts, including those of their own blocks and table. Returns the table's
    /// offset and its clusters.
    fn refcounts(&mut self, mut references: BTreeMap<usize, u64>) -> (usize, usize) {
        let (bits, order) = (self.layout.cluster_bits, self.layout.refcount_order);
        let size = self.layout.cluster_size();
        let per_block = (size * 8) >> order;
        let first = self.file.len() >> bits;
        // Blocks count themselves.
        let mut blocks = 1;
        let table_clusters = |blocks: usize| (blocks * 8).div_ceil(size);
        while blocks * per_block < first + blocks + table_clusters(blocks) {
            blocks += 1;
        }
        let clusters = table_clusters(blocks);
        let table = self.allocate(clusters);
        let place = self.allocate(blocks);
        references.extend((first..first + clusters + blocks).map(|cluster| (cluster, 1)));
        for block in 0..blocks {
            self.put(table + block * 8, (place + block * size) as u64);
        }
        for (cluster, count) in references {
            let start = place + cluster / per_block * size;
            let index = cluster % per_block;
            if order < 3 {
                let bit = index << order;
                let count = u8::try_from(count).unwrap();
                assert!(u32::from(count) < 1 << (1 << order));
                self.file[start + bit / 8] |= count << (bit % 8);
            } else {
                let width = 1 << (order - 3);
                let start = start + index * width;
                self.file[start..start + width].copy_from_slice(&count.to_be_bytes()[8 - width..]);
            }
        }
        (table, clusters)
    }

    fn header(&mut self, l1: usize, refcounts: usize, clusters: usize, snapshots: usize) {
        let layout = self.layout;
        let mut header = Vec::new();
        header.extend(b"QFI\xfb");
        header.extend(layout.version.to_be_bytes());
        header.extend([0; 12]);
        header.extend(layout.cluster_bits.to_be_bytes());
        header.extend(layout.size.to_be_bytes());
        header.extend(0u32.to_be_bytes());
        header.extend(u32::try_from(self.l1.len()).unwrap().to_be_bytes());
        header.extend((l1 as u64).to_be_bytes());
        header.extend((refcounts as u64).to_be_bytes());
        header.extend(u32::try_from(clusters).unwrap().to_be_bytes());
        let count = u32::try_from(self.snapshots.len()).unwrap();
        header.extend(count.to_be_bytes());
        header.extend((snapshots as u64).to_be_bytes());
        if layout.version == 3 {
            header.extend([0; 24]);
            header.extend(layout.refcount_order.to_be_bytes());
            header.extend(104u32.to_be_bytes());
        }
        if let Some((name, format)) = &self.backing {
            header.extend(0xe279_2acau32.to_be_bytes());
            header.extend(u32::try_from(format.len()).unwrap().to_be_bytes());
            header.extend(format.as_bytes());
            header.resize(header.len().next_multiple_of(8), 0);
            header.extend([0; 8]);
            let place = header.len() as u64;
            header.extend(name.as_bytes());
            header[8..16].copy_from_slice(&place.to_be_bytes());
            header[16..20].copy_from_slice(&u32::try_from(name.len()).unwrap().to_be_bytes());
        }
        self.file[..header.len()].copy_from_slice(&header);
    }
}
