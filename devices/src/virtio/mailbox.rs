//! Messages to a device's thread.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Sends messages to a device's thread, and wakes it.
#[derive(Debug)]
pub(super) struct Mailbox<M> {
    messages: Sender<M>,
    wake: Arc<EventFd>,
}

/// A new mailbox, and the thread's end of it.
///
/// # Errors
///
/// When the host refuses an eventfd.
pub(super) fn mailbox<M>() -> io::Result<(Mailbox<M>, Receiver<M>)> {
    let (messages, inbox) = mpsc::channel();
    let wake = Arc::new(EventFd::new(EFD_NONBLOCK)?);
    Ok((Mailbox { messages, wake }, inbox))
}

impl<M> Mailbox<M> {
    /// The eventfd that is readable when there are messages.
    pub(super) fn wake(&self) -> &Arc<EventFd> {
        &self.wake
    }

    /// Sends a message. Once the thread has ended, the message and its callback are dropped.
    pub(super) fn send(&self, message: M) {
        let _ = self.messages.send(message);
        let _ = self.wake.write(1);
    }

    /// Sends a message, and waits for its answer. None means that the thread has ended.
    pub(super) fn ask<T>(&self, message: impl FnOnce(Sender<T>) -> M) -> Option<T> {
        let (answer, answered) = mpsc::channel();
        self.send(message(answer));
        answered.recv().ok()
    }
}
