//! An index of rules by range, so that not every rule is evaluated.

/// A range in sectors, and its rule.
#[derive(Debug, Clone, Copy)]
struct Area {
    first: u64,
    /// Its end.
    end: u64,
    rule: usize,
}

/// Rules by their ranges.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Rules without a range, in ascending order.
    anywhere: Vec<usize>,
    /// In the order of their first sectors.
    areas: Vec<Area>,
    /// A tree over `areas`: each node holds the greatest end of the areas below it. Node 1 is the root, the children of
    /// node n are 2n and 2n + 1, and the leaves are the areas, padded to a power of two.
    ends: Vec<u64>,
}

impl Index {
    /// An index of rules, by their numbers in ascending order, and their ranges, by first sector and number of sectors.
    pub(super) fn new(rules: impl Iterator<Item = (usize, Option<(u64, u64)>)>) -> Self {
        let mut index = Self::default();
        for (rule, sectors) in rules {
            match sectors {
                None => index.anywhere.push(rule),
                // A range without sectors overlaps nothing.
                Some((_, 0)) => {}
                Some((first, count)) => index.areas.push(Area {
                    first,
                    end: first.saturating_add(count),
                    rule,
                }),
            }
        }
        index.areas.sort_by_key(|area| area.first);
        let leaves = index.areas.len().next_power_of_two();
        index.ends = vec![0; 2 * leaves];
        for (leaf, area) in index.ends[leaves..].iter_mut().zip(&index.areas) {
            *leaf = area.end;
        }
        for node in (1..leaves).rev() {
            index.ends[node] = index.ends[2 * node].max(index.ends[2 * node + 1]);
        }
        index
    }

    /// Appends to `found` the candidates for one of these ranges, in ascending order, each once.
    pub(super) fn find(&self, parts: impl Iterator<Item = (u64, u64)>, found: &mut Vec<usize>) {
        found.clear();
        if !self.areas.is_empty() {
            // A request of length zero overlaps nothing.
            for (first, end) in parts.filter(|(first, end)| first < end) {
                // The areas from here on begin after the range.
                let behind = self.areas.partition_point(|area| area.first < end);
                self.descend(1, 0, self.ends.len() / 2, (first, behind), found);
            }
        }
        if found.is_empty() {
            found.extend_from_slice(&self.anywhere);
            return;
        }
        found.extend_from_slice(&self.anywhere);
        found.sort_unstable();
        found.dedup();
    }

    /// Finds the areas below a node, of `leaves` leaves from `leaf` on, that end after `first` and whose numbers are
    /// below `behind`.
    fn descend(
        &self,
        node: usize,
        leaf: usize,
        leaves: usize,
        (first, behind): (u64, usize),
        found: &mut Vec<usize>,
    ) {
        if leaf >= behind || self.ends[node] <= first {
            return;
        }
        if leaves == 1 {
            found.push(self.areas[leaf].rule);
            return;
        }
        let half = leaves / 2;
        self.descend(2 * node, leaf, half, (first, behind), found);
        self.descend(2 * node + 1, leaf + half, half, (first, behind), found);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(rules: &[Option<(u64, u64)>], parts: &[(u64, u64)]) -> Vec<usize> {
        let mut found = vec![usize::MAX];
        Index::new(rules.iter().copied().enumerate()).find(parts.iter().copied(), &mut found);
        found
    }

    #[test]
    fn a_request_about_no_part_meets_the_rules_that_ask_for_none() {
        assert_eq!(found(&[Some((0, u64::MAX)), None, None], &[]), [1, 2]);
        assert_eq!(found(&[], &[(0, 1)]), Vec::<usize>::new());
    }

    fn rules() -> impl Strategy<Value = Vec<Option<(u64, u64)>>> {
        let sectors = prop_oneof![
            4 => (0_u64..200, 1_u64..40),
            1 => Just((u64::MAX - 1, u64::MAX)),
        ];
        prop::collection::vec(prop::option::weighted(0.9, sectors), 0..70)
    }

    proptest! {
        #[test]
        fn the_index_finds_what_looking_at_all_finds(
            rules in rules(),
            parts in prop::collection::vec((0_u64..220, 1_u64..60), 0..4),
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(first, count)| (first, first + count)).collect();
            let overlaps = |first: u64, count: u64| {
                parts.iter().any(|part| first < part.1 && first.saturating_add(count) > part.0)
            };
            let expected: Vec<usize> = (0..)
                .zip(&rules)
                .filter(|(_, sectors)| sectors.is_none_or(|(first, count)| overlaps(first, count)))
                .map(|(rule, _): (usize, _)| rule)
                .collect();
            prop_assert_eq!(found(&rules, &parts), expected);
        }
    }
}
