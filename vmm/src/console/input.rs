//! Standard input as the guest's keyboard.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::sync::Arc;

use event_manager::{EventOps, EventSet, Events, MutEventSubscriber};
use faultvisor_devices::legacy::Serial;
use faultvisor_schema::ShutdownCause;
use vmm_sys_util::errno::Error as Errno;
use vmm_sys_util::eventfd::EventFd;

use super::escape::EscapeFilter;
use super::retry::Retry;
use crate::inbox::{Notice, Sender};

/// Reads standard input while the UART has room for it.
pub(super) struct StandardInput {
    stdin: File,
    serial: Arc<Serial>,
    room: EventFd,
    inbox: Sender,
    escape: EscapeFilter,
    /// Read, and not yet taken by the UART.
    pending: Vec<u8>,
    /// Whether the loop watches standard input. A file cannot be watched, and is always ready.
    is_watched: bool,
    /// The pause after a transient error.
    retry: Retry,
    /// That error, so that it is logged once.
    trouble: Option<ErrorKind>,
    has_ended: bool,
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Bytes or the end: another read may follow.
    Done,
    /// Nothing at the moment.
    Nothing,
}

impl StandardInput {
    pub(super) fn new(serial: Arc<Serial>, room: EventFd, inbox: Sender) -> io::Result<Self> {
        let stdin = File::from(rustix::io::dup(rustix::stdio::stdin())?);
        Self::of(stdin, serial, room, inbox)
    }

    fn of(stdin: File, serial: Arc<Serial>, room: EventFd, inbox: Sender) -> io::Result<Self> {
        Ok(Self {
            stdin,
            serial,
            room,
            inbox,
            escape: EscapeFilter::default(),
            pending: Vec::new(),
            is_watched: false,
            retry: Retry::new()?,
            trouble: None,
            has_ended: false,
        })
    }

    /// Reads once; the loop has reported readiness, so that this does not block.
    fn read(&mut self) -> Outcome {
        let mut buffer = [0; 1024];
        let count = match self.stdin.read(&mut buffer) {
            Ok(count) => count,
            Err(error) => return self.failed(&error),
        };
        self.trouble = None;
        if count == 0 {
            self.has_ended = true;
        }
        let filtered = self.escape.filter(&buffer[..count]);
        self.pending.extend(filtered.bytes);
        if filtered.quit {
            self.has_ended = true;
            self.inbox.send(Notice::End(ShutdownCause::HostUi));
        }
        Outcome::Done
    }

    fn failed(&mut self, error: &io::Error) -> Outcome {
        match error.raw_os_error() {
            // Another process with the same open file was faster.
            Some(libc::EAGAIN | libc::EINTR) => {}
            // A terminal returns EIO to a background program that ignores SIGTTIN.
            Some(libc::EIO | libc::ENOMEM | libc::ENOBUFS) => {
                if self.trouble.replace(error.kind()) != Some(error.kind()) {
                    tracing::warn!(%error, "standard input, which is tried again every second");
                }
                self.retry.pause();
            }
            _ => {
                tracing::warn!(%error, "standard input");
                self.has_ended = true;
            }
        }
        Outcome::Nothing
    }

    /// Passes input to the UART. True if it took everything.
    fn deliver(&mut self) -> bool {
        let taken = self.serial.receive(&self.pending);
        self.pending.drain(..taken);
        self.pending.is_empty()
    }

    fn watch(&mut self, ops: &mut EventOps<'_>) {
        let events = Events::new(&self.stdin, EventSet::IN);
        let is_wanted = !self.has_ended && self.pending.is_empty() && !self.retry.is_pausing();
        let result = match (is_wanted, self.is_watched) {
            (true, false) => ops.add(events),
            (false, true) => ops.remove(events),
            _ => return,
        };
        match result {
            Ok(()) => self.is_watched = is_wanted,
            Err(_) if !is_wanted => {}
            // A regular file, or /dev/null: reads never block.
            Err(event_manager::Error::Epoll(error)) if error == Errno::new(libc::EPERM) => {
                while !self.has_ended && self.deliver() && self.read() == Outcome::Done {}
            }
            Err(error) => {
                tracing::warn!(%error, "standard input cannot be watched, which is tried again");
                self.retry.pause();
            }
        }
    }
}

impl MutEventSubscriber for StandardInput {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        if let Err(error) = ops.add(Events::new(&self.room, EventSet::IN)) {
            tracing::error!(%error, "console input");
        }
        self.retry.watch(ops);
        self.watch(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        if events.fd() == self.room.as_raw_fd() {
            let _ = self.room.read();
        } else if !self.retry.has_ended(&events) {
            self.read();
        }
        self.deliver();
        self.watch(ops);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    use faultvisor_devices::console::ConsoleOutput;
    use vmm_sys_util::eventfd::EFD_NONBLOCK;

    use super::*;
    use crate::inbox::Inbox;

    fn input(stdin: File) -> StandardInput {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let (_, sender) = Inbox::new().unwrap();
        let room = event();
        let serial = Serial::new(
            Arc::new(event()),
            ConsoleOutput::null(),
            room.try_clone().unwrap(),
        );
        StandardInput::of(stdin, Arc::new(serial), room, sender).unwrap()
    }

    #[test]
    fn input_that_has_nothing_for_the_moment_has_not_ended() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut input = input(File::from(OwnedFd::from(reader)));
        assert_eq!(input.read(), Outcome::Nothing);
        assert!(!input.has_ended && !input.retry.is_pausing());
        writer.write_all(b"keys").unwrap();
        assert_eq!(input.read(), Outcome::Done);
        assert_eq!(input.pending, b"keys");
        drop(writer);
        assert_eq!(input.read(), Outcome::Done);
        assert!(input.has_ended);
    }

    #[test]
    fn an_error_that_passes_is_tried_again_later_and_another_ends_the_input() {
        let (reader, _writer) = std::io::pipe().unwrap();
        let mut input = input(File::from(OwnedFd::from(reader)));
        input.failed(&io::Error::from_raw_os_error(libc::EIO));
        assert!(!input.has_ended && input.retry.is_pausing());
        input.failed(&io::Error::from_raw_os_error(libc::EISDIR));
        assert!(input.has_ended);
    }
}
