//! What a request means at this point of a session: whether it may be made, and what with.

use faultvisor_schema::{
    Arguments, COMMANDS, Command, CommandError, ErrorClass, Members, Path, QMPCapability,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::executor::Negotiation;
use crate::wire::json::{self, Strict};
use crate::wire::protocol::Protocol;
use crate::wire::request::{Band, Call, Failure, Stage, unexpected_member};

/// What a call comes to.
#[derive(Debug)]
pub(super) enum Invocation {
    Command(Command),
    Subscribe {
        event: String,
        device: Option<String>,
    },
    Unsubscribe {
        event: String,
    },
}

/// What a call means at this point of a session.
pub(super) fn invocation(
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
    let root = Path::ROOT;
    let arguments = Value::Object(read_arguments(arguments)?);
    let mut members = Members::open(arguments, &root)?;
    let device = members.optional("device")?;
    members.close()?;
    Ok(device)
}
