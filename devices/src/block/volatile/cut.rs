//! What a power cut leaves of the changes that were not durable.
//!
//! All of it follows from the seed, and from the changes and their order. A write or a request for
//! zeroes counts as lost if any of its bytes did not reach the medium, even where a later one that
//! did covers them; each of its sectors that did not, or not wholly, counts as a lost sector. A
//! discard is a hint, and never counts.

use super::log::{Change, Content};
use crate::block::fault::rng::Chance;
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::power_cut::{Loss, PowerCut, Survival};
use crate::block::model::request::{Range, SECTOR_SIZE};

/// How many changes survive. This number and those below are part of what a seed means, and never
/// change.
const PREFIX: u64 = u64::from_be_bytes(*b"cut-pref");

/// Which sectors or ranges of a change do.
const SECTORS: u64 = u64::from_be_bytes(*b"cut-sect");

/// Where a change is torn.
const TEAR: u64 = u64::from_be_bytes(*b"cut-tear");

/// The sequence for a change by its place among the changes.
fn chance(cut: &PowerCut, purpose: u64, index: usize) -> Chance {
    Chance::new(cut.seed, [purpose, index as u64])
}

/// What survives.
#[derive(Debug, Default)]
pub(super) struct Remains {
    /// In their order.
    pub changes: Vec<Change>,
    /// After them.
    pub torn: Option<Torn>,
    pub loss: Loss,
}

/// The beginning of what should have been in the rest of a sector.
#[derive(Debug)]
pub(super) struct Torn {
    pub offset: u64,
    /// No more than to the end of the sector.
    pub bytes: IoBuffers,
}

/// Decides what survives of these changes, which are in the order of their completion.
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

    /// The part of it in some of its ranges, or in a part of the only one of a write.
    fn part(&self, ranges: Vec<Range>) -> Self {
        let content = match (&self.content, self.ranges.first(), ranges.first()) {
            (Content::Data(data), Some(whole), Some(part)) => {
                // No more than the data's length, which is memory.
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

    /// So many sectors of a change do not survive.
    fn count(&mut self, change: &Change, lost: u64) {
        if change.is_write() && lost > 0 {
            self.loss.writes += 1;
            self.loss.sectors += lost;
        }
    }

    /// A change does not survive.
    fn lose(&mut self, change: &Change) {
        self.count(change, change.ranges.iter().map(sectors).sum());
    }

    /// Each sector of a write survives, or not, and each range of anything else.
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

    /// Only the beginning of a change survives, perhaps nothing of it. It is the last that does. A
    /// discard is not torn: it survives or not.
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

/// Sectors that a range has a part of.
fn sectors(range: &Range) -> u64 {
    if range.length == 0 {
        return 0;
    }
    range.end().div_ceil(SECTOR_SIZE) - range.offset / SECTOR_SIZE
}

/// A range in parts that end where sectors do.
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
