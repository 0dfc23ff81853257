//! Flow control (virtio 1.3 §5.10.6.3). Counters are modulo 2^32.

use std::num::Wrapping;

/// Most bytes in flight to the guest, however large its buffer: differences of counters stay unambiguous.
const MAX_IN_FLIGHT: u32 = 1 << 30;

/// The guest's credit is a lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CreditLie;

/// What may be sent to the guest.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outgoing {
    /// Bytes sent.
    sent: Wrapping<u32>,
    /// Bytes that have left the guest's buffer.
    forwarded: Wrapping<u32>,
    /// The guest's buffer.
    buffer: u32,
}

impl Outgoing {
    /// Notes what a packet of the guest says about its buffer. Linux may send packets of two processors in another order
    /// than it filled them in: an older counter is ignored.
    ///
    /// # Errors
    ///
    /// [`CreditLie`] for more bytes than were sent.
    pub(super) fn update(&mut self, buffer: u32, forwarded: u32) -> Result<(), CreditLie> {
        let forwarded = Wrapping(forwarded);
        let in_flight = self.sent - self.forwarded;
        let step = forwarded - self.forwarded;
        if step <= in_flight {
            self.forwarded = forwarded;
        } else if step.0 < 1 << 31 {
            return Err(CreditLie);
        }
        self.buffer = buffer.min(MAX_IN_FLIGHT);
        Ok(())
    }

    /// Bytes that may be sent.
    pub(super) fn available(&self) -> u32 {
        self.buffer.saturating_sub((self.sent - self.forwarded).0)
    }

    /// Counts sent bytes, at most the available ones.
    pub(super) fn send(&mut self, bytes: u32) {
        self.sent += bytes;
    }
}

/// What the guest may send.
#[derive(Debug, Clone, Copy)]
pub(super) struct Incoming {
    /// Bytes that the buffer holds.
    buffer: u32,
    /// Bytes received.
    received: Wrapping<u32>,
    /// Bytes that have left the buffer.
    forwarded: Wrapping<u32>,
    /// The last count of them that the guest was told.
    told: Wrapping<u32>,
}

impl Incoming {
    /// An empty buffer of this many bytes.
    pub(super) fn new(buffer: u32) -> Self {
        Self {
            buffer,
            received: Wrapping(0),
            forwarded: Wrapping(0),
            told: Wrapping(0),
        }
    }

    /// Counts received bytes.
    ///
    /// # Errors
    ///
    /// [`CreditLie`] for more than the buffer holds.
    pub(super) fn receive(&mut self, bytes: u32) -> Result<(), CreditLie> {
        let free = self.buffer - (self.received - self.forwarded).0;
        if bytes > free {
            return Err(CreditLie);
        }
        self.received += bytes;
        Ok(())
    }

    /// Counts bytes that left the buffer, at most the received ones.
    pub(super) fn forward(&mut self, bytes: u32) {
        let held = (self.received - self.forwarded).0;
        self.forwarded += bytes.min(held);
    }

    /// The buffer and the counter for a packet to the guest, which then knows them.
    pub(super) fn tell(&mut self) -> (u32, u32) {
        self.told = self.forwarded;
        (self.buffer, self.forwarded.0)
    }

    /// Whether the guest should be told of freed room: it knows of at most half of the buffer, and of too little by an
    /// eighth, or by all that there is.
    pub(super) fn wants_update(&self) -> bool {
        let untold = (self.forwarded - self.told).0;
        let known = self.buffer.saturating_sub((self.received - self.told).0);
        untold > 0
            && known <= self.buffer / 2
            && (untold >= self.buffer / 8 || self.received == self.forwarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_sent_than_the_guest_has_room_for_also_when_counters_wrap() {
        let start = Wrapping(u32::MAX - 10);
        let mut credit = Outgoing {
            sent: start,
            forwarded: start,
            buffer: 0,
        };
        assert_eq!(credit.available(), 0);
        credit.update(100, start.0).unwrap();
        credit.send(60);
        assert_eq!(credit.available(), 40);
        credit.update(100, (start + Wrapping(50)).0).unwrap();
        assert_eq!(credit.available(), 90);
        // The buffer shrinks below what is in flight.
        credit.update(5, (start + Wrapping(50)).0).unwrap();
        assert_eq!(credit.available(), 0);
        // An older packet overtook none.
        credit.update(100, start.0).unwrap();
        assert_eq!(credit.available(), 90);
    }

    #[test]
    fn a_guest_that_has_forwarded_more_than_it_got_lies() {
        let mut credit = Outgoing::default();
        credit.update(100, 0).unwrap();
        credit.send(10);
        assert_eq!(credit.update(100, 11), Err(CreditLie));
        assert_eq!(credit.update(100, (1 << 31) - 1), Err(CreditLie));
        assert_eq!(credit.available(), 90);
        credit.update(u32::MAX, 10).unwrap();
        assert_eq!(credit.available(), MAX_IN_FLIGHT);
    }

    #[test]
    fn the_guest_may_send_what_the_buffer_holds_and_no_byte_more() {
        let mut credit = Incoming::new(100);
        credit.received = Wrapping(u32::MAX - 20);
        (credit.forwarded, credit.told) = (credit.received, credit.received);
        credit.receive(100).unwrap();
        assert_eq!(credit.receive(1), Err(CreditLie));
        credit.forward(30);
        credit.receive(30).unwrap();
        assert_eq!(credit.receive(1), Err(CreditLie));
        assert_eq!(credit.receive(u32::MAX), Err(CreditLie));
        credit.forward(u32::MAX);
        assert_eq!(credit.tell(), (100, credit.received.0));
        credit.receive(100).unwrap();
    }

    #[test]
    fn the_guest_is_told_of_room_before_it_runs_out() {
        let mut credit = Incoming::new(80);
        credit.receive(30).unwrap();
        credit.forward(30);
        // It still knows of more than a half.
        assert!(!credit.wants_update());
        credit.receive(50).unwrap();
        credit.forward(50);
        assert!(credit.wants_update());
        credit.tell();
        assert!(!credit.wants_update());
        // A slow host frees the buffer little by little.
        credit.receive(80).unwrap();
        credit.forward(9);
        assert!(!credit.wants_update());
        credit.forward(1);
        assert!(credit.wants_update());
    }
}
