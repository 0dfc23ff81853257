//! A session's requests, in order or out of band: each is checked, executed and answered.

use faultvisor_schema::{
    Arguments, COMMANDS, Command, CommandError, Empty, ErrorClass, MachineCommand, MachineReturn,
    Members, MonitorCommand, Path, QMPCapability,
};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::executor::{Executor, Negotiation, schema};
use super::pending::{Answers, InFlight};
use super::{ServerContext, Session};
use crate::identity::Ticket;
use crate::wire::codec::LINE_END;
use crate::wire::json::{self, Strict};
use crate::wire::objects::Hinted;
use crate::wire::protocol::Protocol;
use crate::wire::request::{Band, Call, Failure, Request, Stage, unexpected_member};

/// The result of a call.
#[derive(Debug)]
enum Invocation {
    Command(Command),
    Subscribe {
        event: String,
        device: Option<String>,
    },
    Unsubscribe {
        event: String,
    },
}

impl Session {
    /// Handles an answer of the machine.
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

    /// Executes requests in order until one has to wait for the machine, or the turn is over.
    pub(super) fn execute_waiting(&mut self, context: &mut ServerContext<'_>) {
        while self.can_execute()
            && !self.turn.is_over()
            && let Some(first) = self.waiting.front_mut()
        {
            match first.requests.pop_front() {
                Some(request) => self.execute(request, Band::In, context),
                None => self.finish_message(context),
            }
        }
    }

    /// Finishes the first message, which has been answered.
    fn finish_message(&mut self, context: &mut ServerContext<'_>) {
        let Some(message) = self.waiting.pop_front() else {
            return;
        };
        if let Some(line) = message.batch.and_then(Answers::into_line) {
            self.output.answer(line);
        }
        for handle in message.initial {
            self.executor(context).tell_initial(handle);
        }
    }

    pub(super) fn execute(
        &mut self,
        request: Request,
        band: Band,
        context: &mut ServerContext<'_>,
    ) {
        let Request { id, call } = request;
        self.turn.requests = self.turn.requests.saturating_sub(1);
        let invocation = call
            .and_then(|call| invocation(call, band, self.protocol, &self.negotiation))
            .and_then(|invocation| self.has_room(band).map(|()| invocation));
        let id_text = id.as_deref();
        match invocation {
            Err(failure) => self.answer::<Empty>(Err(&failure), id_text, band),
            Ok(Invocation::Command(Command::Monitor(MonitorCommand::QueryQmpSchema))) => {
                self.answer(Ok(schema()), id_text, band);
            }
            Ok(Invocation::Command(Command::Monitor(command))) => {
                self.perform(id_text, band, context, |executor| command.execute(executor));
            }
            Ok(Invocation::Subscribe { event, device }) => {
                self.perform(id_text, band, context, |executor| {
                    let id = needs_id(id_text)?;
                    executor.listen(&event, id, device).map(|()| Empty {})
                });
            }
            Ok(Invocation::Unsubscribe { event }) => {
                self.perform(id_text, band, context, |executor| {
                    let id = needs_id(id_text)?;
                    executor.unlisten(id, Some(&event)).map(|()| Empty {})
                });
            }
            Ok(Invocation::Command(Command::Machine(command))) => {
                self.ask(command, id, band, context);
            }
        }
    }

    /// Passes a command to the machine.
    fn ask(
        &mut self,
        command: MachineCommand,
        id: Option<Box<RawValue>>,
        band: Band,
        context: &mut ServerContext<'_>,
    ) {
        // The answer is taken first: events raised before it are in the inbox by then, and must precede it.
        if let Some(answer) = context.machine.answer(&command)
            && context.inbox.is_empty()
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
        let reply = context.inbox.reply(ticket);
        context.machine.submit(command, reply);
    }

