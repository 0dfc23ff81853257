//! What the guest's packets say, and what it is sent.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Instant;

use event_manager::EventOps;

use super::super::backlog::Backlog;
use super::super::connection::{Connection, Key, Origin, Verdict};
use super::super::packet::{self, HEADER, HOST_CID, Header, STREAM, operation, shutdown};
use super::super::transfer;
use super::{Next, OutsideMemory, Role, Slot, Table};
use crate::block::model::io_buffers::IoBuffers;
use crate::block::model::segment::Segment;

impl Table {
    /// Whether another packet of the guest may be taken, which may cause a reply.
    pub(in super::super) fn has_room_for_a_reply(&self) -> bool {
        self.replies.len() < self.bounds.replies
    }

    /// Takes a packet of the guest, whose payload is behind the header in these segments.
    ///
    /// # Errors
    ///
    /// [`OutsideMemory`] if that is not guest memory.
    pub(in super::super) fn receive(
        &mut self,
        header: &Header,
        segments: &[Segment],
        ops: &mut EventOps<'_>,
    ) -> Result<(), OutsideMemory> {
        // An address that is not the guest's has nobody to reply to.
        if header.source_cid.get() != self.guest_cid {
            return Ok(());
        }
        let operation = header.operation.get();
        let key = Key {
            host_port: header.destination_port.get(),
            guest_port: header.source_port.get(),
        };
        let is_stream = header.destination_cid.get() == HOST_CID && header.kind.get() == STREAM;
        let known = self.keys.get(&key).copied().filter(|_| is_stream);
        match known {
            Some(index) => return self.receive_on(index, header, segments, ops),
            None if is_stream && operation == operation::REQUEST => {
                self.connect(key, header, ops);
            }
            // A reset is never answered.
            None if operation == operation::RESET => {}
            None => self.replies.push_back(header.refusal()),
        }
        Ok(())
    }

    /// Connects the guest to a listener of the host.
    fn connect(&mut self, key: Key, header: &Header, ops: &mut EventOps<'_>) {
        let connected = (|| {
            if !self.has_driver || !self.may_have_room() {
                return None;
            }
            // First: a refused request costs no client its bytes.
            let socket = self.connector.connect(key.host_port).ok()?;
            let buffer = self.make_room(ops)?;
            let mut connection = Connection::new(key, self.guest_cid, Origin::Guest, buffer);
            connection.greet(header);
            self.insert(socket, Role::Connected(connection, Backlog::default()), ops)
        })();
        match connected {
            Some(index) => {
                self.keys.insert(key, index);
                self.enqueue(index);
            }
            None => {
                self.counters.refused.add(1);
                self.replies.push_back(header.refusal());
            }
        }
    }

    fn receive_on(
        &mut self,
        index: usize,
        header: &Header,
        segments: &[Segment],
        ops: &mut EventOps<'_>,
    ) -> Result<(), OutsideMemory> {
        let Some(Slot {
            role: Role::Connected(connection, backlog),
            socket,
            ..
        }) = self.slot(index)
        else {
            return Ok(());
        };
        match connection.receive(header) {
            Verdict::Continue => {
                if connection.guest_has_sent_all() && backlog.is_empty() {
                    let _ = socket.shutdown(Shutdown::Write);
                }
                if connection.guest_is_deaf() {
                    // The client cannot write any more, and the end of what it has written is not read.
                    let _ = socket.shutdown(Shutdown::Read);
                    connection.shut_down(shutdown::SEND);
                }
                self.enqueue(index);
            }
            Verdict::Accepted => self.accepted(index, ops),
            Verdict::Data(bytes) => return self.deliver(index, bytes, segments),
            Verdict::Finished => {
                // The answer that the guest waits for before it forgets the connection.
                let reset = connection.reset_packet();
                self.replies.push_back(reset);
                self.drain(index, ops);
            }
            Verdict::Reset => {
                if connection.is_requested() {
                    self.counters.refused.add(1);
                } else if !connection.is_closing() {
                    self.counters.resets.add(1);
                }
                self.remove(index, ops);
            }
            Verdict::Violation => self.reset(index, ops),
        }
        Ok(())
    }

    /// Resets a connection on both sides.
    pub(super) fn reset(&mut self, index: usize, ops: &mut EventOps<'_>) {
        if let Some(Slot {
            role: Role::Connected(connection, _),
            ..
        }) = self.slot(index)
        {
            if connection.is_requested() {
                return self.refuse(index, ops);
            }
            self.counters.resets.add(1);
            self.end(index, ops);
        }
    }

    /// Resets a connection whose client was not told that it is connected.
    pub(super) fn refuse(&mut self, index: usize, ops: &mut EventOps<'_>) {
        self.counters.refused.add(1);
        self.end(index, ops);
    }

