//! A session: one client, from its greeting to its last answer.

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read};
use std::sync::Arc;

use event_manager::EventSet;
use faultvisor_schema::{
    Arguments, COMMANDS, Command, CommandError, Empty, ErrorClass, MachineCommand, MachineReturn,
    MonitorCommand, QMPCapability,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Machine;
use crate::codec::{self, LINE_END};
use crate::executor::{CAPABILITIES, Executor, Negotiation, schema, version};
use crate::inbox::{Inbox, Reply, Ticket};
use crate::json::{self, Strict};
use crate::json_rpc::Message;
use crate::lexer::Lexer;
use crate::objects::Hinted;
use crate::output::Output;
use crate::protocol::Protocol;
use crate::registry::{Handle, Registry};
use crate::request::{Band, Call, Failure, Request, Stage, unexpected_member};
use crate::standing::Standing;
use crate::stream::Stream;

/// How many in-band commands of a session may wait for their turn before it is not read from any more. As many may be
/// with the machine out of band.
const IN_BAND_LIMIT: usize = 8;

/// How many bytes they may have together.
const WAITING_BYTES_LIMIT: usize = 1024 * 1024;

/// How many requests a session may have executed before it is somebody else's turn.
const REQUESTS_PER_TURN: usize = 64;

/// How many bytes they may have been answered with.
const BYTES_PER_TURN: usize = 256 * 1024;

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
    negotiation: Negotiation,
    lexer: Lexer,
    /// What was read and not looked at yet.
    unread: VecDeque<u8>,
    /// The messages that are not answered yet; the first one is being executed.
    waiting: VecDeque<Pending>,
    /// The requests that the machine is executing, by what their tickets say.
    in_flight: BTreeMap<u64, InFlight>,
    sequence: u64,
    /// What is left of its turn.
    turn: Turn,
    /// Whether anything was read yet.
    has_read: bool,
    input_ended: bool,
    broken: bool,
}

/// How much a session may still do before it is somebody else's turn.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    requests: usize,
    bytes: usize,
}

impl Turn {
    const WHOLE: Self = Self {
        requests: REQUESTS_PER_TURN,
        bytes: BYTES_PER_TURN,
    };

    fn is_over(self) -> bool {
        self.requests == 0 || self.bytes == 0
    }
}

/// A message that is not answered yet.
#[derive(Debug)]
struct Pending {
    /// How long it was.
    bytes: usize,
    requests: VecDeque<Request>,
    /// The answers so far, if they are to be told together.
    batch: Option<Vec<u8>>,
    /// The in-band request of it that the machine is executing.
    in_flight: Option<u64>,
    /// The connections that were made by it, to be told how things are once they are answered.
    initial: Vec<Handle>,
}

/// A request that the machine is executing.
#[derive(Debug)]
struct InFlight {
    id: Option<Box<RawValue>>,
    band: Band,
}

/// What a call comes to.
#[derive(Debug)]
enum Action {
    Command(Command),
    Subscribe {
        event: String,
        device: Option<String>,
    },
    Unsubscribe {
        event: String,
    },
}

impl Pending {
    fn new(message: Message, bytes: usize) -> Self {
        let (requests, batch) = match message {
            Message::One(request) => (VecDeque::from([request]), None),
            Message::Batch(requests) => (requests.into(), Some(Vec::new())),
        };
        Self {
            bytes,
            requests,
            batch,
            in_flight: None,
            initial: Vec::new(),
        }
    }
}

impl Session {
    /// Begins a session, with its greeting if the protocol has one.
    pub(crate) fn new(
        id: SessionId,
        protocol: Protocol,
        stream: Stream,
        output_limit: usize,
    ) -> Self {
        let mut session = Self {
            id,
            protocol,
            stream,
            output: Output::new(output_limit),
            output_limit,
            negotiation: Negotiation::new(protocol),
            lexer: Lexer::new(protocol.dialect()),
            unread: VecDeque::new(),
            waiting: VecDeque::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            turn: Turn::WHOLE,
            has_read: false,
            input_ended: false,
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
            Ok(count) if self.is_browser(&scratch[..count]) => {
                tracing::warn!("a client spoke HTTP to the monitor, and was disconnected");
                self.broken = true;
            }
            Ok(count) => self.unread.extend(&scratch[..count]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
                _ => self.broken = true,
            },
        }
    }

