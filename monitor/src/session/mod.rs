//! A session: one client, from the greeting to the last answer.
//!
//! This file has input, output and turns; `opening` checks the first bytes, `execution` checks, executes and answers
//! requests, `pending` holds unanswered messages.

mod execution;
mod executor;
mod opening;
mod pending;

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::rc::Rc;
use std::sync::Arc;

use event_manager::EventSet;
use faultvisor_schema::{CommandError, QMPCapability};

use crate::budget::Budget;
use crate::delivery::output::Output;
use crate::delivery::registry::Registry;
use crate::delivery::standing::Standing;
use crate::identity::SessionId;
use crate::inbox::MonitorInbox;
use crate::machine::Machine;
use crate::transport::stream::{Stream, comes_to_nothing};
use crate::wire::codec;
use crate::wire::json_rpc::Message;
use crate::wire::lexer::Lexer;
use crate::wire::protocol::Protocol;
use crate::wire::request::{Band, Stage};
use executor::{CAPABILITIES, Negotiation, version};
use opening::{Opening, Refused};
use pending::{InFlight, Pending, Turn};

pub(crate) use opening::OpeningRule;

/// The maximum number of queued in-band messages of a session, after which its input is not read. Also the maximum
/// number of out-of-band requests that the machine executes at once.
const IN_BAND_LIMIT: usize = 8;

/// The maximum size of the queued messages in bytes.
const WAITING_BYTES_LIMIT: usize = 1024 * 1024;

/// The server state that a session's commands use.
pub(crate) struct ServerContext<'a> {
    pub(crate) machine: &'a dyn Machine,
    pub(crate) registry: &'a mut Registry,
    pub(crate) inbox: &'a Arc<MonitorInbox>,
    pub(crate) standing: &'a Standing,
}

/// One client's side of the server.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    protocol: Protocol,
    pub(crate) stream: Stream,
    pub(crate) output: Output,
    output_limit: usize,
    /// The memory budget of all sessions' answers and events.
    budget: Rc<Budget>,
    negotiation: Negotiation,
    opening: Opening,
    lexer: Lexer,
    /// Input that was read and not lexed yet.
    unread: VecDeque<u8>,
    /// Messages that are not answered yet; the first one is being executed.
    waiting: VecDeque<Pending>,
    /// The requests that the machine is executing, by their tickets' sequence numbers.
    in_flight: BTreeMap<u64, InFlight>,
    sequence: u64,
    /// The rest of its turn.
    turn: Turn,
    input_ended: bool,
    /// Whether its stream is closed both ways, which epoll reports as long as it is registered.
    hung_up: bool,
    /// Whether the output has been shut down.
    said_all: bool,
    broken: bool,
}

impl Session {
    /// Begins a session, with its greeting if the protocol has one.
    pub(crate) fn new(
        id: SessionId,
        protocol: Protocol,
        rule: OpeningRule,
        stream: Stream,
        output_limit: usize,
        budget: &Rc<Budget>,
    ) -> Self {
        let mut session = Self {
            id,
            protocol,
            stream,
            output: Output::new(output_limit, budget),
            budget: Rc::clone(budget),
            output_limit,
            negotiation: Negotiation::new(protocol),
            opening: Opening::new(rule, protocol),
            lexer: Lexer::new(protocol.dialect()),
            unread: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            turn: Turn::WHOLE,
            input_ended: false,
            hung_up: false,
            said_all: false,
            broken: false,
        };
        if protocol == Protocol::Qmp {
            session.say(codec::greeting(&version(), CAPABILITIES));
        }
        session
    }

    /// Whether events arrive unasked.
    pub(crate) fn has_default_events(&self) -> bool {
        self.negotiation.complete && self.negotiation.default_events
    }

    /// Whether the session has ended.
    pub(crate) fn is_over(&self) -> bool {
        let done = self.unread.is_empty() && self.outstanding() == 0 && self.output.is_empty();
        self.broken || (self.input_ended && done)
    }

