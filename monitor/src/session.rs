//! A session: one client, from its greeting to its last answer.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use event_manager::EventSet;
use faultvisor_schema::{
    Command, CommandError, ErrorClass, MachineReturn, MonitorCommand, MonitorReturn,
};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::Machine;
use crate::codec;
use crate::executor::{CAPABILITIES, Executor, Negotiation, version};
use crate::inbox::{Inbox, Reply, Ticket};
use crate::lexer::Lexer;
use crate::output::Output;
use crate::registry::Registry;
use crate::request::{Band, Call, Request, unexpected_member};
use crate::stream::Stream;

/// How many in-band commands of a session may wait for their answer before it is not read from any more.
const IN_BAND_LIMIT: usize = 8;

/// Which session, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SessionId(u64);

impl SessionId {
    pub(crate) const FIRST: Self = Self(0);

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    #[cfg(test)]
    pub(crate) fn for_tests(id: u64) -> Self {
        Self(id)
    }
}

/// What a session's commands need of the rest.
pub(crate) struct Surroundings<'a> {
    pub(crate) machine: &'a dyn Machine,
    pub(crate) registry: &'a mut Registry,
    pub(crate) inbox: &'a Arc<Inbox>,
}

/// One client's side of the server.
#[derive(Debug)]
pub(crate) struct Session {
    id: SessionId,
    pub(crate) stream: Stream,
    pub(crate) output: Output,
    negotiation: Negotiation,
    lexer: Lexer,
    /// What was read and not looked at yet.
    unread: VecDeque<u8>,
    waiting: VecDeque<Request>,
    in_flight: Option<InFlight>,
    sequence: u64,
    input_ended: bool,
    broken: bool,
}

/// The request that the machine is executing.
#[derive(Debug)]
struct InFlight {
    sequence: u64,
    id: Option<Box<RawValue>>,
}

impl Session {
    /// Begins a session, with its greeting.
    pub(crate) fn new(id: SessionId, stream: Stream, output_limit: usize) -> Self {
        let mut session = Self {
            id,
            stream,
            output: Output::new(output_limit),
            negotiation: Negotiation::default(),
            lexer: Lexer::default(),
            unread: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: None,
            sequence: 0,
            input_ended: false,
            broken: false,
        };
        session.say(codec::greeting(&version(), CAPABILITIES));
        session
    }

    /// Whether events arrive unasked.
    pub(crate) fn has_default_events(&self) -> bool {
        self.negotiation.complete && self.negotiation.default_events
    }

    /// Whether there is nothing left to do for the client.
    pub(crate) fn is_over(&self) -> bool {
        let done = self.unread.is_empty() && self.outstanding() == 0 && self.output.is_empty();
        self.broken || (self.input_ended && done)
    }

