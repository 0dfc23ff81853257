//! Reproducible random numbers, from a seed and a purpose.
//!
//! The generator is `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
//! Recorded runs depend on its output, on every machine: it must never change.

/// The generator's increment: 2^64 divided by the golden ratio, made odd.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A sequence of numbers that a seed and a purpose determine.
#[derive(Debug, Clone)]
pub struct Chance {
    state: u64,
}

impl Chance {
    /// The sequence of a seed for a purpose, such as a request's ordinal and attempt.
    pub fn new(seed: u64, purpose: [u64; 2]) -> Self {
        let mix = |state: u64, with: u64| scramble(state.wrapping_add(STEP) ^ scramble(with));
        Self {
            state: purpose.into_iter().fold(seed, mix),
        }
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        scramble(self.state)
    }

    /// A number below `bound`, uniform within one part in 2^64 / `bound`; zero if there is none.
    pub fn below(&mut self, bound: u64) -> u64 {
        // The upper half of the product: without a division, and without a noticeable bias.
        let product = u128::from(self.number()) * u128::from(bound);
        u64::try_from(product >> 64).unwrap_or_default()
    }

    /// A number from 0 to 1, excluding 1.
    pub fn fraction(&mut self) -> f64 {
        // The 53 bits that the type represents exactly.
        let bits = self.number() >> 11;
        #[expect(
            clippy::cast_precision_loss,
            reason = "53 bits are what the type holds exactly"
        )]
        let numerator = bits as f64;
        numerator / 9_007_199_254_740_992.0
    }

    /// True with probability one half.
    pub fn coin(&mut self) -> bool {
        self.number() >> 63 == 1
    }
}

/// The generator's output function: every bit of the argument affects every bit of the result.
fn scramble(state: u64) -> u64 {
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_is_the_one_that_was_published() {
        // The first numbers of SplitMix64 from zero, as in every description of it.
        let mut chance = Chance { state: 0 };
        let numbers = [(); 3].map(|()| chance.number());
        let published = [
            0xe220_a839_7b1d_cdaf,
            0x6e78_9e6a_a1b9_65f4,
            0x06c4_5d18_8009_454f,
        ];
        assert_eq!(numbers, published);
    }

    #[test]
    fn a_seeds_sequence_never_changes() {
        let mut chance = Chance::new(42, [7, 0]);
        let drawn = (chance.number(), chance.below(1000), chance.coin());
        assert_eq!(drawn, (14_477_707_984_248_863_127, 175, true));
    }

    #[test]
    fn seeds_and_purposes_have_sequences_of_their_own() {
        let first = |seed, purpose| Chance::new(seed, purpose).number();
        let all = [
            first(0, [0, 0]),
            first(1, [0, 0]),
            first(0, [1, 0]),
            first(0, [0, 1]),
            first(1, [1, 0]),
            first(1, [0, 1]),
        ];
        let different: std::collections::BTreeSet<_> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn numbers_stay_below_their_bound_and_fill_it() {
        let mut chance = Chance::new(1, [2, 3]);
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            seen[usize::try_from(chance.below(10)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|count| (900..1100).contains(count)),
            "{seen:?}"
        );
        assert_eq!(chance.below(0), 0);
        assert_eq!(chance.below(1), 0);
    }

    #[test]
    fn fractions_are_spread_evenly_below_one() {
        let mut chance = Chance::new(1, [2, 4]);
        let mut below_a_quarter = 0;
        for _ in 0..10_000 {
            let fraction = chance.fraction();
            assert!((0.0..1.0).contains(&fraction));
            below_a_quarter += u32::from(fraction < 0.25);
        }
        assert!((2400..2600).contains(&below_a_quarter), "{below_a_quarter}");
    }
}
