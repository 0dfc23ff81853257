//! Measures a disk's speed: a constant number of requests in flight, each timed.

use crate::disk::{BlockDriver, Kind};
use crate::histogram::Histogram;
use crate::pattern::{self, SECTOR};
use crate::requests::Tally;
use crate::ring::SLOTS;
use crate::script::{Words, Wrong};
use crate::{machine, memory};

/// Access pattern.
#[derive(Debug, Clone, Copy)]
enum Order {
    Random,
    Sequential,
}

/// When submission ends.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Count(u64),
    Cycles(u64),
}

/// Parameters of a measurement.
#[derive(Debug, Clone, Copy)]
pub struct MeasurementOf {
    kind: Kind,
    order: Order,
    bytes_each: u64,
    depth: usize,
    limit: Limit,
    seed: u64,
}

/// Results of a measurement.
#[derive(Debug)]
pub struct Measured {
    /// Status bytes by kind, and the cycles that all requests took.
    pub tally: Tally,
    /// Sum of the first eight bytes of each block that was read.
    pub sum: u64,
    /// Notifications that the device did not suppress.
    pub kicks: u64,
    /// Cycles from a request's entry in the ring to its completion being seen.
    pub latencies: Histogram,
}

impl MeasurementOf {
    /// Parses the words of a step after its disk.
    pub fn parse(words: &mut Words<'_>) -> Result<Self, Wrong> {
        Ok(Self {
            kind: match words.word()? {
                "read" => Kind::Read,
                "write" => Kind::Write,
                _ => return Err("not-read-or-write"),
            },
            order: match words.word()? {
                "random" => Order::Random,
                "sequential" => Order::Sequential,
                _ => return Err("not-random-or-sequential"),
            },
            bytes_each: words.number()?,
            depth: words.number()?,
            limit: match words.word()? {
                "count" => Limit::Count(words.number()?),
                "cycles" => Limit::Cycles(words.number()?),
                _ => return Err("not-count-or-cycles"),
            },
            seed: words.number()?,
        })
    }

    /// Whether the driver, memory and the disk have room for it.
    pub fn fits(&self, disk: &BlockDriver) -> bool {
        let blocks = self.blocks(disk);
        self.bytes_each.is_multiple_of(SECTOR as u64)
            && blocks.is_some_and(|blocks| blocks > 0)
            && (1..=disk.depth()).contains(&self.depth)
            && (self.depth as u64).saturating_mul(self.bytes_each) <= disk.room()
    }

    /// Runs the measurement.
    pub fn run(&self, disk: &mut BlockDriver) -> Measured {
        let blocks = self.blocks(disk).unwrap_or_default();
        let mut measured = Measured {
            tally: Tally::default(),
            sum: 0,
            kicks: 0,
            latencies: Histogram::new(),
        };
        disk.divide(Some(self.bytes_each));
        for slot in 0..self.depth {
            pattern::fill(self.seed, 0, disk.buffer(slot, self.bytes_each));
        }
        disk.silence();
        let mut submitted_at = [0; SLOTS];
        let kicks = disk.kicks;
        let start = machine::cycles();
        let mut next = 0;
        let mut in_flight = 0;
        for (slot, at) in submitted_at.iter_mut().enumerate().take(self.depth) {
            if self.has(next, 0) {
                *at = machine::cycles();
                self.submit(disk, slot, next, blocks);
                next += 1;
                in_flight += 1;
            }
        }
        disk.kick();
        let mut now = start;
        while in_flight > 0 {
            // One kick for all completions found at once, as after one interrupt.
            for _ in 0..disk.ready() {
                let Some((slot, status)) = disk.completed() else {
                    break;
                };
                now = machine::cycles();
                in_flight -= 1;
                measured.tally.count(status);
                measured.latencies.add(now.wrapping_sub(submitted_at[slot]));
                if self.kind == Kind::Read {
                    // SAFETY: the slot's buffer, which the device has returned.
                    let first: u64 = unsafe { memory::load(disk.address_of(slot)) };
                    measured.sum = measured.sum.wrapping_add(first);
                }
                if self.has(next, now.wrapping_sub(start)) {
                    submitted_at[slot] = now;
                    self.submit(disk, slot, next, blocks);
                    next += 1;
                    in_flight += 1;
                }
            }
            disk.kick();
            core::hint::spin_loop();
        }
        measured.tally.cycles = now.wrapping_sub(start);
        measured.kicks = disk.kicks - kicks;
        disk.divide(None);
        measured
    }

    fn blocks(&self, disk: &BlockDriver) -> Option<u64> {
        (disk.capacity() * SECTOR as u64).checked_div(self.bytes_each)
    }

    fn has(&self, next: u64, cycles: u64) -> bool {
        match self.limit {
            Limit::Count(count) => next < count,
            Limit::Cycles(limit) => cycles < limit,
        }
    }

    fn submit(&self, disk: &mut BlockDriver, slot: usize, index: u64, blocks: u64) {
        let block = match self.order {
            Order::Random => pattern::place(self.seed, index, blocks),
            Order::Sequential => index % blocks,
        };
        let sector = block * (self.bytes_each / SECTOR as u64);
        if self.kind == Kind::Write {
            // SAFETY: the slot's buffer, which the device does not own.
            unsafe { memory::store(disk.address_of(slot), sector) };
        }
        disk.submit(slot, self.kind, sector, self.bytes_each);
    }
}
