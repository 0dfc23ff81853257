//! Ownership of ranges of the disk: they do not overlap, and each has one owner.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::model::request::Range;

/// Ranges and their owners, found by position and by owner.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By a range's first byte: its end, and its owner.
    parts: BTreeMap<u64, (u64, u64)>,
    /// The first bytes of each owner's ranges.
    by_owner: BTreeSet<(u64, u64)>,
}

impl Owners {
    /// Gives a range to an owner, whoever had it before.
    pub(super) fn give(&mut self, range: Range, owner: u64) {
        if range.length == 0 {
            return;
        }
        self.cut_out(range);
        self.add(range.offset, range.end(), owner);
    }

    /// Removes an owner with all its ranges.
    pub(super) fn take_from(&mut self, owner: u64) {
        while let Some(&(_, start)) = self.by_owner.range((owner, 0)..=(owner, u64::MAX)).next() {
            self.parts.remove(&start);
            self.by_owner.remove(&(owner, start));
        }
    }

    /// The owned parts of a range, in order.
    pub(super) fn within(&self, range: Range) -> impl Iterator<Item = (Range, u64)> {
        let before = self.parts.range(..range.offset).next_back();
        let inside = self.parts.range(range.offset..range.end());
        before
            .into_iter()
            .chain(inside)
            .filter_map(move |(start, (end, owner))| {
                let offset = range.offset.max(*start);
                let length = range.end().min(*end).checked_sub(offset)?;
                (length > 0).then_some((Range { offset, length }, *owner))
            })
    }

    fn cut_out(&mut self, range: Range) {
        if let Some((&start, &(end, owner))) = self.parts.range(..range.offset).next_back()
            && end > range.offset
        {
            self.parts.insert(start, (range.offset, owner));
            self.add(range.end(), end, owner);
        }
        while let Some((&start, &(end, owner))) = self.parts.range(range.offset..range.end()).next()
        {
            self.parts.remove(&start);
            self.by_owner.remove(&(owner, start));
            self.add(range.end(), end, owner);
        }
    }

    fn add(&mut self, start: u64, end: u64, owner: u64) {
        if start < end {
            self.parts.insert(start, (end, owner));
            self.by_owner.insert((owner, start));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_byte_has_the_owner_that_it_was_given_last(
            steps in vec((0..64u64, 0..32u64, 0..6u64), 0..60),
            asked in (0..64u64, 0..32u64),
        ) {
            let mut owners = Owners::default();
            let mut model = [None; 96];
            for (offset, length, owner) in steps {
                if owner == 5 {
                    // The length tells the owner that loses it.
                    owners.take_from(length);
                    model.iter_mut().filter(|of| **of == Some(length)).for_each(|of| *of = None);
                } else {
                    owners.give(Range { offset, length }, owner);
                    for byte in offset..offset + length {
                        model[usize::try_from(byte).unwrap()] = Some(owner);
                    }
                }
            }
            let (offset, length) = asked;
            let mut found = [None; 96];
            let mut last = 0;
            for (part, owner) in owners.within(Range { offset, length }) {
                prop_assert!(part.offset >= last.max(offset) && part.end() <= offset + length);
                last = part.end();
                for byte in part.offset..part.end() {
                    found[usize::try_from(byte).unwrap()] = Some(owner);
                }
            }
            for byte in 0..96 {
                let inside = (offset..offset + length).contains(&(byte as u64));
                prop_assert_eq!(found[byte], model[byte].filter(|_| inside));
            }
            prop_assert_eq!(owners.by_owner.len(), owners.parts.len());
        }
    }
}
