//! Lines of a stream.

use memchr::memchr;

/// The longest line. QEMU's longest answer, to `query-qmp-schema`, has a quarter of a mebibyte.
pub(crate) const LONGEST_LINE: usize = 64 << 20;

/// Bytes received and not yet taken as lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    /// The start of the first line that is not taken.
    start: usize,
    /// There is no end of a line up to here.
    searched: usize,
}

/// A line exceeds the limit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Lines {
    /// Adds received bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        self.bytes.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
        // All lines were taken before: what is left and what is added has line ends, or is one line.
        if self.bytes.len() > LONGEST_LINE && !bytes.contains(&b'\n') {
            return Err(TooLong);
        }
        Ok(())
    }

    /// The next line, without its end; empty lines are skipped.
    pub(crate) fn next(&mut self) -> Option<&[u8]> {
        loop {
            let found = memchr(b'\n', &self.bytes[self.searched..]);
            let Some(found) = found else {
                self.searched = self.bytes.len();
                return None;
            };
            let (start, end) = (self.start, self.searched + found);
            self.start = end + 1;
            self.searched = self.start;
            if !self.bytes[start..end].trim_ascii().is_empty() {
                return Some(self.bytes[start..end].trim_ascii_end());
            }
        }
    }

    /// The part of a line that has not ended.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lines_are_the_same_in_any_pieces(
            text in "[ab \r\n]{0,60}",
            cuts in proptest::collection::vec(0usize..61, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let mut taken = Vec::new();
            for piece in cuts.windows(2) {
                lines.push(&text.as_bytes()[piece[0]..piece[1]]).unwrap();
                while let Some(line) = lines.next() {
                    taken.push(String::from_utf8_lossy(line).into_owned());
                }
            }
            let (whole, rest) = text.rsplit_once('\n').unwrap_or(("", &text));
            let expected: Vec<&str> = whole.split('\n').map(str::trim_ascii_end)
                .filter(|line| !line.is_empty()).collect();
            prop_assert_eq!(taken, expected);
            prop_assert_eq!(lines.rest(), rest.as_bytes());
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_in_time() {
        let mut lines = Lines::default();
        let piece = vec![b'x'; LONGEST_LINE / 2];
        assert_eq!(lines.push(&piece), Ok(()));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.push(&piece), Ok(()));
        assert_eq!(lines.next(), None);
        assert_eq!(lines.push(b"x"), Err(TooLong));
    }
}
