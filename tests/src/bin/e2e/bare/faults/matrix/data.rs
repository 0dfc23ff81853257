//! The expected data of a cell.

use std::collections::BTreeSet;
use std::ops::Range;

use faultvisor_tests::bare::content;
use serde_json::Value;

use super::cells::{
    ASIDE, Effect, FLIPPED, KEPT, LENGTH, Operation, PATTERN, PATTERN_AT, PATTERN_LENGTH, SEED,
};

/// The expected contents of the disk.
pub struct Model {
    pub bytes: Vec<u8>,
}

fn place(first: u64, sectors: u64) -> Range<usize> {
    let at = |sector: u64| usize::try_from(sector * 512).unwrap_or(usize::MAX);
    at(first)..at(first + sectors)
}

impl Model {
    /// The pattern of seed 1 on that many sectors.
    pub fn new(sectors: usize) -> Self {
        Self {
            bytes: content(1, 0, sectors),
        }
    }

    pub fn part(&self, first: u64, sectors: u64) -> &[u8] {
        &self.bytes[place(first, sectors)]
    }

    /// Applies a request, and for a read returns its expected buffer. The `record` of the fault log tells what chance
    /// decided.
    pub fn perform(
        &mut self,
        operation: Operation,
        first: u64,
        effect: Effect,
        record: &Value,
    ) -> Vec<u8> {
        let there = match effect {
            Effect::Elsewhere => first + ASIDE,
            _ => first,
        };
        match operation {
            Operation::Read => {
                if effect == Effect::Nothing {
                    return vec![0xee; place(0, LENGTH).end];
                }
                let mut found = self.part(there, LENGTH).to_vec();
                corrupt(&mut found, effect, record);
                found
            }
            Operation::Write => {
                let mut data = content(SEED, first, place(0, LENGTH).end / 512);
                corrupt(&mut data, effect, record);
                for (first, sectors) in written(effect, record) {
                    let from = &data[place(first, sectors)];
                    self.bytes[place(there + first, sectors)].copy_from_slice(from);
                }
                Vec::new()
            }
            Operation::Discard | Operation::WriteZeroes if effect == Effect::Whole => {
                self.bytes[place(first, LENGTH)].fill(0);
                Vec::new()
            }
            Operation::Flush | Operation::Discard | Operation::WriteZeroes => Vec::new(),
        }
    }
}

/// A request's data after the alteration.
fn corrupt(data: &mut [u8], effect: Effect, record: &Value) {
    match effect {
        Effect::Flipped => {
            let bits = record["change"]["flip"].as_array().into_iter().flatten();
            for bit in bits.filter_map(Value::as_u64) {
                let bit = usize::try_from(bit).unwrap_or(usize::MAX);
                data[bit / 8] ^= 1 << (bit % 8);
            }
        }
        Effect::Overwritten => {
            let pattern = PATTERN.iter().cycle();
            let part = &mut data[PATTERN_AT..PATTERN_AT + PATTERN_LENGTH];
            part.iter_mut()
                .zip(pattern)
                .for_each(|(byte, with)| *byte = *with);
        }
        _ => {}
    }
}

/// The range that a write reaches, from its first sector on.
fn written(effect: Effect, record: &Value) -> Vec<(u64, u64)> {
    let kept = KEPT as u64;
    match effect {
        Effect::Nothing => Vec::new(),
        Effect::First => vec![(0, kept)],
        Effect::Last => vec![(LENGTH - kept, kept)],
        Effect::Random => {
            let runs = record["keep"].as_array().into_iter().flatten();
            let number = |run: &Value, name: &str| run[name].as_u64().unwrap_or(u64::MAX);
            runs.map(|run| (number(run, "first"), number(run, "count")))
                .collect()
        }
        _ => vec![(0, LENGTH)],
    }
}

/// Whether a record of the log states a valid random decision.
pub fn is_sound(effect: Effect, record: &Value) -> bool {
    match effect {
        Effect::Flipped => {
            let bits = record["change"]["flip"].as_array().into_iter().flatten();
            let bits: BTreeSet<u64> = bits.filter_map(Value::as_u64).collect();
            bits.len() == FLIPPED && bits.last() < Some(&(LENGTH * 4096))
        }
        Effect::Random => {
            let end = written(effect, record)
                .last()
                .map_or(0, |run| run.0 + run.1);
            end <= LENGTH
        }
        _ => true,
    }
}
