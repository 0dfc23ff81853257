//! The commands that the monitor answers itself.

use faultvisor_schema::{
    COMMANDS, CommandError, CommandInfo, MonitorCommands, PutEventArguments, QMPCapability,
    QmpCapabilitiesArguments, SchemaInfo, Signal, VersionInfo, VersionTriple, introspection,
};

use crate::Machine;
use crate::output::Output;
use crate::registry::{Handle, Registry};
use crate::session::SessionId;

/// The version of QEMU whose schema the commands follow, and what this program is.
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

/// What the greeting offers. "oob", "subscribe" and "class-hints" have their place here once they work.
pub(crate) const CAPABILITIES: &[QMPCapability] = &[];

/// How many connections a session may hold: memory that a client takes is bounded, this too.
const CONNECTION_LIMIT: usize = 65_536;

/// How far a session is, and what it has settled.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// Whether `qmp_capabilities` has succeeded.
    pub(crate) complete: bool,
    /// Whether events arrive unasked once it has.
    pub(crate) default_events: bool,
    /// What was switched on.
    pub(crate) enabled: Vec<QMPCapability>,
}

impl Default for Negotiation {
    fn default() -> Self {
        Self {
            complete: false,
            default_events: true,
            enabled: Vec::new(),
        }
    }
}

/// What a command of the monitor's own works on.
pub(crate) struct Executor<'a> {
    pub(crate) session: SessionId,
    pub(crate) negotiation: &'a mut Negotiation,
    pub(crate) output: &'a mut Output,
    pub(crate) registry: &'a mut Registry,
    pub(crate) machine: &'a dyn Machine,
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
        let handle = Handle::from_tag(arguments.tag);
        match self.registry.disconnect(self.session, handle) {
            Some(_) => {
                self.output.close_connection(handle);
                Ok(())
            }
            None => Err(CommandError::invalid_parameter_value(
                "tag",
                "a valid event handle",
            )),
        }
    }

    fn get_event(&mut self, signal: Signal, device: Option<String>) -> Result<i64, CommandError> {
        if let Some(name) = device
            .as_deref()
            .filter(|name| !self.machine.has_device(name))
        {
            return Err(CommandError::device_not_found(name));
        }
        if self.registry.held_by(self.session) >= CONNECTION_LIMIT {
            let message = format!("A session can hold {CONNECTION_LIMIT} event handles at most");
            return Err(CommandError::generic(message));
        }
        self.registry
            .connect(self.session, signal, device)
            .map(Handle::tag)
            .ok_or_else(|| CommandError::generic("There are no event handles left"))
    }
}
