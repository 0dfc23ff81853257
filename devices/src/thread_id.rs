//! Host thread IDs, for pinning threads to processors.

use std::sync::{Arc, OnceLock};

/// The host's ID of a thread that is being started, as from `gettid`.
#[derive(Debug, Clone, Default)]
pub struct ThreadId(Arc<OnceLock<i32>>);

impl ThreadId {
    /// Publishes the ID. The thread itself calls this first.
    pub fn announce(&self) {
        self.0
            .get_or_init(|| rustix::thread::gettid().as_raw_nonzero().get());
    }

    /// The ID. Waits until the thread has published it.
    #[must_use]
    pub fn get(&self) -> i32 {
        *self.0.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn get_waits_until_the_thread_announces_its_id() {
        let id = ThreadId::default();
        let announced = id.clone();
        let thread = std::thread::spawn(move || {
            announced.announce();
            rustix::thread::gettid()
        });
        let found = id.get();
        assert_eq!(found, thread.join().unwrap().as_raw_nonzero().get());
        // A second announcement from another thread has no effect.
        id.announce();
        assert_eq!(id.get(), found);
    }
}
