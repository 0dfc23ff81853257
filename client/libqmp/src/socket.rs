//! The two directions of a connection, each for one thread at a time.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};

use crate::readiness::Flag;

/// How much is read at once.
pub(crate) const CHUNK: usize = 64 * 1024;

/// How often it is read by who does not want to wait.
pub(crate) const MOST_READS: usize = 16;

/// How long something may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    None,
    /// Until then.
    Until(Instant),
    /// For ever.
    Endless,
}

impl Patience {
    /// So long, from now on; for ever if nothing is said.
    pub(crate) fn of(within: Option<Duration>) -> Self {
        // What lies beyond all time is never.
        let deadline = within.map(|within| Instant::now().checked_add(within));
        deadline.flatten().map_or(Self::Endless, Self::Until)
    }

    /// What is left of it; none if it has no end.
    pub(crate) fn left(self) -> Option<Duration> {
        match self {
            Self::None => Some(Duration::ZERO),
            Self::Until(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
            Self::Endless => None,
        }
    }

    /// Whether it is at its end.
    pub(crate) fn is_over(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }
}

/// What a reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// This came, behind what was there.
    Bytes(usize),
    /// Nothing came in time.
    Nothing,
    /// There is something else to look after.
    Interrupted,
    /// The other side has closed.
    End,
}

/// What a waiting came to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Ready,
    InVain,
    Interrupted,
}

/// A socket that bytes stream through.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl Socket {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self(fd)
    }

    pub(crate) fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Reads what comes first, unless it is interrupted.
    pub(crate) fn read(
        &self,
        buffer: &mut [u8; CHUNK],
        patience: Patience,
        interrupt: Option<&Flag>,
    ) -> io::Result<Read> {
        loop {
            let flags = match patience {
                Patience::Endless if interrupt.is_none() => RecvFlags::empty(),
                // What is there is read before any clock is looked at.
                _ => RecvFlags::DONTWAIT,
            };
            match recv(&self.0, &mut buffer[..], flags) {
                Ok((_, 0)) => return Ok(Read::End),
                Ok((_, length)) => return Ok(Read::Bytes(length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if patience.is_over() => return Ok(Read::Nothing),
                Err(Errno::AGAIN) => match self.wait(PollFlags::IN, patience, interrupt)? {
                    Waited::Ready => {}
                    Waited::InVain => return Ok(Read::Nothing),
                    Waited::Interrupted => return Ok(Read::Interrupted),
                },
                // As the end of what came before.
                Err(Errno::CONNRESET) => return Ok(Read::End),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes as much as it can in that time; returns how much.
    pub(crate) fn write(&self, bytes: &[u8], patience: Patience) -> io::Result<usize> {
        let flags = match patience {
            Patience::Endless => SendFlags::NOSIGNAL,
            _ => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        };
        let mut written = 0;
        while written < bytes.len() {
            match send(&self.0, &bytes[written..], flags) {
                Ok(length) => written += length,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    let is_over = patience.is_over();
                    if is_over || self.wait(PollFlags::OUT, patience, None)? == Waited::InVain {
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
        patience: Patience,
        interrupt: Option<&Flag>,
    ) -> io::Result<Waited> {
        // A time that is too long for the kernel is longer than anybody waits.
        let left = patience.left().map(|left| Timespec::try_from(left).ok());
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

    /// Waits until it takes or has bytes. Returns whether it has, or is at its end.
    pub(crate) fn wait_for_either(&self, patience: Patience) -> io::Result<bool> {
        let left = patience.left().map(|left| Timespec::try_from(left).ok());
        let mut socket = [PollFd::new(&self.0, PollFlags::IN | PollFlags::OUT)];
        match poll(&mut socket, left.flatten().as_ref()) {
            Ok(_) => Ok(!socket[0].revents().difference(PollFlags::OUT).is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it takes bytes.
    pub(crate) fn wait_to_write(&self, patience: Patience) -> io::Result<()> {
        self.wait(PollFlags::OUT, patience, None).map(drop)
    }

    /// Ends both directions; who reads or writes in another thread notices.
    pub(crate) fn shut_down(&self) {
        // Fails only where it is at its end already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// A buffer to read into.
    pub(crate) fn buffer() -> Box<[u8; CHUNK]> {
        Box::new([0; CHUNK])
    }
}

/// What has to be sent, in its order, also when it does not go out at once.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    unsent: Vec<u8>,
    /// So much of it is sent all the same.
    sent: usize,
}

impl Outbox {
    /// Sends bytes behind what is not sent yet, as far as that goes without waiting. The rest goes before the next.
    ///
    /// A request is never sent by half and then forgotten: the server could not read anything behind it.
    pub(crate) fn send(&mut self, socket: &Socket, bytes: &[u8]) -> io::Result<()> {
        self.flush(socket)?;
        let mut written = 0;
        if self.is_empty() {
            written = socket.write(bytes, Patience::None)?;
        }
        self.unsent.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Sends what is not sent yet, as far as that goes without waiting.
    pub(crate) fn flush(&mut self, socket: &Socket) -> io::Result<()> {
        if !self.is_empty() {
            self.sent += socket.write(&self.unsent[self.sent..], Patience::None)?;
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
