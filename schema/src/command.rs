//! Types that every command uses, whatever the schema defines.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CommandError, Decode, Members, Path};

/// The arguments of a request, unchecked.
pub type Arguments = Map<String, Value>;

/// An object without members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

impl Decode for Empty {
    fn decode(value: Value, path: &Path<'_>) -> Result<Self, CommandError> {
        Members::open(value, path)?.close().map(|()| Self {})
    }
}

/// The only value of QAPI's `null`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Null;

/// An entry of the table of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandEntry {
    /// The command's name on the wire.
    pub name: &'static str,
    /// Who executes it.
    pub owner: CommandOwner,
    /// Whether the command may be executed out of band.
    pub allow_oob: bool,
}

/// Who executes a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOwner {
    /// The machine's thread.
    Machine,
    /// The monitor, immediately.
    Monitor,
}

/// Decodes the arguments of a command that takes some.
pub(crate) fn arguments<T: Decode>(arguments: Arguments) -> Result<T, CommandError> {
    T::decode(Value::Object(arguments), &Path::ROOT)
}

/// Refuses arguments to a command that takes none.
pub(crate) fn no_arguments(arguments: Arguments) -> Result<(), CommandError> {
    Members::open(Value::Object(arguments), &Path::ROOT)?.close()
}

/// The arguments of an accessor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessorArguments {
    /// Connects to the events of this device only.
    pub device: Option<String>,
    /// Replays the current state to the new connection.
    pub initial: bool,
}

/// Decodes the arguments of an accessor. `takes_device`: its events name a device.
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
