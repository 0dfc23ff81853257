//! A connection's protocol as plain data: what the guest's packets mean, and what it is to be told. Sockets and guest
//! memory are the table's business.
//!
//! ```text
//!   host connects ──▶ requested ──RESPONSE──▶ established ──both directions shut down──▶ closing
//!   guest's REQUEST ───────(RESPONSE)───────▶     │                 (8 s, then RST)        │
//!                                                 └──── RST either way, guest's SHUTDOWN ──┴──▶ gone
//! ```

use super::credit::{CreditLie, Incoming, Outgoing};
use super::packet::{HOST_CID, Header, STREAM, operation, shutdown};

/// Identifies a connection: the host's port and the guest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub host_port: u32,
    pub guest_port: u32,
}

/// Who began a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A client on the host; the guest is to be asked.
    Host,
    /// The guest; it is to be answered.
    Guest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The guest has not answered yet.
    Requested,
    Established,
}

/// What the guest is to be told, besides data.
#[derive(Debug, Clone, Copy, Default)]
struct Owed {
    request: bool,
    response: bool,
    credit_update: bool,
    credit_request: bool,
    /// Flags of `SHUTDOWN` that it was not told yet.
    shutdown: u32,
}

/// The consequence of a packet of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// None, but for what [`Connection::wants_to_send`] and the shutdown flags say.
    Continue,
    /// The guest has accepted the connection.
    Accepted,
    /// So many bytes of payload belong to the stream.
    Data(u32),
    /// The guest has closed its socket: it expects a reset, and the bytes that it has sent are still to be delivered.
    Finished,
    /// The guest has reset the connection.
    Reset,
    /// The packet breaks the protocol: both sides are reset.
    Violation,
}

/// A stream between a socket on the host and one in the guest.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    key: Key,
    guest_cid: u64,
    phase: Phase,
    outgoing: Outgoing,
    incoming: Incoming,
    owed: Owed,
    /// What the guest's side does no longer, as `SHUTDOWN` has it.
    guest_shutdown: u32,
    /// What the host's side does no longer, told or owed.
    host_shutdown: u32,
    /// The guest was asked for credit, and has said nothing since.
    has_asked: bool,
}

impl Connection {
    /// A new connection with a buffer of this many bytes for what the guest sends.
    pub(super) fn new(key: Key, guest_cid: u64, origin: Origin, buffer: u32) -> Self {
        Self {
            key,
            guest_cid,
            phase: match origin {
                Origin::Host => Phase::Requested,
                Origin::Guest => Phase::Established,
            },
            outgoing: Outgoing::default(),
            incoming: Incoming::new(buffer),
            owed: Owed {
                request: origin == Origin::Host,
                response: origin == Origin::Guest,
                ..Owed::default()
            },
            guest_shutdown: 0,
            host_shutdown: 0,
            has_asked: false,
        }
    }

    pub(super) fn key(&self) -> Key {
        self.key
    }

    /// Takes note of a packet of the guest.
    pub(super) fn receive(&mut self, header: &Header) -> Verdict {
        let operation = header.operation.get();
        if operation == operation::RESET {
            return Verdict::Reset;
        }
        if self.note_credit(header).is_err() {
            return Verdict::Violation;
        }
        match (self.phase, operation) {
            (Phase::Requested, operation::RESPONSE) => {
                self.phase = Phase::Established;
                Verdict::Accepted
            }
            (Phase::Established, operation::DATA) => self.receive_data(header.length.get()),
            (Phase::Established, operation::CREDIT_UPDATE) => Verdict::Continue,
            (Phase::Established, operation::CREDIT_REQUEST) => {
                self.owed.credit_update = true;
                Verdict::Continue
            }
            (Phase::Established, operation::SHUTDOWN) => {
                self.guest_shutdown |= header.flags.get() & shutdown::BOTH;
                match self.guest_shutdown {
                    shutdown::BOTH => Verdict::Finished,
                    _ => Verdict::Continue,
                }
            }
            _ => Verdict::Violation,
        }
    }

    fn note_credit(&mut self, header: &Header) -> Result<(), CreditLie> {
        let before = self.outgoing.available();
        self.outgoing
            .update(header.buffer.get(), header.forwarded.get())?;
        if self.outgoing.available() > before {
            self.has_asked = false;
        }
        Ok(())
    }

    fn receive_data(&mut self, bytes: u32) -> Verdict {
        if self.guest_shutdown & shutdown::SEND != 0 || self.incoming.receive(bytes).is_err() {
            return Verdict::Violation;
        }
        Verdict::Data(bytes)
    }