    /// Whether everything that was to be said has been sent, or cannot be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.broken || self.output.is_empty()
    }

    /// What of its stream the session waits for.
    pub(crate) fn interest(&self) -> EventSet {
        let mut interest = EventSet::empty();
        if !self.input_ended && self.unread.is_empty() && self.takes_requests() {
            interest |= EventSet::IN;
        }
        if !self.output.is_empty() {
            interest |= EventSet::OUT;
        }
        interest
    }

    /// The stream is ready for something.
    pub(crate) fn ready(&mut self, events: EventSet, scratch: &mut [u8]) {
        if events.contains(EventSet::IN) {
            self.receive(scratch);
        } else if events.intersects(EventSet::HANG_UP | EventSet::ERROR) {
            self.broken = true;
        }
    }

    fn receive(&mut self, scratch: &mut [u8]) {
        if self.input_ended || !self.unread.is_empty() {
            return;
        }
        match self.stream.read(scratch) {
            Ok(0) => self.input_ended = true,
            Ok(count) => self.unread.extend(&scratch[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                _ => self.broken = true,
            },
        }
    }

    /// Does what can be done now: executes what has its turn, reads what there is room for, sends what is there.
    pub(crate) fn advance(&mut self, surroundings: &mut Surroundings<'_>) {
        loop {
            self.execute_waiting(surroundings);
            if !self.broken && self.takes_requests() && self.next_request() {
                continue;
            }
            let was_full = self.output.is_full();
            self.flush();
            // Sending may have made the room that reading on was waiting for.
            let reads_on = was_full && self.takes_requests() && !self.unread.is_empty();
            if self.broken || !reads_on {
                return;
            }
        }
    }

    /// Sends what the client takes.
    pub(crate) fn flush(&mut self) {
        if !self.broken && self.output.send(&mut self.stream).is_err() {
            self.broken = true;
        }
    }

    /// The machine answers.
    pub(crate) fn answered(&mut self, sequence: u64, result: &Result<MachineReturn, CommandError>) {
        if let Some(request) = self
            .in_flight
            .take_if(|request| request.sequence == sequence)
        {
            self.answer(result, request.id.as_deref());
        }
    }

    fn outstanding(&self) -> usize {
        self.waiting.len() + usize::from(self.in_flight.is_some())
    }

    fn takes_requests(&self) -> bool {
        self.outstanding() < IN_BAND_LIMIT && !self.output.is_full()
    }

    /// Takes the next request out of what was read. Returns whether there was one.
    fn next_request(&mut self) -> bool {
        while !self.unread.is_empty() {
            let (count, lexed) = self.lexer.read(self.unread.as_slices().0);
            self.unread.drain(..count);
            let request = match lexed {
                None => continue,
                Some(Ok(message)) => Request::parse(&message),
                Some(Err(error)) => Request::unreadable(&error),
            };
            self.waiting.push_back(request);
            return true;
        }
        // An idle session keeps no room for what it once had to read.
        self.unread = VecDeque::new();
        false
    }

    /// Executes requests in their order until one has to wait for the machine.
    fn execute_waiting(&mut self, surroundings: &mut Surroundings<'_>) {
        while self.in_flight.is_none() && !self.broken {
            let Some(request) = self.waiting.pop_front() else {
                return;
            };
            self.execute(request, surroundings);
        }
    }

    fn execute(&mut self, request: Request, surroundings: &mut Surroundings<'_>) {
        let Request { id, call } = request;
        match call.and_then(|call| self.command(call)) {
            Err(error) => self.answer(&Err::<MonitorReturn, _>(error), id.as_deref()),
            Ok(Command::Monitor(command)) => {
                let result = command.execute(&mut Executor {
                    session: self.id,
                    negotiation: &mut self.negotiation,
                    output: &mut self.output,
                    registry: surroundings.registry,
                    machine: surroundings.machine,
                });
                self.answer(&result, id.as_deref());
            }
            Ok(Command::Machine(command)) => {
                self.sequence += 1;
                let ticket = Ticket {
                    session: self.id,
                    sequence: self.sequence,
                };
                self.in_flight = Some(InFlight {
                    sequence: self.sequence,
                    id,
                });
                surroundings
                    .machine
                    .submit(command, Reply::new(surroundings.inbox, ticket));
            }
        }
    }

    /// What a call means at this point of the session.
    fn command(&self, call: Call) -> Result<Command, CommandError> {
        if call.band == Band::Out {
            // The capability "oob" is not offered, so it cannot be on.
            return Err(unexpected_member("exec-oob"));
        }
        let before = matches!(
            call.name.as_str(),
            "qmp_capabilities" | "disable-default-events"
        );
        if before && self.negotiation.complete {
            let message = "Capabilities negotiation is already complete, command ignored";
            return Err(CommandError::new(ErrorClass::CommandNotFound, message));
        }
        if !before && !self.negotiation.complete {
            let message = "Expecting capabilities negotiation with 'qmp_capabilities'";
            return Err(CommandError::new(ErrorClass::CommandNotFound, message));
        }
        let command = Command::decode(&call.name, call.arguments)?;
        debug_assert_eq!(
            before,
            matches!(
                command,
                Command::Monitor(
                    MonitorCommand::QmpCapabilities(_) | MonitorCommand::DisableDefaultEvents
                )
            )
        );
        Ok(command)
    }

    fn answer<T: Serialize>(&mut self, result: &Result<T, CommandError>, id: Option<&RawValue>) {
        self.say(codec::answer(result, id));
    }

    fn say(&mut self, line: serde_json::Result<Vec<u8>>) {
        match line {
            Ok(line) => self.output.answer(line),
            Err(error) => {
                // The schema's types always encode; a client that missed an answer would never notice.
                tracing::error!(%error, "cannot encode an answer");
                self.broken = true;
            }
        }
    }
}
