//! A stream of a program's output: its pipe, and what of it is kept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use faultvisor_agent_protocol::frame::{CHUNK_BYTES, Kind};
use faultvisor_agent_protocol::run::{Lost, Stream};
use rustix::io::Errno;

use super::client::{Client, Gone};
use super::ring::Ring;

/// The bytes that wait for a slow client before the program does.
const WAITING_BYTES: u64 = 256 << 10;

/// A stream of a program's output.
#[derive(Debug)]
pub struct Output {
    stream: Stream,
    pipe: Option<OwnedFd>,
    ring: Ring,
    /// The offset of the next byte for the client.
    sent: u64,
    /// Whether it held no more when it was read last, after the program's end.
    is_empty: bool,
    /// Whether what comes now is of no interest.
    is_discarded: bool,
}

impl Output {
    /// The stream at the end of a pipe that does not block.
    pub fn new(stream: Stream, pipe: Option<OwnedFd>, kept: usize) -> Self {
        Self {
            stream,
            pipe,
            ring: Ring::new(kept),
            sent: 0,
            is_empty: false,
            is_discarded: false,
        }
    }

    /// Goes on for a client that has received so many bytes.
    pub fn resume(&mut self, received: u64) {
        self.sent = received.min(self.ring.end());
    }

    /// Its pipe, if there is one and it should be read.
    pub fn wanted(&self, has_client: bool) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref()?;
        self.has_room(has_client).then(|| pipe.as_fd())
    }

    fn has_room(&self, has_client: bool) -> bool {
        let most = WAITING_BYTES.min(u64::try_from(self.ring.bound() / 2).unwrap_or(u64::MAX));
        !has_client || self.is_discarded || self.ring.end().saturating_sub(self.sent) < most
    }

    /// Reads once, if there is room.
    pub fn read(&mut self, buffer: &mut [u8], has_client: bool) {
        if !self.has_room(has_client) {
            return;
        }
        let Some(pipe) = &self.pipe else { return };
        match rustix::io::read(pipe, &mut *buffer) {
            Ok(count) if count > 0 => {
                self.is_empty = false;
                if !self.is_discarded {
                    self.ring.push(&buffer[..count]);
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.is_empty = true,
            // A terminal ends with an error.
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    /// From now on an empty pipe has nothing more of the program's.
    pub fn program_ended(&mut self) {
        self.is_empty = false;
    }

    /// Whether all that an ended program has written has been read.
    pub fn is_drained(&self) -> bool {
        self.pipe.is_none() || self.is_empty
    }

    /// Whether somebody can still write.
    pub fn is_open(&self) -> bool {
        self.pipe.is_some()
    }

    /// Whether the client has everything.
    pub fn is_sent(&self) -> bool {
        self.sent == self.ring.end()
    }

    /// Reads on only so that whoever writes is not stopped.
    pub fn discard(&mut self) {
        self.is_discarded = true;
        self.ring = Ring::new(0);
    }

    /// Queues the next piece for the client.
    pub fn send(&mut self, client: &mut Client) -> Result<(), Gone> {
        if self.sent < self.ring.start() {
            let lost = Lost {
                stream: self.stream,
                bytes: self.ring.start() - self.sent,
            };
            client.say(Kind::Lost, &lost)?;
            self.sent = self.ring.start();
        }
        let waiting = self.ring.end().saturating_sub(self.sent);
        let count = usize::try_from(waiting)
            .unwrap_or(CHUNK_BYTES)
            .min(CHUNK_BYTES);
        if count == 0 {
            return Ok(());
        }
        let kind = match self.stream {
            Stream::Output => Kind::Output,
            Stream::Errors => Kind::Errors,
        };
        let (ring, sent) = (&self.ring, self.sent);
        client.send(kind, count, |bytes| {
            ring.copy(sent, count, bytes);
        })?;
        self.sent = sent.saturating_add(u64::try_from(count).unwrap_or(0));
        Ok(())
    }
}
