//! The commands that the monitor executes itself.

use std::rc::Rc;
use std::sync::LazyLock;

use faultvisor_schema::{
    AccessorArguments, COMMANDS, CommandError, CommandInfo, ConnectArguments, DisconnectArguments,
    ErrorClass, ListenEventArguments, MonitorCommands, Null, PutEventArguments, QMPCapability,
    QmpCapabilitiesArguments, SchemaInfo, SignalName, UnlistenEventArguments, VersionInfo,
    VersionTriple, introspection,
};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::delivery::output::Output;
use crate::delivery::registry::{ConnectError, Hold, NAME_LIMIT, Registry, Wanted, spoken};
use crate::delivery::standing::Standing;
use crate::identity::{Handle, SessionId};
use crate::machine::Machine;
use crate::wire::codec::{self, ascii};
use crate::wire::event::EncodedEvent;
use crate::wire::json;
use crate::wire::objects::{self, Object};
use crate::wire::protocol::Protocol;

/// The versions of QEMU's schema and of this program.
pub(crate) fn version() -> VersionInfo {
    VersionInfo {
        qemu: VersionTriple {
            micro: 0,
            minor: 0,
            major: 10,
        },
        package: concat!("faultvisor ", env!("CARGO_PKG_VERSION")).to_owned(),
    }
}

/// The answer to `query-qmp-schema`, which is constant and long.
pub(crate) fn schema() -> &'static RawValue {
    static TEXT: LazyLock<Box<RawValue>> = LazyLock::new(|| {
        codec::encode(&introspection())
            .ok()
            .and_then(|text| String::from_utf8(text).ok())
            .and_then(|text| RawValue::from_string(text).ok())
            .unwrap_or_else(|| RawValue::NULL.to_owned())
    });
    &TEXT
}

/// The greeting's capabilities.
pub(crate) const CAPABILITIES: &[QMPCapability] = &[
    QMPCapability::Oob,
    QMPCapability::Subscribe,
    QMPCapability::ClassHints,
];

/// The state of a session's negotiation.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// Whether `qmp_capabilities` has succeeded.
    pub(crate) complete: bool,
    /// Whether the session then has default events.
    pub(crate) default_events: bool,
    /// The enabled capabilities.
    pub(crate) enabled: Vec<QMPCapability>,
}

impl Negotiation {
    /// The state at a session's start. JSON-RPC has neither negotiation nor default events.
    pub(crate) fn new(protocol: Protocol) -> Self {
        let negotiates = protocol == Protocol::Qmp;
        Self {
            complete: !negotiates,
            default_events: negotiates,
            enabled: Vec::new(),
        }
    }

    /// Whether a capability is enabled.
    pub(crate) fn has(&self, capability: QMPCapability) -> bool {
        self.enabled.contains(&capability)
    }
}

/// The context of a monitor command.
pub(crate) struct Executor<'a> {
    pub(crate) session: SessionId,
    pub(crate) protocol: Protocol,
    pub(crate) negotiation: &'a mut Negotiation,
    pub(crate) output: &'a mut Output,
    pub(crate) registry: &'a mut Registry,
    pub(crate) machine: &'a dyn Machine,
    pub(crate) standing: &'a Standing,
    /// The new connection whose state is replayed after the answer.
    pub(crate) initial: Option<Handle>,
}

impl Executor<'_> {
    /// Makes a connection that its client names, for a subscription or `listen-event`.
    pub(crate) fn listen(
        &mut self,
        event: &str,
        id: &RawValue,
        device: Option<String>,
    ) -> Result<(), CommandError> {
        let signal = signal_of(event)?;
        let wanted = self.wanted(signal, device)?;
        let name = Self::name(id)?;
        let form = self.protocol.form();
        let connected = self.registry.connect_named(wanted, form, id, name);
        self.initial = Some(connected.map_err(|error| refused(&error))?);
        Ok(())
    }

    /// Ends a connection that its client named, of this event if one is given.
    pub(crate) fn unlisten(
        &mut self,
        id: &RawValue,
        event: Option<&str>,
    ) -> Result<(), CommandError> {
        let signal = event.map(signal_of).transpose()?;
        let name = Self::name(id)?;
        let handle = self.registry.named(self.session, &name).filter(|handle| {
            let connection = self.registry.connection(*handle);
            signal.is_none() || connection.map(|connection| connection.signal) == signal
        });
        let Some(handle) = handle else {
            let name = spoken(&name);
            let message = match signal {
                None => format!("Id '{name}' is not in use"),
                Some(signal) => {
                    format!("Id '{name}' is no subscription to '{}'", signal.name())
                }
            };
            return Err(CommandError::generic(message));
        };
        self.end(handle, &Hold::Name(name));
        Ok(())
    }

    /// Replays the current state to a new connection.
    pub(crate) fn tell_initial(&mut self, handle: Handle) {
        let Some(connection) = self.registry.connection(handle) else {
            return;
        };
        let rendering = Rc::new(connection.rendering.initial());
        let signal = connection.signal;
        for (event, timestamp) in self.standing.of(signal, connection.device.as_deref()) {
            if !self.machine.is_current(&event) {
                continue;
            }
            match EncodedEvent::event(&event, timestamp) {
                Ok(event) => self.output.event(Some(handle), signal, &rendering, &event),
                Err(error) => tracing::error!(%error, "cannot encode an event"),
            }
        }
    }

    /// The canonical text of a connection's id.
    fn name(id: &RawValue) -> Result<String, CommandError> {
        // Checked before parsing.
        if id.get().len() > NAME_LIMIT {
            return Err(refused(&ConnectError::NameTooLong));
        }
        json::canonical(id)
    }

    fn wanted(&self, signal: SignalName, device: Option<String>) -> Result<Wanted, CommandError> {
        if let Some(name) = device.as_deref() {
            if !signal.has_device() {
                return Err(CommandError::generic("Parameter 'device' is unexpected"));
            }
            if !self.machine.has_device(name) {
                return Err(CommandError::device_not_found(name));
            }
        }
        Ok(Wanted {
            session: self.session,
            signal,
            device,
        })
    }

    /// Ends a connection, if the session holds it under this name.
    fn end(&mut self, handle: Handle, hold: &Hold) -> bool {
        let signal = self.registry.connection(handle).map(|held| held.signal);
        let ended = self.registry.disconnect(self.session, handle, hold);
        if ended && let Some(signal) = signal {
            self.output.close_connection(handle, signal);
        }
        ended
    }

    /// A protocol without negotiation needs no capability.
    fn needs_class_hints(&self, command: &str) -> Result<(), CommandError> {
        if self.protocol != Protocol::Qmp || self.negotiation.has(QMPCapability::ClassHints) {
            return Ok(());
        }
        let message = format!("The command {command} needs the capability 'class-hints'");
        Err(CommandError::new(ErrorClass::CommandNotFound, message))
    }
}

