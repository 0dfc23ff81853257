//! A disk's I/O, as the guest's kernel counts it.

use std::fmt;

use faultvisor_tests::guest_shell::GuestShell;
use faultvisor_tests::suite::Failure;

/// Requests of each kind since the guest's start.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    reads: u64,
    read_kibibytes: u64,
    writes: u64,
    written_kibibytes: u64,
    discards: u64,
    flushes: u64,
}

impl Traffic {
    /// Reads the guest's counters (Linux `Documentation/block/stat.rst`).
    pub fn of(guest: &mut GuestShell, device: &str) -> Result<Self, Failure> {
        let text = guest.run(&format!("cat /sys/block/{device}/stat"))?;
        let numbers: Vec<u64> = text
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let number = |index: usize| {
            let missing = || Failure::new(format!("'{text}' has no number {index}"));
            numbers.get(index).copied().ok_or_else(missing)
        };
        Ok(Self {
            reads: number(0)?,
            read_kibibytes: number(2)? / 2,
            writes: number(4)?,
            written_kibibytes: number(6)? / 2,
            discards: number(11)?,
            flushes: number(15)?,
        })
    }
}

impl Traffic {
    /// Whether each kind occurred.
    pub fn is_of_every_kind(&self) -> bool {
        [self.reads, self.writes, self.discards, self.flushes]
            .into_iter()
            .all(|count| count > 0)
    }
}

impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            reads,
            read_kibibytes,
            writes,
            written_kibibytes,
            discards,
            flushes,
        } = self;
        write!(
            f,
            "{reads} reads ({read_kibibytes} KiB), {writes} writes ({written_kibibytes} KiB), \
             {flushes} flushes, {discards} discards"
        )
    }
}