    /// Whether this is how a browser begins: a page in it can reach a port of the loopback, and its headers would be no more
    /// than errors before a body of requests.
    fn is_browser(&mut self, input: &[u8]) -> bool {
        const METHODS: [&[u8]; 9] = [
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"DELETE ",
            b"CONNECT ",
            b"OPTIONS ",
            b"TRACE ",
            b"PATCH ",
        ];
        let is_first = !std::mem::replace(&mut self.has_read, true);
        is_first && METHODS.iter().any(|method| input.starts_with(method))
    }

    /// Does what can be done now, within a turn: executes what may be executed, reads what there is room for, sends what
    /// is there. Returns whether there is more to do.
    pub(crate) fn advance(&mut self, surroundings: &mut Surroundings<'_>) -> bool {
        self.turn = Turn::WHOLE;
        while !self.broken {
            self.execute_waiting(surroundings);
            if !self.turn.is_over() && self.takes_requests() && self.next_message(surroundings) {
                continue;
            }
            let was_full = self.output.is_full();
            self.flush();
            // Sending may have made the room that going on was waiting for.
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

    /// Ends it, whatever is left to do.
    pub(crate) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Sends what the client takes.
    pub(crate) fn flush(&mut self) {
        if !self.broken && self.output.send(&mut self.stream).is_err() {
            self.broken = true;
        }
    }

    /// The machine answers.
    pub(crate) fn answered(&mut self, sequence: u64, result: &Result<MachineReturn, CommandError>) {
        let Some(request) = self.in_flight.remove(&sequence) else {
            return;
        };
        self.answer_of_machine(result, request.id.as_deref(), request.band);
        if let Some(first) = self.waiting.front_mut() {
            first.in_flight.take_if(|flying| *flying == sequence);
        }
    }

    fn answer_of_machine(
        &mut self,
        result: &Result<MachineReturn, CommandError>,
        id: Option<&RawValue>,
        band: Band,
    ) {
        match result {
            Err(error) => {
                let failure = Stage::Execution.failure(error.clone());
                self.answer::<Empty>(Err(&failure), id, band);
            }
            Ok(value) if self.negotiation.has(QMPCapability::ClassHints) => {
                self.answer(Ok(&Hinted(value)), id, band);
            }
            Ok(value) => self.answer(Ok(value), id, band),
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
        // The one that is being executed waits no more.
        let executing = self.waiting.front().and_then(|first| first.in_flight);
        let waiting = self.waiting.len() - usize::from(executing.is_some());
        let bytes: usize = self.waiting.iter().map(|message| message.bytes).sum();
        waiting < IN_BAND_LIMIT
            && bytes < WAITING_BYTES_LIMIT
            && self.out_of_band() < IN_BAND_LIMIT
            && !self.output.is_full()
    }

    /// Takes the next message out of what was read. Returns whether there was one.
    fn next_message(&mut self, surroundings: &mut Surroundings<'_>) -> bool {
        while !self.unread.is_empty() {
            let (count, lexed) = self.lexer.read(self.unread.as_slices().0);
            self.unread.drain(..count);
            let (message, bytes) = match lexed {
                None => continue,
                Some(Ok(message)) => (self.protocol.parse(&message), message.len()),
                Some(Err(error)) => (self.protocol.unreadable(&error), 0),
            };
            match message {
                Message::One(request)
                    if request.is_out_of_band() && self.negotiation.has(QMPCapability::Oob) =>
                {
                    self.execute(request, Band::Out, surroundings);
                }
                message => self.waiting.push_back(Pending::new(message, bytes)),
            }
            return true;
        }
        // An idle session keeps no room for what it once had to read.
        self.unread = VecDeque::new();
        false
    }

    /// Executes requests in their order until one has to wait for the machine, or for its turn.
    fn execute_waiting(&mut self, surroundings: &mut Surroundings<'_>) {
        while self.can_execute()
            && !self.turn.is_over()
            && let Some(first) = self.waiting.front_mut()
        {
            match first.requests.pop_front() {
                Some(request) => self.execute(request, Band::In, surroundings),
                None => self.finish_message(surroundings),
            }
        }
    }

    /// The first message is answered.
    fn finish_message(&mut self, surroundings: &mut Surroundings<'_>) {
        let Some(message) = self.waiting.pop_front() else {
            return;
        };
        if let Some(mut answers) = message.batch.filter(|answers| !answers.is_empty()) {
            answers.push(b']');
            answers.extend_from_slice(LINE_END);
            self.output.answer(answers);
        }
        for handle in message.initial {
            self.executor(surroundings).tell_initial(handle);
        }
    }

    fn execute(&mut self, request: Request, band: Band, surroundings: &mut Surroundings<'_>) {
        let Request { id, call } = request;
        self.turn.requests = self.turn.requests.saturating_sub(1);
        let action = call
            .and_then(|call| self.action(call, band))
            .and_then(|action| self.has_room(band).map(|()| action));
        let id_text = id.as_deref();
        match action {
            Err(failure) => self.answer::<Empty>(Err(&failure), id_text, band),
            Ok(Action::Command(Command::Monitor(MonitorCommand::QueryQmpSchema))) => {
                self.answer(Ok(schema()), id_text, band);
            }
            Ok(Action::Command(Command::Monitor(command))) => {
                self.perform(id_text, band, surroundings, |executor| {
                    command.execute(executor)
                });
            }
            Ok(Action::Subscribe { event, device }) => {
                self.perform(id_text, band, surroundings, |executor| {
                    let id = needs_id(id_text)?;
                    executor.listen(&event, id, device).map(|()| Empty {})
                });
            }
            Ok(Action::Unsubscribe { event }) => {
                self.perform(id_text, band, surroundings, |executor| {
                    let id = needs_id(id_text)?;
                    executor.unlisten(id, Some(&event)).map(|()| Empty {})
                });
            }
            Ok(Action::Command(Command::Machine(command))) => {
                self.ask(command, id, band, surroundings);
            }
        }
    }

    /// Has the machine execute a command.
    fn ask(
        &mut self,
        command: MachineCommand,
        id: Option<Box<RawValue>>,
        band: Band,
        surroundings: &mut Surroundings<'_>,
    ) {
        // Asked for first: what was raised before it was found is in the inbox then, and must not be overtaken.
        if let Some(answer) = surroundings.machine.answer(&command)
            && surroundings.inbox.is_empty()
        {
            return self.answer_of_machine(&Ok(answer), id.as_deref(), band);
        }
        self.sequence += 1;
        let ticket = Ticket {
            session: self.id,
            sequence: self.sequence,
        };
        if band == Band::In
            && let Some(first) = self.waiting.front_mut()
        {
            first.in_flight = Some(self.sequence);
        }
        self.in_flight.insert(self.sequence, InFlight { id, band });
        let reply = Reply::new(surroundings.inbox, ticket);
        surroundings.machine.submit(command, reply);
    }

    /// Does what the monitor does itself, and answers.
    fn perform<T: Serialize>(
        &mut self,
        id: Option<&RawValue>,
        band: Band,
        surroundings: &mut Surroundings<'_>,
        action: impl FnOnce(&mut Executor<'_>) -> Result<T, CommandError>,
    ) {
        let mut executor = self.executor(surroundings);
        let result = action(&mut executor).map_err(|error| Stage::Execution.failure(error));
        let initial = executor.initial;
        self.answer(result.as_ref(), id, band);
        match self.waiting.front_mut() {
            // Its answer is still to come, with those of its batch.
            Some(first) if band == Band::In && first.batch.is_some() => {
                first.initial.extend(initial);
            }
            _ => {
                if let Some(handle) = initial {
                    self.executor(surroundings).tell_initial(handle);
                }
            }
        }
    }

    fn executor<'a>(&'a mut self, surroundings: &'a mut Surroundings<'_>) -> Executor<'a> {
        Executor {
            session: self.id,
            protocol: self.protocol,
            negotiation: &mut self.negotiation,
            output: &mut self.output,
            registry: surroundings.registry,
            machine: surroundings.machine,
            standing: surroundings.standing,
            initial: None,
        }
    }

    /// What a call means at this point of the session.
    fn action(&self, call: Call, band: Band) -> Result<Action, Failure> {
        match call {
            Call::Command {
                band: Band::Out, ..
            } if !self.negotiation.has(QMPCapability::Oob) => {
                Err(Stage::Request.failure(unexpected_member("exec-oob")))
            }
            Call::Command {
                name, arguments, ..
            } => self
                .command(&name, arguments.as_deref(), band)
                .map(Action::Command)
                .map_err(|error| Stage::Command.failure(error)),
            Call::Subscribe { event, arguments } => {
                self.may_subscribe("subscribe")?;
                let device = device_of(arguments.as_deref())
                    .map_err(|error| Stage::Command.failure(error))?;
                Ok(Action::Subscribe { event, device })
            }
            Call::Unsubscribe { event } => {
                self.may_subscribe("unsubscribe")?;
                Ok(Action::Unsubscribe { event })
            }
        }
    }

    fn may_subscribe(&self, member: &str) -> Result<(), Failure> {
        if !self.negotiation.complete {
            return Err(Stage::Command.failure(negotiate_first()));
        }
        if !self.negotiation.has(QMPCapability::Subscribe) {
            return Err(Stage::Request.failure(unexpected_member(member)));
        }
        Ok(())
    }

    fn command(
        &self,
        name: &str,
        arguments: Option<&RawValue>,
        band: Band,
    ) -> Result<Command, CommandError> {
        let negotiates = matches!(name, "qmp_capabilities" | "disable-default-events");
        if negotiates && self.protocol != Protocol::Qmp {
            return Err(CommandError::command_not_found(name));
        }
        if negotiates && self.negotiation.complete {
            let message = "Capabilities negotiation is already complete, command ignored";
            return Err(CommandError::new(ErrorClass::CommandNotFound, message));
        }
        if !negotiates && !self.negotiation.complete {
            return Err(negotiate_first());
        }
        if band == Band::Out {
            out_of_band(name)?;
        }
        Command::decode(name, read_arguments(arguments)?)
    }

    /// Whether a batch may go on: what it has to say is kept until its end, and that is bounded too.
    fn has_room(&self, band: Band) -> Result<(), Failure> {
        let batch = self.waiting.front().and_then(|first| first.batch.as_ref());
        if band == Band::In && batch.is_some_and(|answers| answers.len() >= self.output_limit) {
            let message = format!(
                "The answers of a batch can have {} bytes together at most",
                self.output_limit
            );
            return Err(Stage::Execution.failure(CommandError::generic(message)));
        }
        Ok(())
    }

    fn answer<T: Serialize + ?Sized>(
        &mut self,
        result: Result<&T, &Failure>,
        id: Option<&RawValue>,
        band: Band,
    ) {
        let Some(answer) = self.protocol.answer(result, id) else {
            return;
        };
        let bytes = answer.as_ref().map_or(0, Vec::len);
        self.turn.bytes = self.turn.bytes.saturating_sub(bytes);
        let batch = match self.waiting.front_mut() {
            Some(first) if band == Band::In => first.batch.as_mut(),
            _ => None,
        };
        match (batch, answer) {
            (Some(answers), Ok(answer)) => {
                answers.extend_from_slice(if answers.is_empty() { b"[" } else { b", " });
                answers.extend_from_slice(&answer);
            }
            (_, answer) => self.say(answer.map(|mut answer| {
                answer.extend_from_slice(LINE_END);
                answer
            })),
        }
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

fn negotiate_first() -> CommandError {
    let message = "Expecting capabilities negotiation with 'qmp_capabilities'";
    CommandError::new(ErrorClass::CommandNotFound, message)
}

/// Whether a command may overtake others. That there is none of that name is said later.
fn out_of_band(name: &str) -> Result<(), CommandError> {
    let entry = COMMANDS.binary_search_by_key(&name, |entry| entry.name);
    match entry.map(|index| COMMANDS[index].allow_oob) {
        Ok(false) => {
            let message = format!("The command {name} does not support OOB");
            Err(CommandError::generic(message))
        }
        Ok(true) | Err(_) => Ok(()),
    }
}

fn read_arguments(arguments: Option<&RawValue>) -> Result<Arguments, CommandError> {
    match arguments
        .map(|arguments| json::read(arguments.get()))
        .transpose()?
    {
        None => Ok(Arguments::new()),
        Some(Strict(Value::Object(members))) => Ok(members),
        Some(Strict(_)) => Err(CommandError::generic("Arguments must be an object")),
    }
}

/// The arguments of a subscription.
fn device_of(arguments: Option<&RawValue>) -> Result<Option<String>, CommandError> {
    let root = faultvisor_schema::Path::ROOT;
    let arguments = Value::Object(read_arguments(arguments)?);
    let mut members = faultvisor_schema::Members::open(arguments, &root)?;
    let device = members.optional("device")?;
    members.close()?;
    Ok(device)
}

fn needs_id(id: Option<&RawValue>) -> Result<&RawValue, CommandError> {
    id.ok_or_else(|| CommandError::generic("QMP input lacks member 'id'"))
}
