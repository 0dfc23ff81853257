//! What has been written and may not be on the medium yet.

use std::sync::atomic::{AtomicU64, Ordering};

/// Writes of one kind, and how many of them the medium is known to have. A flag would not do: it
/// would be down while somebody waits, and nobody else would wait for the same.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    written: AtomicU64,
    synced: AtomicU64,
}

impl Unsynced {
    /// Notes a write that has ended.
    pub(super) fn note(&self) {
        self.written.fetch_add(1, Ordering::AcqRel);
    }

    /// How many writes have ended, for who is about to wait for the medium.
    pub(super) fn so_far(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Notes that the medium has been waited for since there were that many.
    pub(super) fn reached(&self, so_far: u64) {
        self.synced.fetch_max(so_far, Ordering::AcqRel);
    }

    /// Whether the medium has to be waited for.
    pub(super) fn is_behind(&self) -> bool {
        self.synced.load(Ordering::Acquire) < self.so_far()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_counts_as_on_the_medium_before_the_wait_for_it_has_ended() {
        let unsynced = Unsynced::default();
        assert!(!unsynced.is_behind());
        unsynced.note();
        let first = unsynced.so_far();
        assert!(unsynced.is_behind(), "another has begun to wait");
        unsynced.reached(first);
        assert!(!unsynced.is_behind());
    }

    #[test]
    fn writes_during_a_sync_need_another_one() {
        let unsynced = Unsynced::default();
        unsynced.note();
        let first = unsynced.so_far();
        unsynced.note();
        let second = unsynced.so_far();
        unsynced.reached(first);
        assert!(unsynced.is_behind());
        unsynced.reached(second);
        // One that began earlier and ends later takes nothing back.
        unsynced.reached(first);
        assert!(!unsynced.is_behind());
    }
}