/// The signal of an event, spelled as in the schema or in lower case with dashes.
fn signal_of(event: &str) -> Result<SignalName, CommandError> {
    let is_called =
        |signal: &SignalName| signal.name() == event || objects::dashed(signal.name()) == event;
    SignalName::ALL
        .iter()
        .copied()
        .find(is_called)
        .ok_or_else(|| CommandError::generic(format!("There is no event '{event}'")))
}

fn refused(error: &ConnectError) -> CommandError {
    CommandError::generic(error.to_string())
}

/// A string as an id on the wire.
fn string_id(id: &str) -> Result<Box<RawValue>, CommandError> {
    RawValue::from_string(ascii(&Value::from(id).to_string()))
        .map_err(|error| CommandError::generic(error.to_string()))
}

impl MonitorCommands for Executor<'_> {
    fn qmp_capabilities(
        &mut self,
        arguments: QmpCapabilitiesArguments,
    ) -> Result<(), CommandError> {
        let wanted = arguments.enable.unwrap_or_default();
        if let Some(missing) = wanted.iter().find(|wanted| !CAPABILITIES.contains(wanted)) {
            let message = format!("Capability '{}' is not available", missing.name());
            return Err(CommandError::generic(message));
        }
        self.negotiation.enabled = wanted;
        self.negotiation.complete = true;
        Ok(())
    }

    fn query_version(&mut self) -> Result<VersionInfo, CommandError> {
        Ok(version())
    }

    fn query_commands(&mut self) -> Result<Vec<CommandInfo>, CommandError> {
        Ok(COMMANDS
            .iter()
            .map(|entry| CommandInfo {
                name: entry.name.to_owned(),
            })
            .collect())
    }

    fn query_qmp_schema(&mut self) -> Result<Vec<SchemaInfo>, CommandError> {
        Ok(introspection().to_vec())
    }

    fn disable_default_events(&mut self) -> Result<(), CommandError> {
        self.negotiation.default_events = false;
        Ok(())
    }

    fn put_event(&mut self, arguments: PutEventArguments) -> Result<(), CommandError> {
        if self.end(Handle::from_tag(arguments.tag), &Hold::Tag) {
            return Ok(());
        }
        let expected = "a valid event handle";
        Err(CommandError::invalid_parameter_value("tag", expected))
    }

    fn get_event(
        &mut self,
        signal: SignalName,
        arguments: AccessorArguments,
    ) -> Result<i64, CommandError> {
        let wanted = self.wanted(signal, arguments.device)?;
        let form = self.protocol.form();
        let handle = self
            .registry
            .connect_tagged(wanted, form)
            .map_err(|error| refused(&error))?;
        self.initial = arguments.initial.then_some(handle);
        Ok(handle.tag())
    }

    fn listen_event(&mut self, arguments: ListenEventArguments) -> Result<(), CommandError> {
        let id = string_id(&arguments.id)?;
        self.listen(&arguments.event, &id, arguments.device)
    }

    fn unlisten_event(&mut self, arguments: UnlistenEventArguments) -> Result<(), CommandError> {
        let id = string_id(&arguments.id)?;
        self.unlisten(&id, None)
    }

    fn connect(&mut self, arguments: ConnectArguments) -> Result<Value, CommandError> {
        self.needs_class_hints("connect")?;
        let object = Object::parse(arguments.obj)?;
        if let Some(device) = object.device()
            && !self.machine.has_device(device)
        {
            return Err(CommandError::device_not_found(device));
        }
        let (signal, device) = object.signal(&arguments.signal)?;
        let wanted = self.wanted(signal, device)?;
        let handle = self
            .registry
            .connect_object(wanted, self.protocol)
            .map_err(|error| refused(&error))?;
        Ok(objects::connection(handle))
    }

    fn disconnect(&mut self, arguments: DisconnectArguments) -> Result<Null, CommandError> {
        self.needs_class_hints("disconnect")?;
        let handle = objects::parse_connection(arguments.connection)?;
        if self.end(handle, &Hold::Object) {
            return Ok(Null);
        }
        let expected = "a connection of this session";
        Err(CommandError::invalid_parameter_value(
            "connection",
            expected,
        ))
    }
}
