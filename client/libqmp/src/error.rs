//! Errors of a client.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

/// The class of a server's error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Any failure without a class of its own.
    GenericError,
    /// There is no such command, or not in this state.
    CommandNotFound,
    /// There is no such device.
    DeviceNotFound,
    /// The device is not in use.
    DeviceNotActive,
    /// The host's KVM cannot do it.
    KVMMissingCap,
    /// A value of the right type that names nothing.
    InvalidParameterValue,
    /// A class that is unknown here.
    Other(String),
}

impl ErrorClass {
    /// The class as it is on the wire.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::GenericError => "GenericError",
            Self::CommandNotFound => "CommandNotFound",
            Self::DeviceNotFound => "DeviceNotFound",
            Self::DeviceNotActive => "DeviceNotActive",
            Self::KVMMissingCap => "KVMMissingCap",
            Self::InvalidParameterValue => "InvalidParameterValue",
            Self::Other(name) => name,
        }
    }

    fn of(name: &str) -> Self {
        let known = [
            Self::GenericError,
            Self::CommandNotFound,
            Self::DeviceNotFound,
            Self::DeviceNotActive,
            Self::KVMMissingCap,
            Self::InvalidParameterValue,
        ];
        let found = known.into_iter().find(|class| class.name() == name);
        found.unwrap_or_else(|| Self::Other(name.to_owned()))
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A call failed. What an error shows of a server's output is cut, and has no control characters.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is malformed.
    #[error("'{address}' is no address of a server: {why}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// No connection could be made.
    #[error("cannot connect to '{address}': {source}{}", hint(source.kind()))]
    Connect {
        /// The address.
        address: String,
        /// The host's last error.
        source: Arc<io::Error>,
    },
    /// A program could not be started.
    #[error("cannot start '{program}': {source}")]
    Spawn {
        /// Its name.
        program: String,
        /// The host's error.
        source: Arc<io::Error>,
    },
    /// The peer is not a QMP server.
    #[error("'{address}' is no QMP server: it said '{said}' instead of a greeting")]
    NotQmp {
        /// The address.
        address: String,
        /// The beginning of its output.
        said: String,
    },
    /// The server closed the connection before its greeting, or during the negotiation.
    #[error("'{address}' hung up {moment}{}", hung_up(*.moment))]
    HungUp {
        /// The address.
        address: String,
        /// When it did.
        moment: Moment,
    },
    /// The peer sent nothing for too long.
    #[error(
        "'{address}' sent no greeting within {within:?}; a monitor that speaks QMP, and not JSON-RPC, does, unless it serves another client (QEMU has one at a time)"
    )]
    NoGreeting {
        /// The address.
        address: String,
        /// The limit.
        within: Duration,
    },
    /// The command failed.
    #[error("{class}: {desc}")]
    Command {
        /// Its name.
        command: String,
        /// The class of the error.
        class: ErrorClass,
        /// The server's description.
        desc: String,
    },
    /// A command's arguments cannot be converted to JSON.
    #[error("the arguments of '{command}' cannot be sent: {why}")]
    Arguments {
        /// The command.
        command: String,
        /// The reason.
        why: String,
    },
    /// The answer does not match the command's type in the schema.
    #[error("the answer to '{command}' does not fit its type: {why}")]
    Reply {
        /// The command.
        command: String,
        /// What does not match, and where.
        why: String,
    },
    /// An event's data do not match its type in the schema.
    #[error("the data of an event {event} do not fit their type: {why}")]
    Event {
        /// Its name.
        event: String,
        /// What does not match, and where.
        why: String,
    },
    /// The server has no event of that name.
    #[error("the server has no event '{event}'")]
    EventNotFound {
        /// The name.
        event: String,
    },
    /// The wait exceeded its limit.
    #[error("no {awaited} within {within:?}")]
    TimedOut {
        /// What was waited for.
        awaited: String,
        /// The limit.
        within: Duration,
    },
    /// The connection has ended.
    #[error("the connection to '{address}' is closed: {why}")]
    Closed {
        /// The address.
        address: String,
        /// Who closed it, or what failed.
        why: Closing,
    },
    /// The session's process could not be waited for.
    #[error("cannot wait for the process: {source}")]
    Process {
        /// The host's error.
        source: Arc<io::Error>,
    },
}

