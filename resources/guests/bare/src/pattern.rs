//! Data patterns of sectors, and checksums. The tests compile this file too, so that both sides agree.

/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// A well-mixed function of a number (the finaliser of SplitMix64).
pub fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// Fills whole sectors, from `sector` on, with the pattern of `seed`.
pub fn fill(seed: u64, sector: u64, bytes: &mut [u8]) {
    let start = sector.wrapping_mul(SECTOR as u64 / 8);
    for (index, word) in (0u64..).zip(bytes.chunks_mut(8)) {
        let value = mix(mix(seed) ^ start.wrapping_add(index));
        word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
    }
}

/// The block, out of so many, of request number `index` in random order.
pub fn place(seed: u64, index: u64, blocks: u64) -> u64 {
    let chance = u128::from(mix(mix(seed).wrapping_add(index)));
    // The upper half of the product, which is below the number of blocks.
    u64::try_from((chance * u128::from(blocks)) >> 64).unwrap_or_default()
}

/// FNV-1a, 64 bits.
pub fn sum(bytes: &[u8]) -> u64 {
    continue_sum(0xcbf2_9ce4_8422_2325, bytes)
}

/// Extends the checksum `sum` by `bytes`.
pub fn continue_sum(sum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(sum, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// What request number `index` of a storm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// Writes its own sectors.
    Write,
    /// Reads the data of an earlier request, chosen by this number.
    Read(u64),
    /// Flushes.
    Flush,
}

/// Request number `index` of the storm of `seed`.
pub fn storm(seed: u64, index: u64) -> Storm {
    let chance = mix(mix(seed).wrapping_add(index));
    match chance % 8 {
        0 => Storm::Flush,
        1 | 2 => Storm::Read(chance >> 3),
        _ => Storm::Write,
    }
}
