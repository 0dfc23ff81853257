//! A file after a crash: what is left of what was written to it.

use std::ops::Range;

use super::recorder::Change;
use crate::fuzzing::qcow2::SECTOR;

impl Change {
    /// Does it to a file in memory.
    pub fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(offset, bytes) => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + bytes.len();
                file.resize(file.len().max(end), 0);
                file[start..end].copy_from_slice(bytes);
            }
            Self::Zero {
                offset,
                length,
                grows,
            } => {
                let start = usize::try_from(*offset).unwrap();
                let end = start + usize::try_from(*length).unwrap();
                if *grows {
                    file.resize(file.len().max(end), 0);
                }
                let end = end.min(file.len());
                file[start.min(end)..end].fill(0);
            }
            Self::Length(length) => file.resize(usize::try_from(*length).unwrap(), 0),
            Self::Sync => {}
        }
    }

    /// Which bytes of a file of that length it changes.
    fn range(&self, length: usize) -> Option<Range<usize>> {
        let (start, end) = match self {
            Self::Write(offset, bytes) => (*offset, *offset + bytes.len() as u64),
            Self::Zero { offset, length, .. } => (*offset, *offset + *length),
            Self::Length(length) => (*length, u64::MAX),
            Self::Sync => return None,
        };
        let within = |place| usize::try_from(place).map_or(length, |place| place.min(length));
        Some(within(start)..within(end))
    }

    /// Adds those of its sectors that `is_kept` says; all of it if it is not a write.
    fn tear(&self, mut is_kept: impl FnMut() -> bool, kept: &mut Vec<Self>) {
        let Self::Write(offset, bytes) = self else {
            return kept.push(self.clone());
        };
        for (index, sector) in bytes.chunks(SECTOR).enumerate() {
            if is_kept() {
                let place = *offset + (index * SECTOR) as u64;
                kept.push(Self::Write(place, sector.to_vec()));
            }
        }
    }
}

/// Numbers that are the same every time.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// One of 0 to `below`, which is not part of it (xorshift64*).
    pub fn below(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % below
    }
}

/// A file and its medium.
#[derive(Debug)]
pub struct Medium {
    /// What a process sees: it survives the end of a process.
    pub cached: Vec<u8>,
    /// What survives the end of the host in any case.
    durable: Vec<u8>,
    /// What was done since, of which any part may.
    pending: Vec<Change>,
}

impl Medium {
    pub fn new(file: &[u8]) -> Self {
        Self {
            cached: file.to_vec(),
            durable: file.to_vec(),
            pending: Vec::new(),
        }
    }

    pub fn change(&mut self, change: &Change) {
        change.apply(&mut self.cached);
        match change {
            Change::Sync => {
                for change in self.pending.drain(..) {
                    change.apply(&mut self.durable);
                }
            }
            change => self.pending.push(change.clone()),
        }
    }

    /// How many things may be lost.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Looks at the file as it may be after the host has lost power. A change may be lost although
    /// a later one is kept, and one of several sectors may be kept in part.
    pub fn after_power_loss<R>(&mut self, dice: &mut Dice, look: impl FnOnce(&[u8]) -> R) -> R {
        let kept = self.kept(dice);
        // What they change is put back: to copy the whole file would take longer than the look.
        let length = self.durable.len();
        let mut before = Vec::new();
        for change in &kept {
            if let Some(range) = change.range(self.durable.len()) {
                before.push((range.start, self.durable[range].to_vec()));
            }
            change.apply(&mut self.durable);
        }
        let result = look(&self.durable);
        self.durable.resize(self.durable.len().max(length), 0);
        for (start, bytes) in before.iter().rev() {
            self.durable[*start..start + bytes.len()].copy_from_slice(bytes);
        }
        self.durable.truncate(length);
        result
    }

    /// Some of what is pending. Often it is all but one, or one alone.
    fn kept(&self, dice: &mut Dice) -> Vec<Change> {
        let odd = dice.below(self.pending.len().max(1) as u64);
        let mode = dice.below(4);
        let mut kept = Vec::new();
        for (index, change) in self.pending.iter().enumerate() {
            let is_odd = index as u64 == odd;
            if dice.below(4) == 0 {
                change.tear(|| dice.below(2) == 0, &mut kept);
            } else if match mode {
                0 => !is_odd,
                1 => is_odd,
                _ => dice.below(2) == 0,
            } {
                kept.push(change.clone());
            }
        }
        kept
    }
}
