//! The main thread's inbox: one queue, so that there is one order.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use faultvisor_devices::block::model::errno::Errno;
use faultvisor_devices::block::model::power_cut::{PowerCut, Then};
use faultvisor_devices::legacy::GuestPanic;
use faultvisor_devices::life_cycle::{Done, Run};
use faultvisor_schema::{MachineCommand, MachineReturn, Reply, ShutdownCause};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use crate::machine::Phase;
use crate::vcpu::{Generation, VcpuExit};

/// Identifies a command that waits for a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(pub u64);

/// One thing for the main thread to do.
#[derive(Debug)]
pub enum Notice {
    /// Every client that the machine waits for has connected.
    PowerOn,
    /// A client's command.
    Command(MachineCommand, Reply<MachineReturn>),
    /// A vCPU cannot continue, or has ended on request.
    Vcpu(Generation, VcpuExit),
    /// The guest has panicked. The vCPU that reported it continues when the sender in this is dropped.
    GuestPanic(GuestPanic, mpsc::Sender<()>),
    /// A disk holds a request because of an error in this run.
    DiskError(Run),
    /// A disk holds a request because of a rule that stops the machine, in this run.
    DiskStop(Run),
    /// A rule has cut a disk's power.
    PowerFailed {
        /// The disk.
        device: String,
        /// How.
        cut: PowerCut,
        /// The machine's action afterwards.
        then: Then,
    },
    /// A phase of a transition has ended.
    PhaseEnded(Phase),
    /// A disk's resize has succeeded or failed.
    DiskResized(Ticket, Result<(), Errno>),
    /// A part of the machine has closed: its thread is about to end, if it has one.
    PartClosed,
    /// The user or the host requests the end of the program.
    End(ShutdownCause),
}

/// The sending side, for any thread. A clone costs no descriptor, so that each operation can hold one for its end.
#[derive(Debug, Clone)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: mpsc::Sender<Notice>,
    wake: EventFd,
}

impl Sender {
    /// Sends a notice. It is dropped once the main thread has ended.
    pub fn send(&self, notice: Notice) {
        let _ = self.shared.queue.send(notice);
        let _ = self.shared.wake.write(1);
    }

    /// A promise to send a notice, kept at the latest when it is dropped.
    pub fn promise(&self, notice: Notice) -> Promise {
        Promise {
            sender: self.clone(),
            notice: Some(notice),
        }
    }
}

/// A notice that is sent exactly once, also when its holder ends without an answer: a thread that ends with requests in
/// its queue blocks no transition.
#[derive(Debug)]
pub struct Promise {
    sender: Sender,
    notice: Option<Notice>,
}

impl Promise {
    /// Sends the notice.
    pub fn keep(self) {}

    /// Shares the promise: the notice is sent when the last share is dropped.
    pub fn shared(self) -> SharedPromise {
        SharedPromise(Arc::new(self))
    }

    /// Sends `notice` in place of the promised one.
    pub fn keep_with(mut self, notice: Notice) {
        self.notice = Some(notice);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(notice) = self.notice.take() {
            self.sender.send(notice);
        }
    }
}

/// A promise with several holders.
#[derive(Debug)]
pub struct SharedPromise(Arc<Promise>);

impl SharedPromise {
    /// A share, released when it is called or dropped.
    pub fn share(&self) -> Done {
        let share = Arc::clone(&self.0);
        Box::new(move || drop(share))
    }
}

/// The receiving side.
#[derive(Debug)]
pub struct Inbox {
    queue: Receiver<Notice>,
    shared: Arc<Shared>,
}

impl Inbox {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// When the host refuses an eventfd.
    pub fn new() -> io::Result<(Self, Sender)> {
        let wake = EventFd::new(EFD_NONBLOCK)?;
        let (sender, queue) = mpsc::channel();
        let shared = Arc::new(Shared {
            queue: sender,
            wake,
        });
        let sender = Sender {
            shared: Arc::clone(&shared),
        };
        Ok((Self { queue, shared }, sender))
    }

    /// Readable while the queue may hold a notice.
    pub fn event(&self) -> &EventFd {
        &self.shared.wake
    }

    /// Clears the event until the next notice is sent. Drain the queue afterwards.
    pub fn clear_event(&self) {
        let _ = self.shared.wake.read();
    }

    /// The next notice, if there is one.
    pub fn next(&self) -> Option<Notice> {
        self.queue.try_recv().ok()
    }

    /// The next notice, or nothing at `deadline`.
    pub fn next_until(&self, deadline: std::time::Instant) -> Option<Notice> {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        self.queue.recv_timeout(left).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(inbox: &Inbox) -> Vec<u64> {
        let phase = |notice| match notice {
            Notice::PhaseEnded(Phase(phase)) => phase,
            other => panic!("{other:?}"),
        };
        std::iter::from_fn(|| inbox.next()).map(phase).collect()
    }

    #[test]
    fn a_cloned_sender_takes_no_descriptor() {
        let (inbox, sender) = Inbox::new().unwrap();
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        let senders: Vec<_> = (0..100).map(|_| sender.clone()).collect();
        assert!(open() < before + senders.len());
        for sender in senders {
            sender.send(Notice::PhaseEnded(Phase(7)));
        }
        assert_eq!(phases(&inbox), [7; 100]);
    }

    #[test]
    fn a_promise_is_kept_once_even_if_nobody_keeps_it() {
        let (inbox, sender) = Inbox::new().unwrap();
        sender.promise(Notice::PhaseEnded(Phase(1))).keep();
        let forgotten = sender.promise(Notice::PhaseEnded(Phase(2)));
        assert_eq!(phases(&inbox), [1]);
        // Like the queue of a thread that has ended.
        drop(forgotten);
        assert_eq!(phases(&inbox), [2]);
        assert!(inbox.event().read().is_ok());
    }
    #[test]
    fn a_shared_promise_is_kept_by_the_last_who_is_done_or_gone() {
        let (inbox, sender) = Inbox::new().unwrap();
        let promise = sender.promise(Notice::PhaseEnded(Phase(3))).shared();
        let (done, gone) = (promise.share(), promise.share());
        drop(promise);
        done();
        assert!(inbox.next().is_none());
        drop(gone);
        assert_eq!(phases(&inbox), [3]);
        drop(sender.promise(Notice::PhaseEnded(Phase(4))).shared());
        assert_eq!(phases(&inbox), [4]);
    }
}
