//! A disk's statistics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::block::model::request::Operation;

/// The kinds of requests that are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Reads.
    Read,
    /// Writes.
    Write,
    /// Flushes.
    Flush,
    /// Discards.
    Unmap,
}

impl Kind {
    /// The kind of an operation. Writing zeroes counts as a write, as in QEMU.
    pub fn of(operation: &Operation) -> Self {
        match operation {
            Operation::Read { .. } => Self::Read,
            Operation::Write { .. } | Operation::WriteZeroes { .. } => Self::Write,
            Operation::Flush => Self::Flush,
            Operation::Discard { .. } => Self::Unmap,
        }
    }
}

/// One kind of request. A request is counted in one of `done`, `failed` and `invalid`, before the
/// guest is notified of its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counts {
    /// Bytes that the `done` requests moved.
    pub bytes: u64,
    /// Requests that completed with success for the guest.
    pub done: u64,
    /// Requests that completed with an error for the guest.
    pub failed: u64,
    /// Malformed requests, which do not reach the backend.
    pub invalid: u64,
    /// Total time of `done` and `failed` from the last submission to the completion, in
    /// nanoseconds. It includes the wait for the disk's limits, as in QEMU.
    pub time_ns: u64,
}

/// A disk's statistics as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatisticsState {
    read: Counts,
    write: Counts,
    flush: Counts,
    unmap: Counts,
    highest_written: u64,
    /// Time since the last request ended, if any has, in nanoseconds.
    idle_ns: Option<u64>,
}

/// A disk's statistics, counted by its thread and read by others. Each number is exact at some
/// moment of the reading; all are consistent when no request is in flight.
#[derive(Debug)]
pub struct Statistics {
    kinds: [Cells; 4],
    highest_written: AtomicU64,
    /// Since `epoch`, in nanoseconds; zero for never.
    last_access: AtomicU64,
    epoch: Instant,
}

#[derive(Debug, Default)]
struct Cells {
    bytes: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    invalid: AtomicU64,
    time_ns: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            kinds: Default::default(),
            highest_written: AtomicU64::new(0),
            last_access: AtomicU64::new(0),
            epoch: Instant::now(),
        }
    }
}

impl Statistics {
    /// Counts a request, before the guest sees its success.
    pub fn done(&self, kind: Kind, bytes: u64, submitted: Instant, now: Instant) {
        let cells = self.cells(kind);
        add(&cells.bytes, bytes);
        add(&cells.time_ns, self.access(submitted, now));
        add(&cells.done, 1);
    }

    /// Counts a request, before the guest sees its failure.
    pub fn failed(&self, kind: Kind, submitted: Instant, now: Instant) {
        let cells = self.cells(kind);
        add(&cells.time_ns, self.access(submitted, now));
        add(&cells.failed, 1);
    }

    /// Counts a malformed request.
    pub fn invalid(&self, kind: Kind) {
        let now = Instant::now();
        self.access(now, now);
        add(&self.cells(kind).invalid, 1);
    }

    /// The bytes before this offset may have been written.
    pub fn written_to(&self, end: u64) {
        if end > self.highest_written.load(Ordering::Relaxed) {
            self.highest_written.store(end, Ordering::Release);
        }
    }

    /// The counts of one kind.
    pub fn counts(&self, kind: Kind) -> Counts {
        let cells = self.cells(kind);
        let get = |cell: &AtomicU64| cell.load(Ordering::Acquire);
        Counts {
            bytes: get(&cells.bytes),
            done: get(&cells.done),
            failed: get(&cells.failed),
            invalid: get(&cells.invalid),
            time_ns: get(&cells.time_ns),
        }
    }

    /// The highest end of a write that the disk has performed, as an offset in bytes.
    pub fn highest_written(&self) -> u64 {
        self.highest_written.load(Ordering::Acquire)
    }

    /// Time since the last request ended, if any has.
    pub fn idle_time(&self) -> Option<Duration> {
        let last = Duration::from_nanos(self.last_access.load(Ordering::Acquire));
        (!last.is_zero()).then(|| self.epoch.elapsed().saturating_sub(last))
    }

    /// The counts, as plain data.
    pub fn save(&self) -> StatisticsState {
        StatisticsState {
            read: self.counts(Kind::Read),
            write: self.counts(Kind::Write),
            flush: self.counts(Kind::Flush),
            unmap: self.counts(Kind::Unmap),
            highest_written: self.highest_written(),
            idle_ns: self.idle_time().map(nanoseconds),
        }
    }

