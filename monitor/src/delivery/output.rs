//! A session's output: bounded for events, with a notice of those that did not fit.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::rc::Rc;

use faultvisor_schema::{EventsLost, Notice, SignalName};

use crate::budget::{Budget, Charge};
use crate::delivery::rendering::Rendering;
use crate::identity::Handle;
use crate::transport::stream::comes_to_nothing;
use crate::wire::event::EncodedEvent;

/// The number of pieces in one write.
const PIECES_PER_WRITE: usize = 64;

/// The cost of a piece beside its bytes: its place in the queue, its counts, and the allocator's overhead.
const PIECE_COST: usize = 48;

/// A session's output. Answers always fit: a session with too many of them is not read from.
#[derive(Debug)]
pub(crate) struct Output {
    pieces: VecDeque<Rc<[u8]>>,
    /// The bytes of the first piece that have been sent.
    sent: usize,
    /// The bytes left to send.
    bytes: usize,
    limit: usize,
    /// The pieces' share of the memory for all outputs.
    charge: Charge,
    /// The lost events, in the order in which each kind began not to fit.
    lost: BTreeMap<u64, Lost>,
    /// The position of each kind in it.
    places: HashMap<Kind, u64>,
    next_place: u64,
    /// The bytes left to send when the first notice did not fit: until they are fewer, it will not fit again.
    blocked_at: Option<usize>,
    /// Whether the client no longer reads.
    abandoned: bool,
}

/// The events of one notice: those of a connection, or default events.
type Kind = (Option<Handle>, SignalName);

#[derive(Debug)]
struct Lost {
    kind: Kind,
    rendering: Rc<Rendering>,
    count: u64,
}

impl Output {
    pub(crate) fn new(limit: usize, budget: &Rc<Budget>) -> Self {
        Self {
            pieces: VecDeque::new(),
            sent: 0,
            bytes: 0,
            limit,
            charge: Charge::new(budget),
            lost: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            blocked_at: None,
            abandoned: false,
        }
    }

