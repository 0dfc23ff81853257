//! Histogram of durations, for percentiles among millions of them.

/// Bits of a value that select its bucket; a bucket is at most 1/64 of its values wide.
const PRECISION: u32 = 6;
const SUB_BUCKETS: usize = 1 << PRECISION;
/// Values below `SUB_BUCKETS` have a bucket each, and each power of two from there on has that many.
const BUCKETS: usize = SUB_BUCKETS * (65 - PRECISION as usize);

/// Durations, each in a bucket that is at most 1/64 (1.6 %) of it wide.
#[derive(Debug)]
pub struct Histogram {
    counts: [u32; BUCKETS],
    total: u64,
    longest: u64,
}

impl Histogram {
    /// An empty histogram.
    pub const fn new() -> Self {
        Self {
            counts: [0; BUCKETS],
            total: 0,
            longest: 0,
        }
    }

    /// Adds a duration.
    pub fn add(&mut self, duration: u64) {
        if let Some(count) = self.counts.get_mut(bucket(duration)) {
            *count = count.saturating_add(1);
        }
        self.total += 1;
        self.longest = self.longest.max(duration);
    }

    /// The longest duration.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// The quantile for that many of a thousand, rounded up to its bucket's end; 0 without durations.
    pub fn permille(&self, permille: u64) -> u64 {
        let rank = (self.total * permille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank {
                return last(index).min(self.longest);
            }
        }
        0
    }
}

fn bucket(value: u64) -> usize {
    let magnitude = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION + 1);
    // The top bits, the first of which is set from the second group on.
    (magnitude as usize) * SUB_BUCKETS + (value >> magnitude) as usize
}

/// The largest value in a bucket.
fn last(bucket: usize) -> u64 {
    let magnitude = (bucket / SUB_BUCKETS).saturating_sub(1) as u32;
    let top = (bucket - magnitude as usize * SUB_BUCKETS) as u64;
    (top << magnitude) | ((1 << magnitude) - 1)
}
