//! Work on memory by several threads, as one CPU does not saturate it.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use faultvisor_devices::sync::lock;
use rustix::thread::sched_getaffinity;

/// More threads than this are bound by memory bandwidth.
const MOST_THREADS: usize = 16;
const STACK: usize = 64 << 10;

/// The number of threads that share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threads(NonZero<usize>);

impl Threads {
    /// The number of CPUs that this process may use, up to `most`.
    pub fn up_to(most: usize) -> Self {
        // Not the standard library's count: it reads a dozen files of control groups for a quota over periods much
        // longer than this work.
        let processors = sched_getaffinity(None).map_or(1, |set| set.count());
        let processors = usize::try_from(processors).unwrap_or(1);
        let count = processors.min(MOST_THREADS).min(most);
        Self(NonZero::new(count).unwrap_or(NonZero::<usize>::MIN))
    }
}

/// Calls `work` for each number below `pieces`, in threads that take the next number when they are done with one.
///
/// # Errors
///
/// The first error of the work. Pieces in progress are completed, and no others begun.
pub fn for_each<E: Send>(
    threads: Threads,
    pieces: usize,
    work: impl Fn(usize) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let share = || {
        loop {
            let piece = next.fetch_add(1, Ordering::Relaxed);
            if piece >= pieces {
                return;
            }
            if let Err(error) = work(piece) {
                next.store(pieces, Ordering::Relaxed);
                lock(&failure).get_or_insert(error);
                return;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads.0.get().min(pieces) {
            let builder = thread::Builder::new().name("memory".to_owned());
            // If a thread cannot be started, the others do its work.
            let _ = builder.stack_size(STACK).spawn_scoped(scope, share);
        }
        share();
    });
    let failure = lock(&failure).take();
    failure.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    fn threads(count: usize) -> Threads {
        Threads(NonZero::new(count).unwrap())
    }

    #[test]
    fn each_piece_is_done_once() {
        for count in [1, 2, 7] {
            let done: Vec<_> = (0..100).map(|_| AtomicU32::new(0)).collect();
            for_each::<()>(threads(count), done.len(), |piece| {
                done[piece].fetch_add(1, Ordering::Relaxed);
                Ok(())
            })
            .unwrap();
            assert!(done.iter().all(|times| times.load(Ordering::Relaxed) == 1));
        }
        assert_eq!(for_each::<()>(threads(3), 0, |_| Err(())), Ok(()));
    }

    #[test]
    fn after_an_error_nothing_is_begun() {
        let begun = AtomicU32::new(0);
        let result = for_each(threads(1), 1000, |piece| {
            begun.fetch_add(1, Ordering::Relaxed);
            if piece == 3 { Err(piece) } else { Ok(()) }
        });
        assert_eq!(result, Err(3));
        assert_eq!(begun.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn there_is_always_a_thread() {
        assert_eq!(Threads::up_to(0), threads(1));
        assert!(Threads::up_to(usize::MAX).0.get() <= MOST_THREADS);
    }
}