    fn end(&mut self, index: usize, ops: &mut EventOps<'_>) {
        if let Some(Slot {
            role: Role::Connected(connection, _),
            ..
        }) = self.slot(index)
        {
            let reset = connection.reset_packet();
            self.replies.push_back(reset);
            self.remove(index, ops);
        }
    }

    /// Passes data on to the host's socket: straight from guest memory as far as it takes them, the rest by the
    /// backlog.
    fn deliver(
        &mut self,
        index: usize,
        bytes: u32,
        segments: &[Segment],
    ) -> Result<(), OutsideMemory> {
        self.counters.bytes_from_guest.add(bytes.into());
        let memory = Arc::clone(&self.memory);
        let Some(Slot {
            role: Role::Connected(connection, backlog),
            socket,
            is_writable,
            ..
        }) = self.slot(index)
        else {
            return Ok(());
        };
        let payload = |from: u64| {
            let left = u64::from(bytes).saturating_sub(from);
            packet::cut(segments, HEADER as u64 + from, left)
        };
        let mut taken = 0;
        if connection.host_receives() && *is_writable && backlog.is_empty() {
            let buffers = IoBuffers::new(&memory, payload(0)).map_err(|_| OutsideMemory)?;
            let mut rest = buffers;
            while rest.length() > 0 {
                match transfer::send(socket, &rest) {
                    Ok(count) => {
                        taken += count as u64;
                        rest = rest.after(count);
                    }
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        *is_writable = false;
                        break;
                    }
                    Err(_) => {
                        connection.shut_down(shutdown::RECEIVE);
                        break;
                    }
                }
            }
        }
        if connection.host_receives() {
            backlog
                .append(&memory, payload(taken))
                .map_err(|_| OutsideMemory)?;
            connection.forward(usize::try_from(taken).unwrap_or(usize::MAX));
        } else {
            connection.forward(bytes as usize);
        }
        self.enqueue(index);
        Ok(())
    }

    /// Whether there may be something for the guest.
    pub(in super::super) fn wants_to_send(&self) -> bool {
        !self.replies.is_empty() || !self.ready.is_empty()
    }

    /// The next packet for the guest. Connections have one each in turn.
    pub(in super::super) fn next(&mut self, now: Instant) -> Next {
        if let Some(reply) = self.replies.pop_front() {
            return Next::Packet(reply);
        }
        while let Some(index) = self.ready.pop_front() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            slot.is_ready = false;
            let is_readable = slot.is_readable;
            let Role::Connected(connection, _) = &mut slot.role else {
                continue;
            };
            let was_closing = connection.is_closing();
            if let Some(header) = connection.next_packet() {
                let begins_closing = connection.is_closing() && !was_closing;
                if begins_closing {
                    self.set_deadline(index, Some(now + self.bounds.closing));
                }
                self.enqueue(index);
                return Next::Packet(header);
            }
            let limit = if is_readable {
                connection.sendable()
            } else {
                0
            };
            if limit > 0 {
                return Next::Data { slot: index, limit };
            }
            // It may have to ask for credit.
            self.enqueue(index);
        }
        Next::Nothing
    }

    /// Reads from a connection's socket into guest memory, no more than its limit. Zero if nothing came.
    pub(in super::super) fn read(
        &mut self,
        index: usize,
        buffers: &IoBuffers,
        ops: &mut EventOps<'_>,
    ) -> usize {
        let Some(slot) = self.slot(index) else {
            return 0;
        };
        let Role::Connected(connection, _) = &mut slot.role else {
            return 0;
        };
        match transfer::receive(&slot.socket, buffers) {
            Ok(0) => connection.shut_down(shutdown::SEND),
            Ok(bytes) => return bytes,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => slot.is_readable = false,
            // The client has closed its socket with bytes unread.
            Err(_) => {
                self.reset(index, ops);
                return 0;
            }
        }
        self.enqueue(index);
        0
    }

    /// The header of a packet with bytes that were read. None if the connection is gone.
    pub(in super::super) fn data_packet(
        &mut self,
        index: usize,
        bytes: u32,
        now: Instant,
    ) -> Option<Header> {
        self.counters.bytes_to_guest.add(bytes.into());
        let slot = self.slot(index)?;
        let Role::Connected(connection, _) = &mut slot.role else {
            return None;
        };
        let header = connection.data_packet(bytes);
        // A slow guest gets the last bytes of a client that has left, as long as it takes some.
        if slot.deadline.is_some() {
            self.set_deadline(index, Some(now + self.bounds.closing));
        }
        Some(header)
    }

    /// Ends a connection's turn.
    pub(in super::super) fn end_turn(&mut self, index: usize) {
        self.enqueue(index);
    }
}