    /// Whether all output has been sent, or cannot be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.broken || self.output.is_empty()
    }

    /// The events of its stream that the session waits for.
    pub(crate) fn interest(&self) -> EventSet {
        let mut interest = EventSet::empty();
        if !self.input_ended && self.unread.is_empty() && self.takes_requests() {
            interest |= EventSet::IN;
        }
        if !self.output.is_empty() {
            interest |= EventSet::OUT;
        }
        if interest.is_empty() && self.hung_up {
            // epoll always reports a hang-up; edge-triggered, only once.
            interest |= EventSet::EDGE_TRIGGERED;
        }
        interest
    }

    /// Handles readiness of the stream.
    pub(crate) fn ready(&mut self, events: EventSet, scratch: &mut [u8]) {
        if events.intersects(EventSet::HANG_UP | EventSet::ERROR) {
            self.hung_up = true;
            self.output.abandon();
        }
        if events.contains(EventSet::IN) {
            self.receive(scratch);
        }
    }

    fn receive(&mut self, scratch: &mut [u8]) {
        if self.input_ended || !self.unread.is_empty() {
            return;
        }
        match self.stream.read(scratch) {
            Ok(0) => self.input_ended = true,
            Ok(count) => self.unread.extend(&scratch[..count]),
            Err(error) if comes_to_nothing(&error) || error.kind() == ErrorKind::Interrupted => {}
            Err(_) => {
                self.input_ended = true;
                self.output.abandon();
            }
        }
    }

    /// Ends a session with an invalid opening. A client on a unix socket gets an error: it is more likely to have a
    /// user than to be a browser.
    fn refuse(&mut self, Refused { byte, rule }: Refused) {
        tracing::warn!("a client began with byte {byte:#04x}, and was disconnected");
        self.unread = VecDeque::new();
        self.input_ended = true;
        if rule == OpeningRule::Strict {
            self.broken = true;
            return;
        }
        let error = CommandError::generic("A session begins with a JSON object, and this one ends");
        let failure = Stage::Text.failure(error);
        self.say(self.protocol.farewell(&failure));
    }

    /// Advances the session by at most one turn: executes requests, lexes input within the limits, sends output.
    /// Returns whether there is more to do.
    pub(crate) fn advance(&mut self, context: &mut ServerContext<'_>) -> bool {
        self.turn = Turn::WHOLE;
        while !self.broken {
            self.execute_waiting(context);
            if !self.turn.is_over() && self.takes_requests() && self.next_message(context) {
                continue;
            }
            let was_full = self.output.is_full();
            self.flush();
            // Sending may have freed the output space that execution waits for.
            let goes_on = self.can_execute() || (self.takes_requests() && !self.unread.is_empty());
            if self.turn.is_over() {
                return goes_on && !self.broken;
            }
            if !(was_full && goes_on) {
                break;
            }
        }
        false
    }

    /// Whether a request can be executed now.
    fn can_execute(&self) -> bool {
        let is_idle = |first: &Pending| first.in_flight.is_none();
        !self.broken && !self.output.is_full() && self.waiting.front().is_some_and(is_idle)
    }

    /// Ends it at once, discarding what is left.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Winds up at the end of the program: sends the remaining output, then shuts the output down. Input is drained for
    /// a while, so that a client that is still writing gets no EPIPE within a message.
    pub(crate) fn wind_up(&mut self) {
        self.flush();
        self.broken |= self.output.is_abandoned();
        if self.output.is_empty() && !self.said_all {
            self.said_all = true;
            self.broken |= self.stream.end_output().is_err();
        }
        self.broken |= self.said_all && self.input_ended;
    }

    /// Whether the client's input has ended.
    pub(crate) fn has_input_ended(&self) -> bool {
        self.input_ended
    }

    /// Reads and discards input.
    pub(crate) fn discard(&mut self, scratch: &mut [u8]) {
        match self.stream.read(scratch) {
            // The client may still be reading.
            Ok(0) => self.input_ended = true,
            Ok(_) => {}
            Err(error) if comes_to_nothing(&error) => {}
            Err(_) => self.broken = true,
        }
    }

    /// Sends as much output as the stream takes. A client that no longer reads may have sent requests before, which are
    /// still executed.
    pub(crate) fn flush(&mut self) {
        if !self.broken && self.output.send(&mut self.stream).is_err() {
            self.output.abandon();
        }
    }

    fn outstanding(&self) -> usize {
        self.waiting.len() + self.out_of_band()
    }

    /// How many out-of-band requests the machine is executing.
    fn out_of_band(&self) -> usize {
        self.in_flight
            .values()
            .filter(|request| request.band == Band::Out)
            .count()
    }

    fn takes_requests(&self) -> bool {
        // The request that is being executed no longer waits.
        let executing = self.waiting.front().and_then(|first| first.in_flight);
        let waiting = self.waiting.len() - usize::from(executing.is_some());
        let bytes: usize = self.waiting.iter().map(|message| message.bytes).sum();
        waiting < IN_BAND_LIMIT
            && bytes < WAITING_BYTES_LIMIT
            && self.out_of_band() < IN_BAND_LIMIT
            && !self.output.is_full()
    }

    /// Lexes the next message from the input. Returns whether there was one.
    fn next_message(&mut self, context: &mut ServerContext<'_>) -> bool {
        while !self.unread.is_empty() {
            let admitted = match self.opening.admit(self.unread.as_slices().0) {
                Ok(admitted) => admitted,
                Err(refused) => {
                    self.refuse(refused);
                    return false;
                }
            };
            let (count, lexed) = self.lexer.read(admitted);
            self.unread.drain(..count);
            let Some(lexed) = lexed else { continue };
            self.opening.lexed(&lexed);
            let (message, bytes) = match lexed {
                Ok(message) => (self.protocol.parse(&message), message.len()),
                Err(error) => (self.protocol.unreadable(&error), 0),
            };
            match message {
                Message::One(request)
                    if request.is_out_of_band() && self.negotiation.has(QMPCapability::Oob) =>
                {
                    self.execute(request, Band::Out, context);
                }
                message => self
                    .waiting
                    .push_back(Pending::new(message, bytes, &self.budget)),
            }
            return true;
        }
        // An idle session keeps no input buffer.
        self.unread = VecDeque::new();
        false
    }
}
