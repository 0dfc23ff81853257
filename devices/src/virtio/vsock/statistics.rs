//! Counters of a vsock device, readable from other threads.

use std::sync::atomic::{AtomicU64, Ordering};

/// Live counters.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub connections: Counter,
    pub bytes_to_guest: Counter,
    pub bytes_from_guest: Counter,
    pub refused: Counter,
    pub resets: Counter,
}

/// One counter, written by the device's thread alone.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters at one time. All but the connections count since the start of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VsockStatistics {
    /// Connections that are open, or whose last bytes a client on the host has not taken yet.
    pub connections: u64,
    /// Bytes of streams sent to the guest.
    pub bytes_to_guest: u64,
    /// Bytes of streams received from the guest.
    pub bytes_from_guest: u64,
    /// Connections that were not made: nobody listened, the other side refused or did not answer, or a bound was
    /// reached.
    pub refused: u64,
    /// Connections that ended by a reset before both sides had closed them.
    pub resets: u64,
}

impl Counters {
    /// Their values. Each is exact; together they need not be of one instant.
    pub(super) fn read(&self) -> VsockStatistics {
        VsockStatistics {
            connections: self.connections.get(),
            bytes_to_guest: self.bytes_to_guest.get(),
            bytes_from_guest: self.bytes_from_guest.get(),
            refused: self.refused.get(),
            resets: self.resets.get(),
        }
    }
}
