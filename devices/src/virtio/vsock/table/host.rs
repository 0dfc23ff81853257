//! What the sockets of the host are ready for.

use std::net::Shutdown;
use std::time::Instant;

use event_manager::{EventOps, EventSet};

use super::super::backlog::Backlog;
use super::super::connection::{Connection, Key, Origin};
use super::super::handshake::Progress;
use super::super::packet::shutdown;
use super::{Role, Slot, Table};

impl Table {
    /// Notes what a socket is ready for, and uses it.
    pub(in super::super) fn socket_event(
        &mut self,
        index: usize,
        events: EventSet,
        now: Instant,
        ops: &mut EventOps<'_>,
    ) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        let hung_up = EventSet::HANG_UP | EventSet::ERROR;
        let is_gone = events.intersects(hung_up);
        slot.is_readable |= is_gone || events.intersects(EventSet::IN | EventSet::READ_HANG_UP);
        slot.is_writable |= is_gone || events.contains(EventSet::OUT);
        match &mut slot.role {
            Role::Handshake(_) => self.read_line(index, now, ops),
            Role::Connected(connection, _) if is_gone && connection.is_requested() => {
                self.give_up(index, ops);
            }
            Role::Connected(connection, _) => {
                if is_gone {
                    // Nobody receives; the rest of what was sent is still to be read.
                    connection.shut_down(shutdown::RECEIVE);
                    if slot.deadline.is_none() {
                        self.set_deadline(index, Some(now + self.bounds.closing));
                    }
                }
                self.flush(index, ops);
            }
            Role::Draining(_) => self.flush(index, ops),
        }
    }

    pub(super) fn read_line(&mut self, index: usize, now: Instant, ops: &mut EventOps<'_>) {
        let Some(Slot {
            role: Role::Handshake(handshake),
            socket,
            ..
        }) = self.slot(index)
        else {
            return;
        };
        match handshake.read(socket) {
            Ok(Progress::Waiting) => {}
            Ok(Progress::Port(port)) => self.request(index, port, now, ops),
            Ok(Progress::Refused) | Err(_) => {
                self.counters.refused.add(1);
                self.remove(index, ops);
            }
        }
    }

    /// Connects a client whose line is read to a port of the guest.
    fn request(&mut self, index: usize, guest_port: u32, now: Instant, ops: &mut EventOps<'_>) {
        let buffer = match self.has_driver {
            true => self.make_room(ops),
            false => None,
        };
        let Some(buffer) = buffer else {
            self.counters.refused.add(1);
            return self.remove(index, ops);
        };
        // There are more ports than connections.
        let key = loop {
            let host_port = self.next_port;
            self.set_next_port(host_port.wrapping_add(1));
            let key = Key {
                host_port,
                guest_port,
            };
            if !self.keys.contains_key(&key) {
                break key;
            }
        };
        let connection = Connection::new(key, self.guest_cid, Origin::Host, buffer);
        let Some(slot) = self.slot(index) else {
            return;
        };
        slot.role = Role::Connected(connection, Backlog::default());
        self.handshakes -= 1;
        self.keys.insert(key, index);
        self.count();
        self.set_deadline(index, Some(now + self.bounds.opening));
        self.enqueue(index);
    }

    /// Writes held bytes to a socket, and applies what follows from that.
    fn flush(&mut self, index: usize, ops: &mut EventOps<'_>) {
        let Some(slot) = self.slot(index) else {
            return;
        };
        match &mut slot.role {
            Role::Handshake(_) => {}
            Role::Draining(backlog) => {
                let is_over = backlog.write_to(&slot.socket).is_err() || backlog.is_empty();
                if is_over {
                    self.remove(index, ops);
                }
            }
            Role::Connected(connection, backlog) => {
                let written = match connection.host_receives() {
                    true if slot.is_writable => backlog.write_to(&slot.socket),
                    true => Ok(0),
                    false => Ok(backlog.clear()),
                };
                match written {
                    Ok(bytes) => connection.forward(bytes),
                    Err(_) => {
                        connection.shut_down(shutdown::RECEIVE);
                        connection.forward(backlog.clear());
                    }
                }
                slot.is_writable = backlog.is_empty();
                if connection.guest_has_sent_all() && backlog.is_empty() {
                    let _ = slot.socket.shutdown(Shutdown::Write);
                }
                self.enqueue(index);
            }
        }
    }

    /// Tells a client that it is connected, by the line that it waits for.
    pub(super) fn accepted(&mut self, index: usize, ops: &mut EventOps<'_>) {
        self.set_deadline(index, None);
        let Some(Slot {
            role: Role::Connected(connection, _),
            socket,
            ..
        }) = self.slot(index)
        else {
            return;
        };
        let line = format!("OK {}\n", connection.key().host_port);
        // Nothing was written before: a socket that does not take it takes nothing.
        let written = std::io::Write::write(&mut &*socket, line.as_bytes());
        match written {
            Ok(count) if count == line.len() => self.enqueue(index),
            _ => self.refuse(index, ops),
        }
    }
}
