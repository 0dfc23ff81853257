//! The requests in flight, by token.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::requests::Pending;
use crate::block::model::request::Token;

/// Requests by token. Free entries are reused.
pub(super) type InFlight = HashMap<Token, Pending, BuildHasherDefault<TokenHasher>>;

/// 2^64 divided by the golden ratio, made odd: consecutive numbers are spread evenly over all bits
/// of the product (Knuth, TAOCP volume 3, §6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash of a token. The disk counts tokens: no guest can choose ones that collide.
#[derive(Default)]
pub(super) struct TokenHasher(u64);

impl Hasher for TokenHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(SPREAD);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn tokens_that_follow_one_another_differ_in_the_bits_that_a_table_looks_at() {
        let hasher = BuildHasherDefault::<TokenHasher>::default();
        let hashes = |first: u64| (first..first + 256).map(|token| hasher.hash_one(Token(token)));
        for first in [0, 1 << 20, u64::MAX - 256] {
            // A table of 1024 slots selects the slot by the lower bits, and distinguishes entries
            // by the upper ones.
            let places: HashSet<_> = hashes(first).map(|hash| hash & 1023).collect();
            assert_eq!(places.len(), 256);
            let tags: HashSet<_> = hashes(first).map(|hash| hash >> 57).collect();
            assert!(tags.len() >= 100, "{}", tags.len());
        }
    }
}
