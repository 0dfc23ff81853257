//! What a session still has to send: bounded for events, and honest about those that did not fit.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::rc::Rc;

use faultvisor_schema::{EventsLost, Notice, SignalName};

use crate::codec;
use crate::registry::Handle;

/// How many pieces are handed to the kernel at once.
const PIECES_PER_WRITE: usize = 64;

/// A session's output. Answers always get in: a session that has too many of them is not read from.
#[derive(Debug)]
pub(crate) struct Output {
    pieces: VecDeque<Rc<[u8]>>,
    /// How much of the first piece has been sent.
    sent: usize,
    /// How many bytes are left to send.
    bytes: usize,
    limit: usize,
    /// The events that did not fit, in the order in which each kind began not to.
    lost: VecDeque<Lost>,
}

#[derive(Debug)]
struct Lost {
    connection: Option<Handle>,
    signal: SignalName,
    tail: Rc<[u8]>,
    count: u64,
}

impl Output {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            sent: 0,
            bytes: 0,
            limit,
            lost: VecDeque::new(),
        }
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.lost.is_empty()
    }

    /// Whether there is so much to send that nothing should be done that adds to it.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.limit
    }

    /// Adds an answer.
    pub(crate) fn answer(&mut self, line: Vec<u8>) {
        self.push(line.into());
    }

    /// Adds an event, or counts it as lost.
    pub(crate) fn event(
        &mut self,
        connection: Option<Handle>,
        signal: SignalName,
        body: &Rc<[u8]>,
        tail: &Rc<[u8]>,
    ) {
        self.tell_lost();
        if self.lost.is_empty() && self.fits(body.len() + tail.len()) {
            self.push(Rc::clone(body));
            self.push(Rc::clone(tail));
        } else {
            self.lose(connection, signal, tail, 1);
        }
    }

    /// Counts events as lost that never got here.
    pub(crate) fn lose(
        &mut self,
        connection: Option<Handle>,
        signal: SignalName,
        tail: &Rc<[u8]>,
        count: u64,
    ) {
        let same = |lost: &&mut Lost| lost.connection == connection && lost.signal == signal;
        match self.lost.iter_mut().find(same) {
            Some(lost) => lost.count = lost.count.saturating_add(count),
            None => self.lost.push_back(Lost {
                connection,
                signal,
                tail: Rc::clone(tail),
                count,
            }),
        }
    }

    /// Says at once what a connection lost, because nothing may be said of it afterwards.
    pub(crate) fn close_connection(&mut self, connection: Handle) {
        let mut index = 0;
        while let Some(lost) = self.lost.get(index) {
            if lost.connection != Some(connection) {
                index += 1;
            } else if let Some(lost) = self.lost.remove(index)
                && let Some(body) = lost.notice()
            {
                self.push(body);
                self.push(lost.tail);
            }
        }
    }

    /// Says what was lost, as far as there is room.
    fn tell_lost(&mut self) {
        while let Some(lost) = self.lost.front() {
            let Some(body) = lost.notice() else { break };
            if !self.fits(body.len() + lost.tail.len()) {
                break;
            }
            let tail = Rc::clone(&lost.tail);
            self.push(body);
            self.push(tail);
            self.lost.pop_front();
        }
    }

    /// Whether so many bytes more are within the limit; into an empty queue anything fits.
    fn fits(&self, bytes: usize) -> bool {
        self.bytes == 0 || self.bytes.saturating_add(bytes) <= self.limit
    }

    fn push(&mut self, piece: Rc<[u8]>) {
        self.bytes += piece.len();
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
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
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
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            // An idle session keeps no room for what it once had to send.
            self.pieces = VecDeque::new();
        }
    }
}

impl Lost {
    fn notice(&self) -> Option<Rc<[u8]>> {
        let lost = EventsLost {
            event: self.signal.name().to_owned(),
            count: self.count,
        };
        codec::notice(&Notice::EventsLost(lost)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sink that takes only so many bytes.
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

    fn event(output: &mut Output, number: u32) {
        let body: Rc<[u8]> = format!("{{\"n\": {number:03}").into_bytes().into();
        output.event(None, SignalName::Stop, &body, &codec::untagged());
    }

    #[test]
    fn what_was_lost_is_told_where_it_would_have_stood() {
        let mut output = Output::new(100);
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
        assert_eq!(lines.last(), Some(&"{\"n\": 020}"));
    }

    #[test]
    fn nothing_overtakes_the_notice_of_a_loss() {
        let mut output = Output::new(100);
        (0..20).for_each(|number| event(&mut output, number));
        // Room for an event, but not for the notice that goes before it.
        let mut pipe = Pipe {
            taken: Vec::new(),
            room: 15,
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
        let mut output = Output::new(10);
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
    fn a_closed_connection_has_nothing_left_to_tell() {
        let mut output = Output::new(100);
        let handle = Handle::for_tests(9);
        let body: Rc<[u8]> = Rc::from(*b"{\"event\": \"STOP\"");
        let tail = codec::tagged(handle);
        (0..20).for_each(|_| output.event(Some(handle), SignalName::Stop, &body, &tail));
        output.close_connection(handle);
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