    /// Restores saved counts. No request is in flight.
    pub fn restore(&self, state: &StatisticsState) {
        let kinds = [state.read, state.write, state.flush, state.unmap];
        for (cells, counts) in self.kinds.iter().zip(kinds) {
            cells.set(counts);
        }
        self.highest_written
            .store(state.highest_written, Ordering::Release);
        // Clamped to the range of this clock: at least a nanosecond after its epoch.
        let now = nanoseconds(self.epoch.elapsed());
        let last = |idle: u64| now.saturating_sub(idle).max(1);
        self.last_access
            .store(state.idle_ns.map_or(0, last), Ordering::Release);
    }

    /// Notes the time of an access, and returns how long it took, in nanoseconds.
    fn access(&self, submitted: Instant, now: Instant) -> u64 {
        let since_epoch = nanoseconds(now.saturating_duration_since(self.epoch));
        self.last_access
            .store(since_epoch.max(1), Ordering::Release);
        nanoseconds(now.saturating_duration_since(submitted))
    }

    fn cells(&self, kind: Kind) -> &Cells {
        match kind {
            Kind::Read => &self.kinds[0],
            Kind::Write => &self.kinds[1],
            Kind::Flush => &self.kinds[2],
            Kind::Unmap => &self.kinds[3],
        }
    }
}

impl Cells {
    fn set(&self, counts: Counts) {
        let Counts {
            bytes,
            done,
            failed,
            invalid,
            time_ns,
        } = counts;
        let values = [
            (&self.bytes, bytes),
            (&self.done, done),
            (&self.failed, failed),
            (&self.invalid, invalid),
            (&self.time_ns, time_ns),
        ];
        for (cell, value) in values {
            cell.store(value, Ordering::Release);
        }
    }
}

/// Only the disk's thread writes: no atomic read-modify-write is needed.
fn add(cell: &AtomicU64, amount: u64) {
    let sum = cell.load(Ordering::Relaxed).wrapping_add(amount);
    cell.store(sum, Ordering::Release);
}

/// In nanoseconds: 64 bits hold 584 years.
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_did_nothing_has_no_idle_time() {
        let statistics = Statistics::default();
        assert_eq!(statistics.idle_time(), None);
        statistics.invalid(Kind::Write);
        assert!(statistics.idle_time().is_some());
    }

    #[test]
    fn each_kind_is_counted_by_itself_and_time_adds_up() {
        let statistics = Statistics::default();
        let second = Duration::from_secs(1);
        let Some(before) = Instant::now().checked_sub(second) else {
            panic!("the host has just booted");
        };
        statistics.done(Kind::Read, 512, before, Instant::now());
        statistics.failed(Kind::Read, before, Instant::now());
        statistics.done(Kind::Flush, 0, Instant::now(), Instant::now());
        let read = statistics.counts(Kind::Read);
        assert_eq!((read.bytes, read.done, read.failed), (512, 1, 1));
        assert!(read.time_ns >= 2_000_000_000);
        assert_eq!(statistics.counts(Kind::Write), Counts::default());
        assert_eq!(statistics.counts(Kind::Flush).done, 1);
    }

    #[test]
    fn restored_statistics_are_those_that_were_saved_and_go_on_from_there() {
        let statistics = Statistics::default();
        statistics.done(Kind::Read, 512, Instant::now(), Instant::now());
        statistics.failed(Kind::Unmap, Instant::now(), Instant::now());
        statistics.invalid(Kind::Write);
        statistics.written_to(8192);
        let text = serde_json::to_string(&statistics.save()).unwrap();
        let other = Statistics::default();
        other.restore(&serde_json::from_str(&text).unwrap());
        for kind in [Kind::Read, Kind::Write, Kind::Flush, Kind::Unmap] {
            assert_eq!(other.counts(kind), statistics.counts(kind), "{kind:?}");
        }
        assert_eq!(other.highest_written(), 8192);
        assert!(other.idle_time().is_some());
        other.done(Kind::Read, 512, Instant::now(), Instant::now());
        assert_eq!(other.counts(Kind::Read).bytes, 1024);
        let unused = Statistics::default();
        unused.restore(&Statistics::default().save());
        assert_eq!(unused.idle_time(), None);
    }

    #[test]
    fn the_furthest_write_counts_and_not_the_last() {
        let statistics = Statistics::default();
        for end in [512, 8192, 1024] {
            statistics.written_to(end);
        }
        assert_eq!(statistics.highest_written(), 8192);
    }
}
