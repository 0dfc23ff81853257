//! Sending, in order, and without waiting for requests that need no answer.

use std::io;
use std::sync::TryLockError;
use std::time::Duration;

use super::{Core, lock};
use crate::error::Closing;
use crate::socket::{Deadline, Outbox};
use crate::{Direction, Error};

/// How long a writer leaves reading to another thread before it checks again.
const A_MOMENT: Duration = Duration::from_millis(1);

impl Core {
    /// Sends a request.
    pub(super) fn send(&self, request: &str, deadline: Deadline) -> Result<(), Error> {
        let mut outbox = lock(&self.outbox);
        let sent = self.write(&mut outbox, request, deadline);
        drop(outbox);
        self.send_later();
        let Err(error) = sent else { return Ok(()) };
        self.failed_to_send(error);
        match self.lock().routes.ended() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn write(&self, outbox: &mut Outbox, request: &str, deadline: Deadline) -> io::Result<()> {
        if let Some(observer) = &self.observer {
            observer(Direction::Sent, request.trim_ascii_end());
        }
        outbox.send(&self.socket, request.as_bytes())?;
        while !outbox.is_empty() && !deadline.is_over() {
            // A server that sends before it reads on is read, by this thread if no other reads.
            if self.socket.wait_for_either(deadline)? && !self.read_once() {
                let moment = Deadline::of(Some(A_MOMENT));
                self.socket.wait_to_write(moment)?;
            }
            outbox.flush(&self.socket)?;
        }
        Ok(())
    }

    /// Sends requests that no caller waits for, as far as the server takes them, or leaves them to the thread that
    /// holds the outbox.
    pub(super) fn send_later(&self) {
        // A thread that queued something after the last check did not get the outbox, so that another check follows.
        while !lock(&self.later).is_empty() {
            let mut outbox = match self.outbox.try_lock() {
                Ok(outbox) => outbox,
                Err(TryLockError::Poisoned(outbox)) => outbox.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let requests = std::mem::take(&mut *lock(&self.later));
            let mut sent = requests
                .iter()
                .map(|request| self.write(&mut outbox, request, Deadline::Now));
            let sent = sent.find_map(Result::err);
            drop(outbox);
            if let Some(error) = sent {
                self.failed_to_send(error);
            }
        }
    }

    fn failed_to_send(&self, error: io::Error) {
        // A server that closes may have sent something before.
        self.read_what_is_there();
        self.end(Closing::of_writing(error));
    }
}
