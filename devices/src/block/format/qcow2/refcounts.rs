//! Refcount blocks in the file: the number of references to each cluster.

/// The position of a cluster's refcount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// Binary logarithm of the size of a cluster.
    pub cluster_bits: u32,
    /// Binary logarithm of the bits of a refcount.
    pub order: u32,
}

impl Shape {
    /// Binary logarithm of the clusters that one block counts.
    fn block_bits(self) -> u32 {
        self.cluster_bits + 3 - self.order
    }

    /// The entry of the refcount table that refers to a cluster's block.
    pub(super) fn block(self, cluster: u64) -> u64 {
        cluster >> self.block_bits()
    }

    /// The index of a cluster's refcount in its block.
    pub(super) fn index(self, cluster: u64) -> u64 {
        cluster & ((1 << self.block_bits()) - 1)
    }

    /// Bytes of a cluster.
    pub(super) fn cluster_size(self) -> u64 {
        1 << self.cluster_bits
    }

    /// The clusters of a range of the file.
    pub(super) fn clusters(self, offset: u64, length: u64) -> std::ops::Range<u64> {
        let end = offset.saturating_add(length);
        offset >> self.cluster_bits..end.div_ceil(self.cluster_size())
    }
}

/// The refcount at an index of a block; zero beyond its end.
pub(super) fn get(block: &[u8], index: u64, order: u32) -> u64 {
    let first_bit = index << order;
    let Ok(at) = usize::try_from(first_bit / 8) else {
        return 0;
    };
    match 1u32 << order {
        bits @ 1..8 => block.get(at).map_or(0, |byte| {
            u64::from(*byte) >> (first_bit % 8) & ((1 << bits) - 1)
        }),
        bits => {
            let bytes = block.get(at..at + bits as usize / 8).unwrap_or_default();
            bytes
                .iter()
                .fold(0, |count, byte| count << 8 | u64::from(*byte))
        }
    }
}

/// Sets the refcount at an index of a block, to a value within its width.
pub(super) fn set(block: &mut [u8], index: u64, order: u32, count: u64) {
    let first_bit = index << order;
    let Ok(at) = usize::try_from(first_bit / 8) else {
        return;
    };
    match 1u32 << order {
        bits @ 1..8 => {
            if let Some(byte) = block.get_mut(at) {
                let (shift, mask) = (first_bit % 8, (1u8 << bits) - 1);
                let count = u8::try_from(count).unwrap_or(mask) & mask;
                *byte = *byte & !(mask << shift) | count << shift;
            }
        }
        bits => {
            let width = bits as usize / 8;
            if let Some(bytes) = block.get_mut(at..at + width) {
                bytes.copy_from_slice(&count.to_be_bytes()[8 - width..]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refcount_of_each_width_is_read_as_it_was_written_and_alone() {
        for order in 0..=6 {
            let shape = Shape {
                cluster_bits: 9,
                order,
            };
            let counts = (512 * 8) >> order;
            assert_eq!(shape.block(counts - 1), 0);
            assert_eq!(shape.block(counts), 1);
            let most = u64::MAX >> (64 - (1u32 << order));
            for index in [0, 1, 3, counts - 1] {
                let mut block = vec![0; 512];
                set(&mut block, index, order, most);
                let found: Vec<_> = (0..counts).map(|i| get(&block, i, order)).collect();
                let sum: u128 = found.iter().map(|count| u128::from(*count)).sum();
                assert_eq!(found[usize::try_from(index).unwrap()], most, "{order}");
                assert_eq!(sum, u128::from(most), "{order} {index}");
                set(&mut block, index, order, 0);
                assert!(block.iter().all(|byte| *byte == 0), "{order} {index}");
            }
        }
    }

    #[test]
    fn wide_refcounts_have_their_high_byte_first() {
        let mut block = vec![0; 512];
        set(&mut block, 1, 4, 0x0102);
        assert_eq!(block[2..4], [1, 2]);
    }
}
