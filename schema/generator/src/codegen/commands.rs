//! Commands: arguments, owner, answer, and the dispatch of a request.

use std::fmt::Write as _;

use super::Owners;
use super::Schema;
use super::accessor;
use super::documentation::write_doc;
use super::types::write_struct;
use crate::definition::{Command, Data, Definition};
use crate::error::SchemaError;
use crate::name;

/// Who executes a command.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Machine,
    Monitor,
}

impl Owner {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Machine => "Machine",
            Self::Monitor => "Monitor",
        }
    }
}

/// The Rust type of the arguments that a command defines itself.
pub(super) fn arguments_type(command: &str) -> String {
    format!("{}Arguments", name::camel(command))
}

/// Refuses a deferred command of the monitor: the monitor's thread does not wait.
pub(super) fn check(schema: &Schema<'_>, owners: &Owners) -> Result<(), SchemaError> {
    let mut commands = schema.commands();
    match commands.find(|(d, command)| command.coroutine && owner(owners, d) == Owner::Monitor) {
        None => Ok(()),
        Some((definition, _)) => {
            let name = &definition.name;
            let message =
                format!("'{name}' is answered by the monitor, and cannot be a 'coroutine'");
            Err(definition.location.error(message))
        }
    }
}

/// Writes the commands' argument types, both command traits with their enums, and `Command`.
pub(super) fn write(schema: &Schema<'_>, owners: &Owners, out: &mut String) {
    for (definition, command) in schema.commands() {
        if let Data::Members(members) = &command.data {
            let members: Vec<_> = members.iter().map(|member| (definition, member)).collect();
            write_struct(
                schema,
                definition,
                &arguments_type(&definition.name),
                &members,
                out,
            );
        }
    }
    let owner = |definition: &Definition| owner(owners, definition);
    for of in [Owner::Machine, Owner::Monitor] {
        let commands: Vec<_> = schema
            .commands()
            .filter(|(definition, _)| owner(definition) == of)
            .collect();
        write_trait(schema, of, &commands, out);
        write_enum(of, &commands, out);
        write_return(schema, of, &commands, out);
        write_execute(schema, of, &commands, out);
    }
    write_decode(schema, owner, out);
    write_table(schema, owner, out);
}

/// The owner of a command: the module that defines it decides.
pub(super) fn owner(owners: &Owners, definition: &Definition) -> Owner {
    if owners.monitor.contains(&definition.module) {
        Owner::Monitor
    } else {
        Owner::Machine
    }
}

/// The Rust type of a command's arguments, if it has any.
pub(super) fn data_type(definition: &Definition, command: &Command) -> Option<String> {
    match &command.data {
        Data::Empty => None,
        Data::Members(_) => Some(arguments_type(&definition.name)),
        Data::Named(name, _) => Some(name.clone()),
    }
}

/// The Rust type of a command's answer.
pub(super) fn return_type(schema: &Schema<'_>, command: &Command) -> String {
    command
        .returns
        .as_ref()
        .map_or_else(|| "()".to_owned(), |of| schema.rust_type(of))
}

fn write_trait(
    schema: &Schema<'_>,
    of: Owner,
    commands: &[(&Definition, &Command)],
    out: &mut String,
) {
    let (name, who) = match of {
        Owner::Machine => ("MachineCommands", "machine executes"),
        Owner::Monitor => ("MonitorCommands", "monitor answers itself"),
    };
    let _ = writeln!(
        out,
        "/// The commands that the {who}, a method each.\npub trait {name} {{"
    );
    for (definition, command) in commands {
        write_doc(out, definition.doc.as_ref(), &definition.name);
        // A documentation's errors have a heading of their own; where it has none, Rust's lints still require the heading.
        let says_errors = definition
            .doc
            .as_ref()
            .is_some_and(|doc| doc.errors.is_some());
        if !command.coroutine && !says_errors {
            let _ = writeln!(
                out,
                "    ///\n    /// # Errors\n    ///\n    /// What the command fails with."
            );
        }
        let arguments = data_type(definition, command)
            .map(|data| format!(", arguments: {data}"))
            .unwrap_or_default();
        let returns = return_type(schema, command);
        let method = name::snake(&definition.name);
        let signature = if command.coroutine {
            format!("fn {method}(&mut self{arguments}, reply: crate::Reply<{returns}>)")
        } else {
            format!("fn {method}(&mut self{arguments}) -> Result<{returns}, crate::CommandError>")
        };
        let _ = writeln!(out, "    {signature};\n");
    }
    if of == Owner::Monitor {
        let _ = writeln!(
            out,
            "    /// Connects to a signal, and returns the connection's handle.\n    ///\n    /// # Errors\n    ///\n    /// No device has the name that the arguments have, or the session holds too many connections.\n    fn get_event(&mut self, signal: SignalName, arguments: crate::AccessorArguments) -> Result<i64, crate::CommandError>;"
        );
    }
    let _ = writeln!(out, "}}\n");
}

