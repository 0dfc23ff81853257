//! The object model of the capability "class-hints": signals as properties of objects, and objects with an identity in
//! answers (docs/protocol.md, section 8).

use faultvisor_schema::{BlockInfo, CommandError, MachineReturn, SignalName};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::identity::Handle;

const CLASS: &str = "__jsonclass__";
const BLOCK_DEVICE: &str = "BlockDevice";
const MACHINE: &str = "Machine";
/// The class of connections.
pub(crate) const CONNECTION: &str = "Connection";

/// A name of the schema in lower case with dashes.
pub(crate) fn dashed(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// A signal's name as a property of its object.
pub(crate) fn signal(signal: SignalName) -> String {
    let name = dashed(signal.name());
    match name.strip_prefix("block-") {
        Some(rest) if signal.has_device() => rest.to_owned(),
        _ => name,
    }
}

/// An object with signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Object {
    BlockDevice(String),
    Machine,
}

impl Object {
    /// Parses an object's identity. Whether the device exists is up to the machine.
    pub(crate) fn parse(value: Value) -> Result<Self, CommandError> {
        let (class, id) = identity(value, "obj")?;
        match (class.as_str(), id) {
            (MACHINE, None) => Ok(Self::Machine),
            (MACHINE, Some(_)) => Err(CommandError::generic("Parameter 'obj.id' is unexpected")),
            (BLOCK_DEVICE, Some(Value::String(id))) => Ok(Self::BlockDevice(id)),
            (BLOCK_DEVICE, None) => Err(CommandError::generic("Parameter 'obj.id' is missing")),
            (BLOCK_DEVICE, Some(_)) => Err(CommandError::generic(
                "Invalid parameter type for 'obj.id', expected: string",
            )),
            _ => Err(CommandError::generic(format!(
                "Parameter 'obj.{CLASS}' does not accept value '{class}'"
            ))),
        }
    }

    /// The name of the device, if it is one.
    pub(crate) fn device(&self) -> Option<&str> {
        match self {
            Self::BlockDevice(id) => Some(id),
            Self::Machine => None,
        }
    }

    /// The signal of that name, and its device.
    pub(crate) fn signal(self, name: &str) -> Result<(SignalName, Option<String>), CommandError> {
        let of_device = matches!(self, Self::BlockDevice(_));
        let found = SignalName::ALL
            .iter()
            .copied()
            .find(|candidate| candidate.has_device() == of_device && signal(*candidate) == name)
            .ok_or_else(|| {
                let message = format!("Parameter 'signal' does not accept value '{name}'");
                CommandError::generic(message)
            })?;
        let device = match self {
            Self::BlockDevice(id) => Some(id),
            Self::Machine => None,
        };
        Ok((found, device))
    }
}

/// The identity of a connection.
pub(crate) fn connection(handle: Handle) -> Value {
    json!({CLASS: CONNECTION, "id": handle.tag()})
}

/// Parses the identity of a connection.
pub(crate) fn parse_connection(value: Value) -> Result<Handle, CommandError> {
    let (class, id) = identity(value, "connection")?;
    if class != CONNECTION {
        let message = format!("Parameter 'connection.{CLASS}' does not accept value '{class}'");
        return Err(CommandError::generic(message));
    }
    match id {
        None => Err(CommandError::generic(
            "Parameter 'connection.id' is missing",
        )),
        Some(id) => match id.as_i64() {
            Some(tag) => Ok(Handle::from_tag(tag)),
            None => Err(CommandError::generic(
                "Invalid parameter type for 'connection.id', expected: integer",
            )),
        },
    }
}

/// The class and the id of an object without other members.
fn identity(value: Value, parameter: &str) -> Result<(String, Option<Value>), CommandError> {
    let Value::Object(mut members) = value else {
        let message = format!("Invalid parameter type for '{parameter}', expected: object");
        return Err(CommandError::generic(message));
    };
    let class = match members.remove(CLASS) {
        Some(Value::String(class)) => class,
        Some(_) => {
            let message =
                format!("Invalid parameter type for '{parameter}.{CLASS}', expected: string");
            return Err(CommandError::generic(message));
        }
        None => {
            let message = format!("Parameter '{parameter}.{CLASS}' is missing");
            return Err(CommandError::generic(message));
        }
    };
    let id = members.remove("id");
    match members.keys().next() {
        None => Ok((class, id)),
        Some(name) => Err(CommandError::generic(format!(
            "Parameter '{parameter}.{name}' is unexpected"
        ))),
    }
}

/// An answer of the machine, with the identities of its objects.
pub(crate) struct Hinted<'a>(pub(crate) &'a MachineReturn);

impl Serialize for Hinted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            MachineReturn::QueryBlock(disks) => serializer.collect_seq(disks.iter().map(hinted)),
            answer => answer.serialize(serializer),
        }
    }
}

/// A disk with its identity.
#[derive(Serialize)]
struct HintedDisk<'a> {
    #[serde(rename = "__jsonclass__")]
    class: &'static str,
    id: &'a str,
    #[serde(flatten)]
    disk: &'a BlockInfo,
}

fn hinted(disk: &BlockInfo) -> HintedDisk<'_> {
    HintedDisk {
        class: BLOCK_DEVICE,
        id: &disk.device,
        disk,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_called_as_properties_of_their_objects() {
        assert_eq!(signal(SignalName::BlockIoError), "io-error");
        assert_eq!(signal(SignalName::Stop), "stop");
        let (found, device) = Object::BlockDevice("disk0".to_owned())
            .signal("io-error")
            .unwrap();
        assert_eq!(found, SignalName::BlockIoError);
        assert_eq!(device.as_deref(), Some("disk0"));
        assert!(Object::Machine.signal("io-error").is_err());
        assert!(Object::Machine.signal("STOP").is_err());
    }

    #[test]
    fn an_invalid_connection_is_refused_with_the_reason() {
        let refused = |value: Value| parse_connection(value).unwrap_err().desc;
        assert_eq!(
            refused(json!(33)),
            "Invalid parameter type for 'connection', expected: object"
        );
        assert_eq!(
            refused(json!({"id": 33})),
            "Parameter 'connection.__jsonclass__' is missing"
        );
        assert_eq!(
            refused(json!({"__jsonclass__": "Machine", "id": 33})),
            "Parameter 'connection.__jsonclass__' does not accept value 'Machine'"
        );
        assert_eq!(
            refused(json!({"__jsonclass__": "Connection", "id": "33"})),
            "Invalid parameter type for 'connection.id', expected: integer"
        );
        assert_eq!(
            refused(json!({"__jsonclass__": "Connection", "id": 33, "x": 1})),
            "Parameter 'connection.x' is unexpected"
        );
    }
}
