//! Bytes of the guest that the host's socket has not taken yet.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;

use vm_memory::{Bytes, GuestMemoryError, GuestMemoryMmap};

use crate::block::model::segment::Segment;

/// A queue of bytes. Its bound is the guest's credit.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// How many of them were written.
    start: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Appends bytes of guest memory.
    ///
    /// # Errors
    ///
    /// When a segment is not guest memory. What was appended before it stays.
    pub(super) fn append(
        &mut self,
        memory: &GuestMemoryMmap,
        segments: impl Iterator<Item = Segment>,
    ) -> Result<(), GuestMemoryError> {
        // Bytes that were written take at most as much memory as those that were not.
        if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        for segment in segments {
            let end = self.bytes.len();
            self.bytes.resize(end + segment.length as usize, 0);
            if let Err(error) = memory.read_slice(&mut self.bytes[end..], segment.address) {
                self.bytes.truncate(end);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Writes as much as the socket takes, and returns how much that was. The socket takes no more now if something is
    /// left.
    ///
    /// # Errors
    ///
    /// When the socket takes nothing any more.
    pub(super) fn write_to(&mut self, mut socket: &UnixStream) -> io::Result<usize> {
        let before = self.start;
        while !self.is_empty() {
            match socket.write(&self.bytes[self.start..]) {
                Ok(count) => self.start += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let written = self.start - before;
        if self.is_empty() {
            *self = Self::default();
        }
        Ok(written)
    }

    /// Drops everything, and returns how much that was.
    pub(super) fn clear(&mut self) -> usize {
        std::mem::take(self).len()
    }
}