/// When a server closed the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before it sent anything.
    BeforeTheGreeting,
    /// Within its greeting.
    InTheGreeting,
    /// After its greeting, before it answered.
    InNegotiation,
}

impl fmt::Display for Moment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::BeforeTheGreeting => "before its greeting",
            Self::InTheGreeting => "in the middle of its greeting",
            Self::InNegotiation => "during the negotiation",
        })
    }
}

/// Why a connection has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Closing {
    /// The server closed it.
    ByServer,
    /// The client closed it.
    ByClient,
    /// Reading or writing failed.
    Failed(Arc<io::Error>),
    /// The server violated the protocol.
    Protocol(String),
}

impl Closing {
    /// The error of a failed write.
    pub(crate) fn of_writing(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Self::ByServer,
            _ => Self::Failed(error.into()),
        }
    }
}

impl fmt::Display for Closing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ByServer => formatter.write_str("the server closed it"),
            Self::ByClient => formatter.write_str("this side closed it"),
            Self::Failed(error) => error.fmt(formatter),
            Self::Protocol(what) => write!(formatter, "the server broke the protocol: {what}"),
        }
    }
}

impl Error {
    /// The class, if the server refused a command.
    #[must_use]
    pub fn class(&self) -> Option<&ErrorClass> {
        match self {
            Self::Command { class, .. } => Some(class),
            _ => None,
        }
    }

    /// The server's description, if it refused a command.
    #[must_use]
    pub fn desc(&self) -> Option<&str> {
        match self {
            Self::Command { desc, .. } => Some(desc),
            _ => None,
        }
    }

    /// An answer's member `error`.
    pub(crate) fn refused(command: &str, error: &Value) -> Self {
        let member = |name| error.get(name).and_then(Value::as_str);
        match (member("class"), member("desc")) {
            (Some(class), Some(desc)) => Self::Command {
                command: command.to_owned(),
                class: ErrorClass::of(class),
                desc: desc.to_owned(),
            },
            _ => Self::Reply {
                command: command.to_owned(),
                why: excerpt(&format!("{error} has no class and no description")),
            },
        }
    }
}

/// A peer's output, made safe to show.
pub(crate) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 200;
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut characters = text.trim_end().chars();
    let mut excerpt: String = characters.by_ref().take(LONGEST).map(printable).collect();
    if characters.next().is_some() {
        excerpt.push('…');
    }
    excerpt
}

/// Advice about an error, for people.
fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::NotFound => " (does the machine run, and with this --qmp?)",
        io::ErrorKind::ConnectionRefused => " (nobody listens there; has the machine ended?)",
        io::ErrorKind::PermissionDenied => {
            " (the socket belongs to another user, or its directory is closed to this one)"
        }
        io::ErrorKind::WouldBlock => {
            " (too many wait for it already; does it hang, or take one client at a time?)"
        }
        _ => "",
    }
}

fn hung_up(moment: Moment) -> &'static str {
    match moment {
        Moment::BeforeTheGreeting => {
            " (has it as many clients as it takes, or is it no QMP server?)"
        }
        Moment::InTheGreeting | Moment::InNegotiation => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_unknown_class_keeps_its_name() {
        let refused = Error::refused("x", &json!({"class": "Odd", "desc": "no"}));
        assert_eq!(refused.class(), Some(&ErrorClass::Other("Odd".to_owned())));
        assert_eq!(refused.to_string(), "Odd: no");
        let refused = Error::refused("x", &json!({"class": "DeviceNotFound", "desc": "no"}));
        assert_eq!(refused.class(), Some(&ErrorClass::DeviceNotFound));
        assert_eq!(refused.desc(), Some("no"));
    }

    #[test]
    fn a_servers_output_is_shown_without_control_characters() {
        assert_eq!(excerpt("a\u{1b}[31mb\r\n"), "a\u{fffd}[31mb");
        assert_eq!(excerpt(&"x".repeat(300)).chars().count(), 201);
    }
}