fn write_enum(of: Owner, commands: &[(&Definition, &Command)], out: &mut String) {
    let (owner, who) = match of {
        Owner::Machine => ("Machine", "machine executes"),
        Owner::Monitor => ("Monitor", "monitor answers itself"),
    };
    let _ = writeln!(
        out,
        "/// A command that the {who}, with its arguments checked.\n#[derive(Clone, Debug, PartialEq)]\npub enum {owner}Command {{"
    );
    for (definition, command) in commands {
        write_doc(out, definition.doc.as_ref(), &definition.name);
        // What QEMU's generator passes by pointer is large: boxing keeps the enum small.
        let holds = data_type(definition, command).map(|data| match definition.boxed {
            true => format!("Box<{data}>"),
            false => data,
        });
        write_variant(&definition.name, holds, out);
    }
    if of == Owner::Monitor {
        let _ = writeln!(
            out,
            "    /// The accessor of a signal.\n    GetEvent {{\n        /// The signal to connect to.\n        signal: SignalName,\n        /// Its arguments.\n        arguments: crate::AccessorArguments,\n    }},"
        );
    }
    let _ = writeln!(out, "}}\n");
}

fn write_return(
    schema: &Schema<'_>,
    of: Owner,
    commands: &[(&Definition, &Command)],
    out: &mut String,
) {
    let owner = of.name();
    let _ = writeln!(
        out,
        "/// What a [`{owner}Command`] answers with.\n#[derive(Clone, Debug, PartialEq, serde::Serialize)]\n#[serde(untagged)]\npub enum {owner}Return {{\n    /// Nothing: an object without members.\n    Empty(crate::Empty),"
    );
    let answering = commands.iter().filter(|(_, c)| c.returns.is_some());
    for (definition, command) in answering {
        let _ = writeln!(out, "    /// What `{}` answers.", definition.name);
        write_variant(&definition.name, Some(return_type(schema, command)), out);
    }
    if of == Owner::Monitor {
        let _ = writeln!(
            out,
            "    /// The handle that an accessor answers.\n    GetEvent(i64),"
        );
    }
    let _ = writeln!(out, "}}\n");
}

fn write_variant(command: &str, holds: Option<String>, out: &mut String) {
    let holds = holds.map(|of| format!("({of})")).unwrap_or_default();
    let _ = writeln!(out, "    {}{holds},", name::camel(command));
}

