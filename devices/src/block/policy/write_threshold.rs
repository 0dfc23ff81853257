//! The write threshold: a mark on a disk that a write may exceed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::block::model::request::{Operation, Request};

/// A write that exceeds the mark (QEMU `BLOCK_WRITE_THRESHOLD`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// The mark, as an offset in bytes.
    pub threshold: u64,
    /// By how many bytes.
    pub amount: u64,
}

/// The mark: set by one thread, checked by the disk's. Zero is none.
#[derive(Debug, Default)]
pub struct WriteThreshold(AtomicU64);

impl WriteThreshold {
    /// The mark as an offset in bytes; zero for none.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Sets the mark; zero clears it.
    pub fn set(&self, offset: u64) {
        self.0.store(offset, Ordering::Release);
    }

    /// Checks a request before it is performed. The first that writes or discards past the mark
    /// clears it (QEMU `block/write-threshold.c`).
    pub fn check(&self, request: &Request) -> Option<Exceeded> {
        let threshold = self.get();
        let end = match request.operation {
            Operation::Read { .. } | Operation::Flush => return None,
            Operation::Write { .. } | Operation::WriteZeroes { .. } | Operation::Discard { .. } => {
                request.end()
            }
        };
        if threshold == 0 || end <= threshold {
            return None;
        }
        // A mark that was set meanwhile applies to the next request.
        let taken = self
            .0
            .compare_exchange(threshold, 0, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok().then_some(Exceeded {
            threshold,
            amount: end - threshold,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::model::request::{Durability, Range, Zeroing};
    use crate::block::model::segment::Segments;

    fn request(operation: Operation) -> Request {
        Request {
            operation,
            segments: Segments::new(),
        }
    }

    fn zeroes(offset: u64, length: u64) -> Request {
        request(Operation::WriteZeroes {
            ranges: vec![Range { offset, length }],
            zeroing: Zeroing::KeepSpace,
            durability: Durability::Cached,
        })
    }

    #[test]
    fn the_first_write_beyond_the_threshold_clears_it() {
        let threshold = WriteThreshold::default();
        assert_eq!(threshold.check(&zeroes(0, 4096)), None);
        threshold.set(1024);
        assert_eq!(threshold.check(&zeroes(0, 1024)), None);
        assert_eq!(threshold.get(), 1024);
        let exceeded = Exceeded {
            threshold: 1024,
            amount: 512,
        };
        assert_eq!(threshold.check(&zeroes(1024, 512)), Some(exceeded));
        assert_eq!(threshold.get(), 0);
        assert_eq!(threshold.check(&zeroes(1024, 512)), None);
    }

    #[test]
    fn discards_count_and_reads_and_flushes_do_not() {
        let threshold = WriteThreshold::default();
        threshold.set(1);
        assert_eq!(threshold.check(&request(Operation::Flush)), None);
        let read = request(Operation::Read { offset: 4096 });
        assert_eq!(threshold.check(&read), None);
        let range = |offset| Range {
            offset,
            length: 512,
        };
        let discard = request(Operation::Discard {
            ranges: vec![range(4096), range(0)],
        });
        let exceeded = threshold.check(&discard).unwrap();
        assert_eq!(exceeded.amount, 4607);
    }
}
