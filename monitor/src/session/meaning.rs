//! What a request means at this point of a session: whether it may be made, and what with.

use faultvisor_schema::{
    Arguments, COMMANDS, Command, CommandError, ErrorClass, Members, Path, QMPCapability,
};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Session;
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

impl Session {
    /// What a call means at this point of the session.
    pub(super) fn invocation(&self, call: Call, band: Band) -> Result<Invocation, Failure> {
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
                .map(Invocation::Command)
                .map_err(|error| Stage::Command.failure(error)),
            Call::Subscribe { event, arguments } => {
                self.may_subscribe("subscribe")?;
                let device = device_of(arguments.as_deref())
                    .map_err(|error| Stage::Command.failure(error))?;
                Ok(Invocation::Subscribe { event, device })
            }
            Call::Unsubscribe { event } => {
                self.may_subscribe("unsubscribe")?;
                Ok(Invocation::Unsubscribe { event })
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