/// How the machine executes a command, in the generated code.
const EXECUTE_AND_REPLY: &str = r"
    /// Executes it. A command that takes time keeps the reply until it is done; any other is answered when this returns.
    pub fn execute(self, commands: &mut impl MachineCommands, reply: crate::Reply<MachineReturn>) {
";

/// How the monitor executes a command, in the generated code.
const EXECUTE: &str = r"
    /// Executes it.
    ///
    /// # Errors
    ///
    /// What the command fails with.
    pub fn execute(self, commands: &mut impl MonitorCommands) -> Result<MonitorReturn, crate::CommandError> {
";

fn write_execute(
    schema: &Schema<'_>,
    of: Owner,
    commands: &[(&Definition, &Command)],
    out: &mut String,
) {
    let owner = of.name();
    let _ = writeln!(
        out,
        "impl {owner}Command {{\n    /// Its name on the wire; for an accessor, that of the signal it connects to.\n    #[must_use]\n    pub const fn name(&self) -> &'static str {{"
    );
    write_dispatch(
        commands,
        "_",
        |definition, _| format!("\"{}\"", definition.name),
        (of == Owner::Monitor).then_some("Self::GetEvent { signal, .. } => signal.accessor()"),
        out,
    );
    let execute = match of {
        Owner::Machine => EXECUTE_AND_REPLY,
        Owner::Monitor => EXECUTE,
    };
    let _ = writeln!(out, "{execute}");
    write_dispatch(
        commands,
        "arguments",
        |definition, command| execution(schema, of, definition, command),
        (of == Owner::Monitor).then_some(
            "Self::GetEvent { signal, arguments } => commands.get_event(signal, arguments).map(MonitorReturn::GetEvent)",
        ),
        out,
    );
    let _ = writeln!(out, "}}\n");
}

/// Writes the body of a method that matches on the command. `binding` is bound to the command's data; `accessor` is the
/// arm of all accessors.
fn write_dispatch(
    commands: &[(&Definition, &Command)],
    binding: &str,
    value: impl Fn(&Definition, &Command) -> String,
    accessor: Option<&str>,
    out: &mut String,
) {
    let _ = writeln!(out, "        match self {{");
    for (definition, command) in commands {
        let variant = name::camel(&definition.name);
        let pattern = data_type(definition, command)
            .map(|_| format!("({binding})"))
            .unwrap_or_default();
        let value = value(definition, command);
        let _ = writeln!(out, "            Self::{variant}{pattern} => {value},");
    }
    if let Some(accessor) = accessor {
        let _ = writeln!(out, "            {accessor},");
    }
    let _ = writeln!(out, "        }}\n    }}\n");
}

/// The call of a command's method, with its result as a variant of the owner's return type.
fn execution(schema: &Schema<'_>, of: Owner, definition: &Definition, command: &Command) -> String {
    let owner = of.name();
    let method = name::snake(&definition.name);
    let argument = match data_type(definition, command) {
        None => None,
        Some(_) if definition.boxed => Some("*arguments".to_owned()),
        Some(_) => Some("arguments".to_owned()),
    };
    let wrap = match return_type(schema, command).as_str() {
        "()" => format!("|()| {owner}Return::Empty(crate::Empty {{}})"),
        _ => format!("{owner}Return::{}", name::camel(&definition.name)),
    };
    let reply = command.coroutine.then(|| format!("reply.map({wrap})"));
    let parameters: Vec<_> = argument.into_iter().chain(reply).collect();
    let call = format!("commands.{method}({})", parameters.join(", "));
    match of {
        _ if command.coroutine => call,
        Owner::Machine => format!("reply.send({call}.map({wrap}))"),
        Owner::Monitor => format!("{call}.map({wrap})"),
    }
}

fn write_decode(schema: &Schema<'_>, owner: impl Fn(&Definition) -> Owner, out: &mut String) {
    let _ = writeln!(
        out,
        "/// A command of the schema, with its arguments checked.\n#[derive(Clone, Debug, PartialEq)]\npub enum Command {{\n    /// One that the machine executes.\n    Machine(MachineCommand),\n    /// One that the monitor answers itself.\n    Monitor(MonitorCommand),\n}}\n"
    );
    let _ = writeln!(
        out,
        "impl Command {{\n    /// Makes a command of its name and its arguments.\n    ///\n    /// # Errors\n    ///\n    /// There is no such command, or its arguments are not what the schema says.\n    pub fn decode(name: &str, arguments: crate::Arguments) -> Result<Self, crate::CommandError> {{\n        match name {{"
    );
    for (definition, command) in schema.commands() {
        let variant = name::camel(&definition.name);
        let owner = owner(definition).name();
        let made = match data_type(definition, command) {
            Some(_) if definition.boxed => format!(
                "Ok(Self::{owner}({owner}Command::{variant}(Box::new(crate::arguments(arguments)?))))"
            ),
            Some(_) => format!(
                "Ok(Self::{owner}({owner}Command::{variant}(crate::arguments(arguments)?)))"
            ),
            None => format!(
                "crate::no_arguments(arguments).map(|()| Self::{owner}({owner}Command::{variant}))"
            ),
        };
        let _ = writeln!(out, "            \"{}\" => {made},", definition.name);
    }
    for (event, data) in schema.signals() {
        let signal = name::camel(&event.name);
        let accessor = name::accessor(&event.name);
        let takes_device = schema.device(event, data).is_some();
        let _ = writeln!(
            out,
            "            \"{accessor}\" => crate::accessor_arguments(arguments, {takes_device}).map(|arguments| Self::Monitor(MonitorCommand::GetEvent {{ signal: SignalName::{signal}, arguments }})),"
        );
    }
    let _ = writeln!(
        out,
        "            _ => Err(crate::CommandError::command_not_found(name)),\n        }}\n    }}\n}}\n"
    );
}

fn write_table(schema: &Schema<'_>, owner: impl Fn(&Definition) -> Owner, out: &mut String) {
    let mut rows: Vec<(String, Owner, bool)> = schema
        .commands()
        .map(|(definition, command)| {
            (
                definition.name.clone(),
                owner(definition),
                command.allow_oob,
            )
        })
        .chain(
            schema
                .signals()
                .map(|(e, _)| (name::accessor(&e.name), Owner::Monitor, accessor::ALLOW_OOB)),
        )
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let _ = writeln!(
        out,
        "/// Every command, accessors included, sorted by name.\npub const COMMANDS: &[crate::CommandEntry] = &["
    );
    for (name, owner, allow_oob) in rows {
        let owner = owner.name();
        let _ = writeln!(
            out,
            "    crate::CommandEntry {{ name: \"{name}\", owner: crate::CommandOwner::{owner}, allow_oob: {allow_oob} }},"
        );
    }
    let _ = writeln!(out, "];");
}
