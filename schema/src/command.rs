//! What every command has, whatever the schema says of it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CommandError, Decode, Members, Path};

/// The arguments of a request, not yet checked.
pub type Arguments = Map<String, Value>;

/// An object without members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

impl Decode for Empty {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        Members::open(value, path)?.close().map(|()| Self {})
    }
}

/// The value that says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Null;

/// A command as the schema's table lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEntry {
    /// Its name on the wire.
    pub name: &'static str,
    /// Who executes it.
    pub owner: CommandOwner,
    /// Whether it may be executed out of band.
    pub allow_oob: bool,
}

/// Who executes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOwner {
    /// The machine, in its own thread.
    Machine,
    /// The monitor, at once.
    Monitor,
}

/// Decodes the arguments of a command that has some.
pub(crate) fn arguments<T: Decode>(arguments: Arguments) -> Result<T, CommandError> {
    T::decode(Value::Object(arguments), &Path::ROOT)
}

/// Refuses arguments to a command that has none.
pub(crate) fn no_arguments(arguments: Arguments) -> Result<(), CommandError> {
    Members::open(Value::Object(arguments), &Path::ROOT)?.close()
}

/// What an accessor can be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessorArguments {
    /// The only device to hear of.
    pub device: Option<String>,
    /// Whether the connection starts with an event for the state that things are in.
    pub initial: bool,
}

/// Decodes the arguments of an accessor. `takes_device`: its events say which device they are about.
pub(crate) fn accessor_arguments(
    arguments: Arguments,
    takes_device: bool,
) -> Result<AccessorArguments, CommandError> {
    let root = Path::ROOT;
    let mut members = Members::open(Value::Object(arguments), &root)?;
    let device = if takes_device {
        members.optional("device")?
    } else {
        None
    };
    let initial = members.optional("initial")?.unwrap_or(false);
    members.close()?;
    Ok(AccessorArguments { device, initial })
}
