//! A stream of a program's output: its pipe, and what of it is kept.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use faultvisor_agent_protocol::frame::{CHUNK_BYTES, Kind};
use faultvisor_agent_protocol::run::{Lost, Stream};
use rustix::io::{Errno, ioctl_fionread};
use rustix::termios::isatty;

use super::client::{Client, Gone};
use super::ring::Ring;

/// The bytes that wait for a slow client before the program does.
const WAITING_BYTES: u64 = 256 << 10;
/// More than the kernel buffers of a terminal's output, which `FIONREAD` does not count in full.
const TERMINAL_BYTES: u64 = 64 << 10;

/// A stream of a program's output.
#[derive(Debug)]
pub struct Output {
    stream: Stream,
    pipe: Option<OwnedFd>,
    ring: Ring,
    /// The offset of the next byte for the client.
    sent: u64,
    /// After the program's end: the bytes in the pipe that it may have written. Those behind them are discarded.
    left: Option<u64>,
}

impl Output {
    /// The stream at the end of a pipe that does not block.
    pub fn new(stream: Stream, pipe: Option<OwnedFd>, kept: usize) -> Self {
        Self {
            stream,
            pipe,
            ring: Ring::new(kept),
            sent: 0,
            left: None,
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
        !has_client || self.is_discarding() || self.ring.end().saturating_sub(self.sent) < most
    }

    /// Reads once, if there is room.
    pub fn read(&mut self, buffer: &mut [u8], has_client: bool) {
        if !self.has_room(has_client) {
            return;
        }
        let Some(pipe) = &self.pipe else { return };
        let most = match self.left {
            Some(left) if left > 0 => usize::try_from(left).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        let most = most.min(buffer.len());
        match rustix::io::read(pipe, &mut buffer[..most]) {
            Ok(count) if count > 0 && self.is_discarding() => {}
            Ok(count) if count > 0 => {
                self.ring.push(&buffer[..count]);
                if let Some(left) = &mut self.left {
                    *left = left.saturating_sub(u64::try_from(count).unwrap_or(*left));
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => self.left = self.left.map(|_| 0),
            // A terminal ends with an error.
            Ok(_) | Err(_) => self.pipe = None,
        }
    }

    /// What is in the pipe now is the last of the program's: a process that it has left behind may write for ever.
    pub fn program_ended(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let held = if isatty(pipe) {
            TERMINAL_BYTES
        } else {
            // A pipe without a count is read until it is empty.
            ioctl_fionread(pipe).unwrap_or(u64::MAX)
        };
        self.left = Some(held);
    }

    fn is_discarding(&self) -> bool {
        self.left == Some(0)
    }

    /// Whether all that an ended program has written has been read.
    pub fn is_drained(&self) -> bool {
        self.pipe.is_none() || self.is_discarding()
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
        self.left = Some(0);
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

#[cfg(test)]
mod tests {
    use rustix::io::{ioctl_fionbio, write};
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn what_is_written_after_the_programs_end_is_not_its_output() {
        let (reader, writer) = pipe().unwrap();
        ioctl_fionbio(&reader, true).unwrap();
        let mut output = Output::new(Stream::Output, Some(reader), 1 << 20);
        let mut buffer = vec![0; 100];
        write(&writer, &[b'p'; 250]).unwrap();
        output.program_ended();
        // A daemon keeps the pipe full.
        let mut reads = 0;
        while !output.is_drained() {
            write(&writer, &[b'd'; 100]).unwrap();
            output.read(&mut buffer, true);
            reads += 1;
        }
        assert_eq!((reads, output.ring.end()), (3, 250));
        for _ in 0..10 {
            output.read(&mut buffer, true);
        }
        assert_eq!(output.ring.end(), 250);
        assert!(output.is_open());
    }
}
