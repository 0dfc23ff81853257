//! The client of a run: its connection, without waiting.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};

use faultvisor_agent_protocol::failure::Failure;
use faultvisor_agent_protocol::frame::{self, Decoder, FrameError, Kind};
use serde::Serialize;

use crate::agent::Slot;
use crate::connection::Connection;

/// How many bytes of each stream a client has received.
#[derive(Debug, Clone, Copy, Default)]
pub struct Received {
    /// Of stdout.
    pub output: u64,
    /// Of stderr.
    pub errors: u64,
}

/// A connected client.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    _slot: Slot,
    decoder: Decoder,
    outgoing: Vec<u8>,
    written: usize,
    /// Whether it has been told of the program's end.
    pub told_exit: bool,
}

/// The connection is lost, or the client does not speak the protocol.
#[derive(Debug)]
pub struct Gone;

impl Client {
    /// A client of a connection.
    pub fn new(connection: Connection, slot: Slot) -> Self {
        Self {
            connection,
            _slot: slot,
            decoder: Decoder::default(),
            outgoing: Vec::new(),
            written: 0,
            told_exit: false,
        }
    }

    /// Gives the connection back.
    pub fn into_connection(self) -> Connection {
        self.connection
    }

    /// From now on nothing waits for it.
    pub fn set_nonblocking(&self) -> Result<(), Gone> {
        self.connection.set_nonblocking().map_err(|_| Gone)
    }

    /// Whether everything has been written.
    pub fn is_idle(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Queues a message.
    pub fn say(&mut self, kind: Kind, message: &impl Serialize) -> Result<(), Gone> {
        frame::append_message(&mut self.outgoing, kind, message).map_err(|_| Gone)
    }

    /// Queues bytes that `fill` appends, at most those of a chunk.
    pub fn send(
        &mut self,
        kind: Kind,
        bytes: usize,
        fill: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Gone> {
        let header = frame::header(kind, bytes).map_err(|_| Gone)?;
        self.outgoing.extend_from_slice(&header);
        fill(&mut self.outgoing);
        Ok(())
    }

    /// Writes as much as is taken.
    pub fn flush(&mut self) -> Result<(), Gone> {
        while self.written < self.outgoing.len() {
            match self.connection.write(&self.outgoing[self.written..]) {
                Ok(0) => return Err(Gone),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Gone),
            }
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads once.
    pub fn read(&mut self) -> Result<(), Gone> {
        match self.decoder.read_from(&mut self.connection) {
            Ok(0) => Err(Gone),
            Ok(_) => Ok(()),
            Err(error) if is_temporary(error.kind()) => Ok(()),
            Err(_) => Err(Gone),
        }
    }

    /// The next frame that has been read.
    pub fn next_frame(&mut self) -> Result<Option<frame::Frame<'_>>, FrameError> {
        self.decoder.next_frame()
    }

    /// Tells it of a failure, as far as it takes it at once.
    pub fn fail(&mut self, failure: &Failure) {
        if self.say(Kind::Failure, failure).is_ok() {
            let _ = self.flush();
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

fn is_temporary(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
