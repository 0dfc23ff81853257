//! The host's numbers of threads, by which a person pins them to processors.

use std::sync::{Arc, OnceLock};

/// The host's number of a thread that is being started, as `gettid` says it.
#[derive(Debug, Clone, Default)]
pub struct ThreadId(Arc<OnceLock<i32>>);

impl ThreadId {
    /// For the thread itself, and the first thing that it does: says its number.
    pub fn announce(&self) {
        self.0
            .get_or_init(|| rustix::thread::gettid().as_raw_nonzero().get());
    }

    /// The number. Waits until a thread that has just been started has said it.
    #[must_use]
    pub fn get(&self) -> i32 {
        *self.0.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_early_waits_for_the_thread() {
        let id = ThreadId::default();
        let announced = id.clone();
        let thread = std::thread::spawn(move || {
            announced.announce();
            rustix::thread::gettid()
        });
        let found = id.get();
        assert_eq!(found, thread.join().unwrap().as_raw_nonzero().get());
        // It is the thread's, whoever announces it again.
        id.announce();
        assert_eq!(id.get(), found);
    }
}