    /// Drops present and future output, as the client no longer reads.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.pieces = VecDeque::new();
        self.charge.give_back(usize::MAX);
        (self.sent, self.bytes) = (0, 0);
        self.lost = BTreeMap::new();
        self.places = HashMap::new();
        self.blocked_at = None;
    }

    /// Whether the client no longer reads.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.lost.is_empty()
    }

    /// Whether there is so much to send that nothing should be done that adds to it.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.limit || !self.charge.allows(0)
    }

    /// Adds an answer.
    pub(crate) fn answer(&mut self, line: Vec<u8>) {
        self.tell_lost();
        self.push(line.into());
    }

    /// Adds an event, or counts it as lost.
    pub(crate) fn event(
        &mut self,
        connection: Option<Handle>,
        signal: SignalName,
        rendering: &Rc<Rendering>,
        event: &EncodedEvent,
    ) {
        self.tell_lost();
        let pieces = rendering.pieces(event);
        if self.lost.is_empty() && self.fits(&pieces) {
            self.push_all(pieces);
        } else {
            self.lose(connection, signal, rendering, 1);
        }
    }

    /// Counts events as lost that were dropped earlier.
    pub(crate) fn lose(
        &mut self,
        connection: Option<Handle>,
        signal: SignalName,
        rendering: &Rc<Rendering>,
        count: u64,
    ) {
        if self.abandoned {
            return;
        }
        let kind = (connection, signal);
        if let Some(lost) = self
            .places
            .get(&kind)
            .and_then(|place| self.lost.get_mut(place))
        {
            lost.count = lost.count.saturating_add(count);
            return;
        }
        self.places.insert(kind, self.next_place);
        let lost = Lost {
            kind,
            rendering: Rc::clone(rendering),
            count,
        };
        self.lost.insert(self.next_place, lost);
        self.next_place += 1;
    }

    /// Reports at once what a connection lost, as nothing may be sent for it afterwards.
    pub(crate) fn close_connection(&mut self, connection: Handle, signal: SignalName) {
        let Some(place) = self.places.remove(&(Some(connection), signal)) else {
            return;
        };
        // The first notice may be another one now.
        self.blocked_at = None;
        if let Some(pieces) = self.lost.remove(&place).and_then(|lost| lost.notice()) {
            self.push_all(pieces);
        }
    }

    /// Reports lost events, as far as there is room.
    fn tell_lost(&mut self) {
        if self.blocked_at.is_some_and(|bytes| self.bytes >= bytes) {
            return;
        }
        self.blocked_at = None;
        while let Some((&place, lost)) = self.lost.first_key_value() {
            let kind = lost.kind;
            let Some(pieces) = lost.notice().filter(|pieces| self.fits(pieces)) else {
                self.blocked_at = Some(self.bytes);
                return;
            };
            self.push_all(pieces);
            self.lost.remove(&place);
            self.places.remove(&kind);
        }
    }

    /// Whether another line is within the limits; an empty queue takes any.
    fn fits(&self, pieces: &[Rc<[u8]>]) -> bool {
        let bytes: usize = pieces.iter().map(|piece| piece.len()).sum();
        let costs: usize = pieces.iter().map(|piece| cost(piece)).sum();
        let is_within = self.bytes.saturating_add(bytes) <= self.limit;
        self.bytes == 0 || (is_within && self.charge.allows(costs))
    }

    fn push_all(&mut self, pieces: [Rc<[u8]>; 2]) {
        pieces.into_iter().for_each(|piece| self.push(piece));
    }

    fn push(&mut self, piece: Rc<[u8]>) {
        if self.abandoned {
            return;
        }
        self.bytes += piece.len();
        self.charge.add(cost(&piece));
        self.pieces.push_back(piece);
    }

    /// Sends as much as `sink` takes.
    pub(crate) fn send(&mut self, sink: &mut impl Write) -> io::Result<()> {
        loop {
            self.tell_lost();
            if self.pieces.is_empty() {
                return Ok(());
            }
            let slices: Vec<IoSlice<'_>> = self
                .pieces
                .iter()
                .take(PIECES_PER_WRITE)
                .enumerate()
                .map(|(index, piece)| {
                    IoSlice::new(if index == 0 {
                        &piece[self.sent..]
                    } else {
                        piece
                    })
                })
                .collect();
            match sink.write_vectored(&slices) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.forget_sent(count),
                Err(error) if comes_to_nothing(&error) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn forget_sent(&mut self, count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        self.sent += count;
        while let Some(first) = self.pieces.front()
            && self.sent >= first.len()
        {
            self.sent -= first.len();
            self.charge.give_back(cost(first));
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            // An idle session keeps no allocation for its past output.
            self.pieces = VecDeque::new();
        }
    }
}

fn cost(piece: &[u8]) -> usize {
    piece.len() + PIECE_COST
}

impl Lost {
    fn notice(&self) -> Option<[Rc<[u8]>; 2]> {
        let lost = EventsLost {
            event: self.kind.1.name().to_owned(),
            count: self.count,
        };
        let notice = EncodedEvent::notice(&Notice::EventsLost(lost)).ok()?;
        Some(self.rendering.pieces(&notice))
    }
}

#[cfg(test)]
mod tests {
    use faultvisor_schema::Event;

    use super::*;
    use crate::budget::SHARE;
    use crate::wire::event::{Form, Timestamp};

    /// A sink that takes a limited number of bytes.
    struct Pipe {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            let count = bytes.len().min(self.room);
            self.room -= count;
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(pipe: &Pipe) -> Vec<&str> {
        std::str::from_utf8(&pipe.taken).unwrap().lines().collect()
    }

    /// An event of 69 bytes with a number; the notice of its loss, with a longer name, has more.
    fn event(output: &mut Output, number: u32) {
        let at = Timestamp {
            seconds: 0,
            microseconds: 100 + number,
        };
        let event = EncodedEvent::event(&Event::Stop, at).unwrap();
        output.event(
            None,
            SignalName::BlockIoError,
            &Rc::new(Rendering::unasked()),
            &event,
        );
    }

    fn output(limit: usize) -> Output {
        Output::new(limit, &Budget::new(usize::MAX))
    }

    #[test]
    fn deaf_clients_cost_others_nothing_and_share_a_bounded_memory() {
        let budget = Budget::new(3 * SHARE);
        let mut hogs: Vec<Output> = (0..20).map(|_| Output::new(usize::MAX, &budget)).collect();
        let answer = || vec![b'x'; SHARE / 8];
        for hog in &mut hogs {
            while !hog.is_full() {
                hog.answer(answer());
            }
        }
        let held: usize = hogs.iter().map(|hog| hog.bytes).sum();
        assert!(held <= 3 * SHARE + 20 * (SHARE + SHARE / 8), "{held}");
        // A client that reads receives everything, at any time.
        let mut reader = Output::new(usize::MAX, &budget);
        for number in 0..100 {
            assert!(!reader.is_full());
            event(&mut reader, number);
            reader.answer(answer());
            let mut pipe = Pipe {
                taken: Vec::new(),
                room: usize::MAX,
            };
            reader.send(&mut pipe).unwrap();
            assert!(!lines(&pipe)[0].contains("EVENTS_LOST"));
        }
        // A client that does not read learns what it missed when it reads again.
        event(&mut hogs[0], 1);
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: usize::MAX,
        };
        hogs[0].send(&mut pipe).unwrap();
        assert!(lines(&pipe).last().unwrap().contains("EVENTS_LOST"));
        hogs.iter_mut().for_each(Output::abandon);
        assert!(hogs.iter().all(Output::is_empty));
        drop(reader);
        assert!(Charge::new(&budget).allows(3 * SHARE));
    }

    /// A sink of a host that is out of memory at times.
    struct Poor {
        turn: u32,
        taken: Vec<u8>,
    }

    impl Write for Poor {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn += 1;
            let error = match self.turn % 3 {
                0 => libc::ENOBUFS,
                1 => libc::ENOMEM,
                _ => {
                    let count = bytes.len().min(7);
                    self.taken.extend_from_slice(&bytes[..count]);
                    return Ok(count);
                }
            };
            Err(io::Error::from_raw_os_error(error))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_host_that_has_no_memory_for_the_moment_loses_nothing() {
        let mut output = output(usize::MAX);
        let text = b"{\"return\": {}, \"id\": 12345}\r\n".to_vec();
        output.answer(text.clone());
        let mut sink = Poor {
            turn: 0,
            taken: Vec::new(),
        };
        while !output.is_empty() {
            output.send(&mut sink).unwrap();
        }
        assert_eq!(sink.taken, text);
    }

    #[test]
    fn losses_are_reported_in_place() {
        let mut output = output(700);
        (0..20).for_each(|number| event(&mut output, number));
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 100_000,
        };
        output.send(&mut pipe).unwrap();
        event(&mut output, 20);
        output.send(&mut pipe).unwrap();
        let lines = lines(&pipe);
        let told = lines
            .iter()
            .position(|line| line.contains("EVENTS_LOST"))
            .unwrap();
        assert_eq!(told, lines.len() - 2, "{lines:?}");
        assert!(
            lines[told].contains(&format!("\"count\": {}", 20 - told)),
            "{lines:?}"
        );
        assert!(lines.last().unwrap().contains("120"), "{lines:?}");
    }

    #[test]
    fn nothing_overtakes_the_notice_of_a_loss() {
        let mut output = output(700);
        (0..20).for_each(|number| event(&mut output, number));
        // Room for an event, but not for the notice before it.
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 60,
        };
        output.send(&mut pipe).unwrap();
        event(&mut output, 20);
        pipe.room = 100_000;
        output.send(&mut pipe).unwrap();
        let lines = lines(&pipe);
        assert!(lines.last().unwrap().contains("EVENTS_LOST"), "{lines:?}");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.contains("EVENTS_LOST"))
                .count(),
            1
        );
    }

    #[test]
    fn an_answer_always_gets_in() {
        let mut output = output(10);
        (0..5).for_each(|_| output.answer(b"{\"return\": {}}\r\n".to_vec()));
        assert!(output.is_full());
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 100_000,
        };
        output.send(&mut pipe).unwrap();
        assert_eq!(lines(&pipe).len(), 5);
        assert!(output.is_empty());
    }

    #[test]
    fn an_answer_does_not_overtake_the_notice_of_a_loss_that_there_is_room_for() {
        let mut output = output(700);
        output.lose(None, SignalName::Stop, &Rc::new(Rendering::unasked()), 1);
        output.answer(b"{\"return\": {}}\r\n".to_vec());
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 100_000,
        };
        output.send(&mut pipe).unwrap();
        let lines = lines(&pipe);
        assert!(lines[0].contains("EVENTS_LOST"), "{lines:?}");
        assert_eq!(lines[1], "{\"return\": {}}");
    }

    #[test]
    fn a_closed_connection_has_nothing_left_to_tell() {
        let mut output = output(700);
        let handle = Handle::for_tests(9);
        let rendering = Rc::new(Rendering::tagged(Form::Event, handle));
        let at = Timestamp {
            seconds: 0,
            microseconds: 0,
        };
        let stop = EncodedEvent::event(&Event::Stop, at).unwrap();
        (0..20).for_each(|_| output.event(Some(handle), SignalName::Stop, &rendering, &stop));
        output.close_connection(handle, SignalName::Stop);
        output.answer(b"{\"return\": {}}\r\n".to_vec());
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 100_000,
        };
        output.send(&mut pipe).unwrap();
        let lines = lines(&pipe);
        assert_eq!(lines.last(), Some(&"{\"return\": {}}"));
        assert!(lines[lines.len() - 2].contains("EVENTS_LOST"));
    }
}
