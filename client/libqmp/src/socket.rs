//! The two directions of a connection, each for one thread at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::readiness::Flag;

/// The size of a read.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The number of reads of a caller that does not wait.
pub(crate) const MOST_READS: usize = 16;

/// The limit of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadline {
    /// No wait.
    Now,
    /// Until then.
    At(Instant),
    /// No limit.
    Never,
}

impl Deadline {
    /// This long from now; without a limit if none is given.
    pub(crate) fn of(within: Option<Duration>) -> Self {
        // A time beyond the clock's range never comes.
        let deadline = within.map(|within| Instant::now().checked_add(within));
        deadline.flatten().map_or(Self::Never, Self::At)
    }

    /// The time left; `None` without a limit.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Self::Now => Some(Duration::ZERO),
            Self::At(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            Self::Never => None,
        }
    }

    /// Whether it has passed.
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// The result of a read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// Bytes were appended.
    Bytes(usize),
    /// Nothing arrived in time.
    Nothing,
    /// There is other work.
    Interrupted,
    /// The other side has closed.
    End,
}

/// The result of a wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Ready,
    InVain,
    Interrupted,
}

/// A stream socket.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads the next bytes, unless it is interrupted.
    pub(crate) fn read(
        &self,
        buffer: &mut [u8; CHUNK],
        deadline: Deadline,
        interrupt: Option<&Flag>,
    ) -> io::Result<Read> {
        loop {
            let flags = match deadline {
                Deadline::Never if interrupt.is_none() => RecvFlags::empty(),
                // Available bytes are read without looking at a clock.
                _ => RecvFlags::DONTWAIT,
            };
            match recv(&self.0, &mut buffer[..], flags) {
                Ok((_, 0)) => return Ok(Read::End),
                Ok((_, length)) => return Ok(Read::Bytes(length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if deadline.is_over() => return Ok(Read::Nothing),
                Err(Errno::AGAIN) => match self.wait(PollFlags::IN, deadline, interrupt)? {
                    Waited::Ready => {}
                    Waited::InVain => return Ok(Read::Nothing),
                    Waited::Interrupted => return Ok(Read::Interrupted),
                },
                // At the end, after what came before.
                Err(Errno::CONNRESET) => return Ok(Read::End),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes as much as possible within the limit; returns how much.
    pub(crate) fn write(&self, bytes: &[u8], deadline: Deadline) -> io::Result<usize> {
        let flags = match deadline {
            Deadline::Never => SendFlags::NOSIGNAL,
            _ => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        };
        let mut written = 0;
        while written < bytes.len() {
            match send(&self.0, &bytes[written..], flags) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let is_over = deadline.is_over();
                    if is_over || self.wait(PollFlags::OUT, deadline, None)? == Waited::InVain {
                        break;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    fn wait(
        &self,
        what: PollFlags,
        deadline: Deadline,
        interrupt: Option<&Flag>,
    ) -> io::Result<Waited> {
        // A limit beyond the kernel's range is no limit.
        let left = deadline.left().map(|left| Timespec::try_from(left).ok());
        let socket = PollFd::new(&self.0, what);
        let flag = interrupt.map(Flag::as_fd);
        let ready = match &flag {
            None => poll(&mut [socket], left.flatten().as_ref()),
            Some(flag) => {
                let mut fds = [socket, PollFd::new(flag, PollFlags::IN)];
                let ready = poll(&mut fds, left.flatten().as_ref());
                if !fds[1].revents().is_empty()
                    && let Some(interrupt) = interrupt
                {
                    interrupt.clear();
                    return Ok(Waited::Interrupted);
                }
                ready
            }
        };
        match ready {
            Ok(0) => Ok(Waited::InVain),
            Ok(_) | Err(Errno::INTR) => Ok(Waited::Ready),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it is ready. Returns whether it is, or has ended.
    pub(crate) fn wait_for_either(&self, deadline: Deadline) -> io::Result<bool> {
        let left = deadline.left().map(|left| Timespec::try_from(left).ok());
        let mut socket = [PollFd::new(&self.0, PollFlags::IN | PollFlags::OUT)];
        match poll(&mut socket, left.flatten().as_ref()) {
            Ok(_) => Ok(!socket[0].revents().difference(PollFlags::OUT).is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it takes bytes.
    pub(crate) fn wait_to_write(&self, deadline: Deadline) -> io::Result<()> {
        self.wait(PollFlags::OUT, deadline, None).map(drop)
    }

    /// Shuts down both directions; threads that read or write notice.
    pub(crate) fn shut_down(&self) {
        // It fails only if it has ended already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// A buffer for reads.
    pub(crate) fn buffer() -> Box<[u8; CHUNK]> {
        Box::new([0; CHUNK])
    }
}

/// Requests to be sent, in order, also if they cannot be sent at once.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    unsent: Vec<u8>,
    /// The part of the first that has been sent.
    sent: usize,
}

impl Outbox {
    /// Appends bytes, and sends what can be sent without waiting. The rest is sent before the next.
    ///
    /// A request is never left half sent: the server could not read what follows it.
    pub(crate) fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        self.flush(socket)?;
        let mut written = 0;
        if self.is_empty() {
            written = socket.write(bytes, Deadline::Now)?;
        }
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Sends what can be sent without waiting.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        if !self.is_empty() {
            self.sent += socket.write(&self.unsent[self.sent..], Deadline::Now)?;
        }
        if self.is_empty() {
            self.unsent.clear();
            self.sent = 0;
        }
        Ok(())
    }

    /// Whether everything is sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent == self.unsent.len()
    }
}
