//! Standard input as the guest's keyboard.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_devices::legacy::Serial;
use faultvisor_schema::ShutdownCause;
use vmm_sys_util::eventfd::EventFd;

use super::escape::EscapeFilter;
use crate::inbox::{Notice, Sender};

/// Reads standard input while the UART has room for it.
pub(super) struct StandardInput {
    stdin: File,
    serial: Arc<Serial>,
    room: EventFd,
    inbox: Sender,
    escape: EscapeFilter,
    /// Read and not taken by the UART yet.
    pending: Vec<u8>,
    /// Whether the loop watches standard input. A file cannot be watched, and is always ready.
    watched: bool,
    ended: bool,
}

impl StandardInput {
    pub(super) fn new(serial: Arc<Serial>, room: EventFd, inbox: Sender) -> io::Result<Self> {
        let stdin = File::from(rustix::io::dup(rustix::stdio::stdin())?);
        Ok(Self {
            stdin,
            serial,
            room,
            inbox,
            escape: EscapeFilter::default(),
            pending: Vec::new(),
            watched: false,
            ended: false,
        })
    }

    /// Reads once; the loop said that this does not wait.
    fn read(&mut self) {
        let mut buffer = [0; 1024];
        match self.stdin.read(&mut buffer) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                let filtered = self.escape.filter(&buffer[..count]);
                self.pending.extend(filtered.bytes);
                if filtered.quit {
                    self.ended = true;
                    self.inbox.send(Notice::End(ShutdownCause::HostUi));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "standard input");
                self.ended = true;
            }
        }
    }

    /// Gives the UART what it takes. True when it took everything.
    fn deliver(&mut self) -> bool {
        let taken = self.serial.receive(&self.pending);
        self.pending.drain(..taken);
        self.pending.is_empty()
    }

    fn watch(&mut self, ops: &mut EventOps<'_>) {
        let events = Events::new(&self.stdin, EventSet::IN);
        let wanted = !self.ended && self.pending.is_empty();
        let result = match (wanted, self.watched) {
            (true, false) => ops.add(events),
            (false, true) => ops.remove(events),
            _ => return,
        };
        if result.is_ok() {
            self.watched = wanted;
        } else if wanted {
            // A regular file, or /dev/null: reading it never waits.
            while !self.ended && self.deliver() {
                self.read();
            }
        }
    }
}

impl MutEventSubscriber for StandardInput {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::new(&self.room, EventSet::IN)) {
            tracing::error!(%error, "console input");
        }
        self.watch(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        if events.fd() == self.room.as_raw_fd() {
            let _ = self.room.read();
        } else {
            self.read();
        }
        self.deliver();
        self.watch(ops);
    }
}
