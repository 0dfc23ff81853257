//! I/O limits: when a request may be submitted.
//!
//! QEMU's semantics (`include/qemu/throttle.h`, `block/throttle-groups.c`): each of six [`Limits`](limits::Limits)
//! is a leaky bucket, which requests fill and time empties. A request is admitted while no bucket
//! that it counts in is over its size, however large the request, so that none waits for ever.
//! Disks in one [`Group`](group::Group) share the buckets and take turns. Reads wait for reads and writes for
//! writes, in the order of their arrival.
//!
//! Nothing here reads a clock: the caller passes the time.

mod bucket;
pub mod group;
pub mod limits;
pub mod queue;
pub mod schedule;
#[cfg(test)]
mod tests;

use crate::block::model::request::Operation;

/// Which way a request moves data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the disk.
    Read,
    /// To the disk.
    Write,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Read, Self::Write];

    /// The direction of a limited operation. Writing zeroes is a write; flushes and discards are
    /// unlimited, as in QEMU (`block/block-backend.c`).
    pub fn of(operation: &Operation) -> Option<Self> {
        match operation {
            Operation::Read { .. } => Some(Self::Read),
            Operation::Write { .. } | Operation::WriteZeroes { .. } => Some(Self::Write),
            Operation::Flush | Operation::Discard { .. } => None,
        }
    }
}

/// One thing for each direction.
#[derive(Debug, Clone, Copy, Default)]
struct Both<T> {
    read: T,
    write: T,
}

impl<T> Both<T> {
    fn of(&self, direction: Direction) -> &T {
        match direction {
            Direction::Read => &self.read,
            Direction::Write => &self.write,
        }
    }

    fn of_mut(&mut self, direction: Direction) -> &mut T {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}