    /// Executes a monitor command, and answers it.
    fn perform<T: Serialize>(
        &mut self,
        id: Option<&RawValue>,
        band: Band,
        context: &mut ServerContext<'_>,
        action: impl FnOnce(&mut Executor<'_>) -> Result<T, CommandError>,
    ) {
        let mut executor = self.executor(context);
        let result = action(&mut executor).map_err(|error| Stage::Execution.failure(error));
        let initial = executor.initial;
        self.answer(result.as_ref(), id, band);
        match self.waiting.front_mut() {
            // Its answer is sent with those of its batch.
            Some(first) if band == Band::In && first.batch.is_some() => {
                first.initial.extend(initial);
            }
            _ => {
                if let Some(handle) = initial {
                    self.executor(context).tell_initial(handle);
                }
            }
        }
    }

    fn executor<'a>(&'a mut self, context: &'a mut ServerContext<'_>) -> Executor<'a> {
        Executor {
            session: self.id,
            protocol: self.protocol,
            negotiation: &mut self.negotiation,
            output: &mut self.output,
            registry: context.registry,
            machine: context.machine,
            standing: context.standing,
            initial: None,
        }
    }

    /// Whether a batch may continue: its answers are buffered until its end, and bounded.
    fn has_room(&self, band: Band) -> Result<(), Failure> {
        let batch = self.waiting.front().and_then(|first| first.batch.as_ref());
        if band == Band::In && batch.is_some_and(|answers| !answers.has_room(self.output_limit)) {
            let message = format!(
                "The answers of a batch can have {} bytes together at most, and as many as clients that do not read leave",
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
            (Some(answers), Ok(answer)) => answers.push(&answer),
            (_, answer) => self.say(answer.map(|mut answer| {
                answer.extend_from_slice(LINE_END);
                answer
            })),
        }
    }

    pub(super) fn say(&mut self, line: serde_json::Result<Vec<u8>>) {
        match line {
            Ok(line) => self.output.answer(line),
            Err(error) => {
                // The schema's types always encode; without an answer the client would wait forever.
                tracing::error!(%error, "cannot encode an answer");
                self.broken = true;
            }
        }
    }
}

fn needs_id(id: Option<&RawValue>) -> Result<&RawValue, CommandError> {
    id.ok_or_else(|| CommandError::generic("QMP input lacks member 'id'"))
}

/// What a call means at this point of a session.
fn invocation(
    call: Call,
    band: Band,
    protocol: Protocol,
    negotiation: &Negotiation,
) -> Result<Invocation, Failure> {
    match call {
        Call::Command {
            band: Band::Out, ..
        } if !negotiation.has(QMPCapability::Oob) => {
            Err(Stage::Request.failure(unexpected_member("exec-oob")))
        }
        Call::Command {
            name, arguments, ..
        } => may_execute(&name, band, protocol, negotiation)
            .and_then(|()| Command::decode(&name, read_arguments(arguments.as_deref())?))
            .map(Invocation::Command)
            .map_err(|error| Stage::Command.failure(error)),
        Call::Subscribe { event, arguments } => {
            may_subscribe("subscribe", negotiation)?;
            let device =
                device_of(arguments.as_deref()).map_err(|error| Stage::Command.failure(error))?;
            Ok(Invocation::Subscribe { event, device })
        }
        Call::Unsubscribe { event } => {
            may_subscribe("unsubscribe", negotiation)?;
            Ok(Invocation::Unsubscribe { event })
        }
    }
}

fn may_subscribe(member: &str, negotiation: &Negotiation) -> Result<(), Failure> {
    if !negotiation.complete {
        return Err(Stage::Command.failure(negotiate_first()));
    }
    if !negotiation.has(QMPCapability::Subscribe) {
        return Err(Stage::Request.failure(unexpected_member(member)));
    }
    Ok(())
}

fn may_execute(
    name: &str,
    band: Band,
    protocol: Protocol,
    negotiation: &Negotiation,
) -> Result<(), CommandError> {
    let negotiates = matches!(name, "qmp_capabilities" | "disable-default-events");
    if negotiates && protocol != Protocol::Qmp {
        return Err(CommandError::command_not_found(name));
    }
    if negotiates && negotiation.complete {
        let message = "Capabilities negotiation is already complete, command ignored";
        return Err(CommandError::new(ErrorClass::CommandNotFound, message));
    }
    if !negotiates && !negotiation.complete {
        return Err(negotiate_first());
    }
    match band {
        Band::In => Ok(()),
        Band::Out => out_of_band(name),
    }
}

fn negotiate_first() -> CommandError {
    let message = "Expecting capabilities negotiation with 'qmp_capabilities'";
    CommandError::new(ErrorClass::CommandNotFound, message)
}

/// Checks that a command may be executed out of band. An unknown command is refused later.
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
    let root = Path::ROOT;
    let arguments = Value::Object(read_arguments(arguments)?);
    let mut members = Members::open(arguments, &root)?;
    let device = members.optional("device")?;
    members.close()?;
    Ok(device)
}
