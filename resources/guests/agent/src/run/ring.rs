//! The last bytes of a stream, by their offsets in it.

use std::collections::VecDeque;

/// A stream's bytes from [`start`](Self::start) to [`end`](Self::end).
#[derive(Debug)]
pub struct Ring {
    bytes: VecDeque<u8>,
    start: u64,
    bound: usize,
}

impl Ring {
    /// Keeps so many bytes.
    pub fn new(bound: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            start: 0,
            bound,
        }
    }

    /// The offset of the oldest byte that is kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The number of bytes that the stream has had.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(to_u64(self.bytes.len()))
    }

    /// The number of bytes that are kept at most.
    pub fn bound(&self) -> usize {
        self.bound
    }

    /// Appends bytes. The oldest give way.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(self.bound);
        self.bytes.drain(..excess);
        self.start = self.start.saturating_add(to_u64(excess));
    }

    /// Appends to `to` at most `most` bytes from an offset that is kept on, and returns their number.
    pub fn copy(&self, offset: u64, most: usize, to: &mut Vec<u8>) -> usize {
        let skip = usize::try_from(offset.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let from = skip.min(self.bytes.len());
        let until = self.bytes.len().min(from.saturating_add(most));
        to.reserve(until - from);
        let (first, second) = self.bytes.as_slices();
        let split = first.len();
        to.extend_from_slice(&first[from.min(split)..until.min(split)]);
        to.extend_from_slice(&second[from.max(split) - split..until.max(split) - split]);
        until - from
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_bytes_give_way_and_offsets_stay() {
        let mut ring = Ring::new(8);
        for piece in ["abcde", "fghij", "kl"] {
            ring.push(piece.as_bytes());
        }
        assert_eq!((ring.start(), ring.end()), (4, 12));
        let mut found = Vec::new();
        assert_eq!(ring.copy(6, 4, &mut found), 4);
        assert_eq!(ring.copy(10, 9, &mut found), 2);
        assert_eq!(ring.copy(12, 9, &mut found), 0);
        assert_eq!(found, b"ghijkl");
        ring.push(&[b'x'; 20]);
        assert_eq!((ring.start(), ring.end()), (24, 32));
    }
}
