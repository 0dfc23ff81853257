//! The clusters that entries of an L2 table refer to.

use std::ops::Range;

/// Bits of an entry (QEMU `docs/interop/qcow2.txt`).
const COMPRESSED: u64 = 1 << 62;
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The highest offset of compressed data.
const COMPRESSED_OFFSET: u64 = 0x00ff_ffff_ffff_ffff;
/// The unit of the length of compressed data, in bytes.
const SECTOR: u64 = 512;

/// The clusters that an entry refers to: none, one, or up to three for compressed data.
pub(super) fn of_entry(entry: u64, cluster_bits: u32) -> Range<u64> {
    if entry & COMPRESSED == 0 {
        let offset = entry & OFFSET;
        let cluster = offset >> cluster_bits;
        // The library refuses one that is not aligned, which therefore refers to nothing.
        let is_one = offset != 0 && offset.is_multiple_of(1 << cluster_bits);
        return cluster..cluster + u64::from(is_one);
    }
    let offset_bits = 70 - cluster_bits;
    let descriptor = entry & (COMPRESSED - 1);
    let offset = descriptor & ((1 << offset_bits) - 1) & COMPRESSED_OFFSET;
    let sectors = descriptor >> offset_bits;
    // The first sector is not counted.
    let end = offset / SECTOR * SECTOR + (sectors + 1) * SECTOR;
    offset >> cluster_bits..end.div_ceil(1 << cluster_bits)
}

/// The clusters that all entries of a table refer to, as often as they do.
pub(super) fn of_table(table: &[u8], cluster_bits: u32) -> impl Iterator<Item = u64> {
    let (entries, _) = table.as_chunks::<8>();
    let entries = entries.iter().copied().map(u64::from_be_bytes);
    entries.flat_map(move |entry| of_entry(entry, cluster_bits))
}

/// The references that a table gains and loses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Difference {
    pub added: Vec<u64>,
    pub dropped: Vec<u64>,
}

impl Difference {
    /// Compares two contents of a table.
    pub(super) fn between(old: &[u8], new: &[u8], cluster_bits: u32) -> Self {
        let mut difference = Self::default();
        let ((old, _), (new, _)) = (old.as_chunks::<8>(), new.as_chunks::<8>());
        for (old, new) in old.iter().zip(new).filter(|(old, new)| old != new) {
            let [old, new] =
                [old, new].map(|entry| of_entry(u64::from_be_bytes(*entry), cluster_bits));
            let added = new.clone().filter(|cluster| !old.contains(cluster));
            difference.added.extend(added);
            let dropped = old.filter(|cluster| !new.contains(cluster));
            difference.dropped.extend(dropped);
        }
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_leads_to_a_cluster_whatever_its_flags() {
        for flags in [0, 1, 1 << 63, 1 << 63 | 1] {
            assert_eq!(of_entry(flags | 5 << 16, 16), 5..6);
            assert!(of_entry(flags, 16).is_empty());
            assert!(of_entry(flags | 5 << 16 | 512, 16).is_empty());
        }
    }

    #[test]
    fn compressed_data_is_in_each_cluster_that_it_touches() {
        // From the second sector of cluster 3, this many more sectors.
        let offset = (3 << 16) + 512 + 7;
        let entry = |sectors: u64| COMPRESSED | sectors << 54 | offset;
        assert_eq!(of_entry(entry(0), 16), 3..4);
        assert_eq!(of_entry(entry(126), 16), 3..4);
        assert_eq!(of_entry(entry(127), 16), 3..5);
    }

    #[test]
    fn only_what_a_table_led_to_and_does_not_any_more_is_dropped() {
        let table = |entries: [u64; 3]| entries.map(u64::to_be_bytes).concat();
        let data = |cluster: u64| 1 << 63 | cluster << 16;
        let old = table([data(5), data(6), 0]);
        // One that reads as zeroes now and keeps its cluster, one elsewhere, a new one.
        let new = table([data(5) | 1, data(7), data(8)]);
        let expected = Difference {
            added: vec![7, 8],
            dropped: vec![6],
        };
        assert_eq!(Difference::between(&old, &new, 16), expected);
        assert_eq!(of_table(&new, 16).collect::<Vec<_>>(), [5, 7, 8]);
    }
}
