//! The outcome of a power cut for changes that were not durable.
//!
//! It follows from the seed, and from the changes and their order. A write or a write-zeroes counts as lost if any of
//! its bytes did not reach the medium, even if a later one that did covers them; each of its sectors that is missing or
//! incomplete counts as lost. A discard is a hint, and never counts.

use super::log::{Change, Content};
use crate::block::fault::rng::Chance;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::block::model::request::{Range, SECTOR_SIZE};

/// The purpose of the number of surviving changes. This constant and those below determine what a seed means, and never
/// change.
const PREFIX: u64 = u64::from_be_bytes(*b"cut-pref");

/// The purpose of the surviving sectors or ranges of a change.
const SECTORS: u64 = u64::from_be_bytes(*b"cut-sect");

/// The purpose of a tear's position.
const TEAR: u64 = u64::from_be_bytes(*b"cut-tear");

/// The sequence for a change, by its position among the changes.
fn chance(cut: &PowerCut, purpose: u64, index: usize) -> Chance {
    Chance::new(cut.seed, [purpose, index as u64])
}

/// The outcome.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// The surviving changes, in order.
    pub changes: Vec<Change>,
    /// A torn sector, written after them.
    pub torn: Option<Torn>,
    pub loss: Loss,
}

/// The beginning of the lost content of a sector.
#[derive(Debug)]
pub(super) struct Torn {
    pub offset: u64,
    /// Up to the end of the sector.
    pub bytes: IoBuffers,
}

/// Decides the outcome for these changes, which are in the order of completion.
pub(super) fn remains(changes: &[Change], cut: &PowerCut) -> Remains {
    let mut remains = Remains::default();
    match cut.survival {
        Survival::None => changes.iter().for_each(|change| remains.lose(change)),
        Survival::All => remains.changes = changes.to_vec(),
        Survival::Prefix => {
            let count = changes.len() as u64 + 1;
            let whole = chance(cut, PREFIX, 0).below(count);
            let whole = usize::try_from(whole).unwrap_or(changes.len());
            let (survive, rest) = changes.split_at(whole.min(changes.len()));
            remains.changes = survive.to_vec();
            if let Some((first, rest)) = rest.split_first() {
                remains.tear(first, cut, whole);
                rest.iter().for_each(|change| remains.lose(change));
            }
        }
        Survival::Random => {
            let last = changes.iter().rposition(Change::is_write);
            for (index, change) in changes.iter().enumerate() {
                if Some(index) == last {
                    remains.tear(change, cut, index);
                } else {
                    remains.pick(change, chance(cut, SECTORS, index));
                }
            }
        }
    }
    remains
}

impl Change {
    fn is_write(&self) -> bool {
        !matches!(self.content, Content::Discarded)
    }

    /// The part of a change in some of its ranges, or in a part of a write's only range.
    fn part(&self, ranges: Vec<Range>) -> Self {
        let content = match (&self.content, self.ranges.first(), ranges.first()) {
            (Content::Data(data), Some(whole), Some(part)) => {
                // At most the data's length, which fits in memory.
                let skipped = usize::try_from(part.offset - whole.offset);
                let rest = data.after(skipped.unwrap_or(usize::MAX));
                Content::Data(rest.first(part.length))
            }
            (content, _, _) => content.clone(),
        };
        Self { ranges, content }
    }
}

impl Remains {
    fn keep(&mut self, change: &Change, ranges: Vec<Range>) {
        if !ranges.is_empty() {
            self.changes.push(change.part(ranges));
        }
    }

    /// Counts lost sectors of a change.
    fn count(&mut self, change: &Change, lost: u64) {
        if change.is_write() && lost > 0 {
            self.loss.writes += 1;
            self.loss.sectors += lost;
        }
    }

    /// Counts a lost change.
    fn lose(&mut self, change: &Change) {
        self.count(change, change.ranges.iter().map(sectors).sum());
    }

    /// Keeps or loses each sector of a write, and each range of anything else.
    fn pick(&mut self, change: &Change, mut chance: Chance) {
        let mut lost = 0;
        if let Content::Data(_) = change.content {
            let mut run: Option<Range> = None;
            for sector in change.ranges.iter().flat_map(|range| in_sectors(*range)) {
                match (chance.coin(), &mut run) {
                    (true, Some(run)) => run.length += sector.length,
                    (true, None) => run = Some(sector),
                    (false, _) => {
                        lost += 1;
                        self.keep(change, run.take().into_iter().collect());
                    }
                }
            }
            self.keep(change, run.into_iter().collect());
        } else {
            let mut kept = Vec::new();
            for range in &change.ranges {
                if chance.coin() {
                    kept.push(*range);
                } else {
                    lost += sectors(range);
                }
            }
            self.keep(change, kept);
        }
        self.count(change, lost);
    }

    /// Keeps only the beginning of a change, perhaps nothing of it, as the last one. A discard is not torn: it is kept
    /// or lost.
    fn tear(&mut self, change: &Change, cut: &PowerCut, index: usize) {
        let mut chance = chance(cut, TEAR, index);
        if !change.is_write() {
            if chance.coin() {
                self.changes.push(change.clone());
            }
            return;
        }
        let unit = u64::from(cut.tear_bytes.clamp(1, 512));
        let lengths = change.ranges.iter().map(|range| range.length);
        let length = lengths.fold(0, u64::saturating_add);
        let mut left = chance.below(length.div_ceil(unit)) * unit;
        let mut kept = Vec::new();
        let mut lost = 0;
        for range in &change.ranges {
            let end = range.offset + range.length.min(left);
            left -= end - range.offset;
            let whole = match end == range.end() {
                true => end,
                false => range.offset.max(end / SECTOR_SIZE * SECTOR_SIZE),
            };
            let part = |offset, end| Range {
                offset,
                length: end - offset,
            };
            let survives = part(range.offset, whole);
            lost += sectors(range) - sectors(&survives);
            if survives.length > 0 {
                kept.push(survives);
            }
            if whole < end {
                self.torn = Some(Torn::of(change, part(whole, end)));
            }
        }
        self.keep(change, kept);
        self.count(change, lost);
    }
}

impl Torn {
    fn of(change: &Change, range: Range) -> Self {
        let bytes = match change.part(vec![range]).content {
            Content::Data(data) => data,
            // Less than a sector.
            _ => IoBuffers::own(usize::try_from(range.length).unwrap_or_default()),
        };
        Self {
            offset: range.offset,
            bytes,
        }
    }
}

/// The number of sectors that a range touches.
fn sectors(range: &Range) -> u64 {
    if range.length == 0 {
        return 0;
    }
    range.end().div_ceil(SECTOR_SIZE) - range.offset / SECTOR_SIZE
}

/// A range, split at sector boundaries.
fn in_sectors(range: Range) -> impl Iterator<Item = Range> {
    let mut offset = range.offset;
    std::iter::from_fn(move || {
        let end = range.end().min((offset / SECTOR_SIZE + 1) * SECTOR_SIZE);
        let length = end.checked_sub(offset).filter(|length| *length > 0)?;
        let sector = Range { offset, length };
        offset = end;
        Some(sector)
    })
}
