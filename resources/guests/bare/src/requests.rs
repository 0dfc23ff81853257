//! Batches of requests.

use crate::disk::{BlockDriver, Kind};
use crate::pattern::{self, SECTOR, Storm};
use crate::{machine, pattern::mix};

/// Counts of completions, by status.
#[derive(Debug, Default, Clone, Copy)]
pub struct Tally {
    pub ok: u64,
    pub io_error: u64,
    pub unsupported: u64,
    /// Invalid status bytes, and data that differs.
    pub bad: u64,
    /// Cycles from the first submission to the last completion.
    pub cycles: u64,
}

impl Tally {
    /// Counts a status byte.
    pub fn count(&mut self, status: u8) {
        match status {
            0 => self.ok += 1,
            1 => self.io_error += 1,
            2 => self.unsupported += 1,
            _ => self.bad += 1,
        }
    }
}

/// Requests of one kind on adjacent ranges, all in flight at once.
#[derive(Debug, Clone, Copy)]
pub struct Burst {
    pub kind: Kind,
    pub first: u64,
    pub sectors_each: u64,
    pub count: usize,
    pub seed: u64,
}

impl Burst {
    fn sector(&self, slot: usize) -> u64 {
        self.first + self.sectors_each * slot as u64
    }

    /// Bytes of each request.
    pub fn length(&self) -> u64 {
        self.sectors_each * SECTOR as u64
    }

    /// Whether the driver has room for it.
    pub fn fits(&self, disk: &BlockDriver) -> bool {
        self.count <= disk.depth() && self.sectors_each <= disk.longest() / SECTOR as u64
    }

    /// Submits all requests with one kick.
    pub fn start(&self, disk: &mut BlockDriver) {
        for slot in 0..self.count {
            let sector = self.sector(slot);
            match self.kind {
                Kind::Write => pattern::fill(self.seed, sector, disk.buffer(slot, self.length())),
                _ => disk.buffer(slot, self.length()).fill(0xee),
            }
            disk.submit(slot, self.kind, sector, self.length());
        }
        disk.kick();
    }

    /// The checksum over all buffers, in sector order.
    pub fn sum(&self, disk: &mut BlockDriver) -> u64 {
        let mut sum = pattern::sum(&[]);
        for slot in 0..self.count {
            sum = pattern::continue_sum(sum, disk.buffer(slot, self.length()));
        }
        sum
    }
}

/// Waits for `count` completions.
pub fn wait(disk: &mut BlockDriver, count: usize) -> Tally {
    let mut tally = Tally::default();
    let start = machine::cycles();
    for _ in 0..count {
        let status = loop {
            if let Some((_, status)) = disk.completed() {
                break status;
            }
            core::hint::spin_loop();
        };
        tally.count(status);
    }
    tally.cycles = machine::cycles().wrapping_sub(start);
    tally
}

/// Most requests of a storm, since its writes are remembered for later reads.
const REMEMBERED: usize = 1 << 16;

/// Random requests, a constant number of them in flight, each checked.
#[derive(Debug, Clone, Copy)]
pub struct StormOf {
    pub first: u64,
    pub sectors_each: u64,
    pub count: usize,
    pub depth: usize,
    pub seed: u64,
}

/// A slot's request: 0 or its index plus one, and whether it reads that request's data.
#[derive(Clone, Copy, Default)]
struct Busy {
    index: usize,
    reads: bool,
}

impl StormOf {
    /// Whether the driver and memory have room for it.
    pub fn fits(&self, disk: &BlockDriver) -> bool {
        (1..=disk.depth()).contains(&self.depth)
            && self.count <= REMEMBERED
            && self.sectors_each <= disk.longest() / SECTOR as u64
    }

    fn sector(&self, index: usize) -> u64 {
        self.first + self.sectors_each * index as u64
    }

    /// Runs the storm.
    pub fn run(&self, disk: &mut BlockDriver) -> Tally {
        let mut written = [0u64; REMEMBERED / 64];
        let mut busy = [Busy::default(); crate::ring::SLOTS];
        let mut tally = Tally::default();
        let (mut next, mut in_flight) = (0, 0);
        let start = machine::cycles();
        while next < self.count || in_flight > 0 {
            let before = in_flight;
            while next < self.count && in_flight < self.depth {
                let slot = (0..self.depth)
                    .find(|slot| busy[*slot].index == 0)
                    .unwrap_or_default();
                busy[slot] = self.submit(disk, slot, next, &written);
                next += 1;
                in_flight += 1;
            }
            if in_flight > before {
                disk.kick();
            }
            while let Some((slot, status)) = disk.completed() {
                in_flight -= 1;
                let Busy { index, reads } = core::mem::take(&mut busy[slot]);
                let index = index.wrapping_sub(1);
                tally.count(status);
                if status == 0 && reads && !self.is_right(disk, slot, index) {
                    tally.bad += 1;
                } else if status == 0 && pattern::storm(self.seed, index as u64) == Storm::Write {
                    written[index / 64] |= 1 << (index % 64);
                }
            }
        }
        tally.cycles = machine::cycles().wrapping_sub(start);
        tally
    }

    fn submit(&self, disk: &mut BlockDriver, slot: usize, index: usize, written: &[u64]) -> Busy {
        let length = self.sectors_each * SECTOR as u64;
        let mut busy = Busy {
            index: index + 1,
            reads: false,
        };
        match pattern::storm(self.seed, index as u64) {
            Storm::Flush => disk.submit(slot, Kind::Flush, 0, 0),
            Storm::Read(chance) => {
                let earlier = (chance % (index as u64 + 1)) as usize;
                if written[earlier / 64] >> (earlier % 64) & 1 == 1 {
                    busy = Busy {
                        index: earlier + 1,
                        reads: true,
                    };
                }
                disk.buffer(slot, length).fill(mix(chance) as u8);
                disk.submit(slot, Kind::Read, self.sector(earlier), length);
            }
            Storm::Write => {
                let sector = self.sector(index);
                pattern::fill(self.seed, sector, disk.buffer(slot, length));
                disk.submit(slot, Kind::Write, sector, length);
            }
        }
        busy
    }

    fn is_right(&self, disk: &mut BlockDriver, slot: usize, index: usize) -> bool {
        let mut expected = [0; SECTOR];
        let mut sectors = self.sector(index)..;
        disk.buffer(slot, self.sectors_each * SECTOR as u64)
            .chunks(SECTOR)
            .all(|sector| {
                pattern::fill(self.seed, sectors.next().unwrap_or_default(), &mut expected);
                expected == *sector
            })
    }
}
