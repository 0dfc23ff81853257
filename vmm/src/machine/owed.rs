//! Replies that disks' threads hold.
//!
//! A disk's thread answers such a command when it has executed it. A thread that hangs in the host at the end of the
//! program never answers and never drops its reply: the machine then answers with an error.

use std::sync::{Arc, Mutex, Weak};

use faultvisor_devices::sync::lock;
use faultvisor_schema::Reply;

/// The replies that other threads hold. Dropping this drops the unsent ones.
#[derive(Default)]
pub(super) struct Owed(Vec<Weak<dyn Abandon>>);

/// A reply of any type.
trait Abandon: Send + Sync {
    /// Drops the reply, unless it has been sent.
    fn abandon(&self);
}

impl<T: 'static> Abandon for Mutex<Option<Reply<T>>> {
    fn abandon(&self) {
        let reply = lock(self).take();
        drop(reply);
    }
}

impl Owed {
    /// Wraps a reply for another thread. Its answer, or its drop, is that of `reply`.
    pub(super) fn lend<T: 'static>(&mut self, reply: Reply<T>) -> Reply<T> {
        let held = Arc::new(Mutex::new(Some(reply)));
        let weak: Weak<dyn Abandon> = Arc::downgrade(&(Arc::clone(&held) as Arc<dyn Abandon>));
        self.0.retain(|reply| reply.strong_count() > 0);
        self.0.push(weak);
        Reply::new(move |result| {
            let reply = lock(&held).take();
            if let Some(reply) = reply {
                reply.send(result);
            }
        })
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        for reply in self.0.iter().filter_map(Weak::upgrade) {
            reply.abandon();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};

    use faultvisor_schema::CommandError;

    use super::*;

    type Answers = Receiver<Result<u64, CommandError>>;

    fn reply() -> (Reply<u64>, Answers) {
        let (sender, answers) = mpsc::channel();
        (
            Reply::new(move |result| sender.send(result).unwrap()),
            answers,
        )
    }

    #[test]
    fn a_reply_is_answered_by_the_thread_that_has_it() {
        let mut owed = Owed::default();
        let (reply, answers) = reply();
        let lent = owed.lend(reply);
        std::thread::spawn(move || lent.send(Ok(7))).join().unwrap();
        assert_eq!(answers.recv().unwrap(), Ok(7));
        drop(owed);
        assert!(answers.recv().is_err());
    }

    #[test]
    fn a_reply_that_a_thread_drops_is_answered() {
        let mut owed = Owed::default();
        let (reply, answers) = reply();
        drop(owed.lend(reply));
        let error = answers.try_recv().unwrap().unwrap_err();
        assert_eq!(error.desc, "The machine gave no answer");
    }

    #[test]
    fn a_reply_that_hangs_with_its_thread_is_answered_at_the_end() {
        let mut owed = Owed::default();
        let (reply, answers) = reply();
        // Like the reply of a disk whose thread cannot be joined.
        std::mem::forget(owed.lend(reply));
        assert!(answers.try_recv().is_err());
        drop(owed);
        let error = answers.try_recv().unwrap().unwrap_err();
        assert_eq!(error.desc, "The machine gave no answer");
    }

    #[test]
    fn an_answered_reply_is_not_kept() {
        let mut owed = Owed::default();
        for _ in 0..100 {
            let (reply, answers) = reply();
            owed.lend(reply).send(Ok(1));
            assert_eq!(answers.try_recv().unwrap(), Ok(1));
        }
        assert_eq!(owed.0.len(), 1);
    }
}