    /// Counts bytes of the guest that the host's socket took, or that nobody will take.
    pub(super) fn forward(&mut self, bytes: usize) {
        self.incoming
            .forward(u32::try_from(bytes).unwrap_or(u32::MAX));
        if self.incoming.wants_update() {
            self.owed.credit_update = true;
        }
    }

    /// Notes what the host's side does no longer. It has been read to its end where that is to send.
    pub(super) fn shut_down(&mut self, flags: u32) {
        self.owed.shutdown |= flags & !self.host_shutdown;
        self.host_shutdown |= flags;
    }

    /// Whether the host's side takes bytes of the guest.
    pub(super) fn host_receives(&self) -> bool {
        self.host_shutdown & shutdown::RECEIVE == 0
    }

    /// Whether the guest has said that it sends nothing more.
    pub(super) fn guest_has_sent_all(&self) -> bool {
        self.guest_shutdown & shutdown::SEND != 0
    }

    /// Whether the guest has said that it takes nothing more.
    pub(super) fn guest_is_deaf(&self) -> bool {
        self.guest_shutdown & shutdown::RECEIVE != 0
    }

    /// Whether the guest was told that both directions have ended, and is to reset the connection now.
    pub(super) fn is_closing(&self) -> bool {
        self.host_shutdown == shutdown::BOTH && self.owed.shutdown == 0
    }

    /// Whether the guest has not answered the request yet.
    pub(super) fn is_requested(&self) -> bool {
        self.phase == Phase::Requested
    }

    /// Takes note of the guest's request, which tells of its buffer.
    pub(super) fn greet(&mut self, request: &Header) {
        // Nothing was sent: a guest that has forwarded something starts with no credit.
        let _ = self.note_credit(request);
    }

    /// Whether the guest was asked to accept the connection, or knows of it by itself.
    pub(super) fn is_known_to_the_guest(&self) -> bool {
        !self.owed.request
    }

    /// Whether bytes of the host's socket may be read for the guest.
    fn may_send_data(&self) -> bool {
        self.phase == Phase::Established
            && self.host_shutdown & shutdown::SEND == 0
            && !self.guest_is_deaf()
    }

    /// Whether the guest is to be sent a packet, if the host's socket may have bytes or not.
    pub(super) fn wants_to_send(&self, is_readable: bool) -> bool {
        let Owed {
            request,
            response,
            credit_update,
            credit_request,
            shutdown,
        } = self.owed;
        request
            || response
            || credit_update
            || credit_request
            || shutdown != 0
            || is_readable
                && self.may_send_data()
                && (self.outgoing.available() > 0 || !self.has_asked)
    }

    /// The next packet without data, if one is owed. `SHUTDOWN` is the last: data read before it has been sent.
    pub(super) fn next_packet(&mut self) -> Option<Header> {
        let owed = &mut self.owed;
        let (operation, flags) = if std::mem::take(&mut owed.request) {
            (operation::REQUEST, 0)
        } else if std::mem::take(&mut owed.response) {
            (operation::RESPONSE, 0)
        } else if std::mem::take(&mut owed.credit_update) {
            (operation::CREDIT_UPDATE, 0)
        } else if std::mem::take(&mut owed.credit_request) {
            (operation::CREDIT_REQUEST, 0)
        } else if owed.shutdown != 0 {
            // All flags, as Linux sends them.
            owed.shutdown = 0;
            (operation::SHUTDOWN, self.host_shutdown)
        } else {
            return None;
        };
        Some(self.header(operation, flags, 0))
    }

    /// Bytes that may be read from the host's socket and sent. Without credit the guest is asked for it, once.
    pub(super) fn sendable(&mut self) -> u32 {
        if !self.may_send_data() {
            return 0;
        }
        let available = self.outgoing.available();
        if available == 0 && !self.has_asked {
            self.has_asked = true;
            self.owed.credit_request = true;
        }
        available
    }

    /// The header of a packet with so many bytes, at most the sendable ones.
    pub(super) fn data_packet(&mut self, bytes: u32) -> Header {
        self.outgoing.send(bytes);
        self.header(operation::DATA, 0, bytes)
    }

    /// The packet that ends the connection at once.
    pub(super) fn reset_packet(&mut self) -> Header {
        self.header(operation::RESET, 0, 0)
    }

    fn header(&mut self, operation: u16, flags: u32, length: u32) -> Header {
        let (buffer, forwarded) = self.incoming.tell();
        // Every packet tells of freed room.
        self.owed.credit_update = false;
        Header {
            source_cid: HOST_CID.into(),
            destination_cid: self.guest_cid.into(),
            source_port: self.key.host_port.into(),
            destination_port: self.key.guest_port.into(),
            length: length.into(),
            kind: STREAM.into(),
            operation: operation.into(),
            flags: flags.into(),
            buffer: buffer.into(),
            forwarded: forwarded.into(),
        }
    }
}
