//! What can go wrong between a client and its server.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

/// What kind of failure a server says it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// Any failure that needs no kind of its own.
    GenericError,
    /// There is no such command, or not now.
    CommandNotFound,
    /// There is no such device.
    DeviceNotFound,
    /// The device is there, but not in use.
    DeviceNotActive,
    /// The host's KVM cannot do what this needs.
    KVMMissingCap,
    /// A parameter is of the right type, and names nothing that is there.
    InvalidParameterValue,
    /// One that is not known here.
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

/// Why a call failed. What is shown of what a server said is cut, and without control characters.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address is none that can be connected to.
    #[error("'{address}' is no address of a server: {why}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody could be connected to.
    #[error("cannot connect to '{address}': {source}{}", hint(source.kind()))]
    Connect {
        /// As it was given.
        address: String,
        /// What the system said last.
        source: Arc<io::Error>,
    },
    /// A program could not be started.
    #[error("cannot start '{program}': {source}")]
    Spawn {
        /// Its name.
        program: String,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// Who was connected to says what no server of this protocol says first.
    #[error("'{address}' is no QMP server: it said '{said}' instead of a greeting")]
    NotQmp {
        /// As it was given.
        address: String,
        /// The start of what it said.
        said: String,
    },
    /// The server hung up before it had said who it is, or while it was agreed on how to go on.
    #[error("'{address}' hung up {moment}{}", hung_up(*.moment))]
    HungUp {
        /// As it was given.
        address: String,
        /// When.
        moment: Moment,
    },
    /// Nothing was said for too long by who was connected to.
    #[error(
        "'{address}' sent no greeting within {within:?}; a monitor that speaks QMP, and not JSON-RPC, does, unless it serves another client (QEMU has one at a time)"
    )]
    NoGreeting {
        /// As it was given.
        address: String,
        /// How long was waited.
        within: Duration,
    },
    /// The command failed.
    #[error("{class}: {desc}")]
    Command {
        /// Its name.
        command: String,
        /// What kind of failure it is.
        class: ErrorClass,
        /// What the server says of it.
        desc: String,
    },
    /// A command's arguments cannot be JSON.
    #[error("the arguments of '{command}' cannot be sent: {why}")]
    Arguments {
        /// The command.
        command: String,
        /// Why not.
        why: String,
    },
    /// The answer is not what the schema says that the command returns.
    #[error("the answer to '{command}' does not fit its type: {why}")]
    Reply {
        /// The command.
        command: String,
        /// What does not fit, and where.
        why: String,
    },
    /// An event is not what the schema says that it carries.
    #[error("the data of an event {event} do not fit their type: {why}")]
    Event {
        /// Its name.
        event: String,
        /// What does not fit, and where.
        why: String,
    },
    /// The server has no event of that name.
    #[error("the server has no event '{event}'")]
    EventNotFound {
        /// The name.
        event: String,
    },
    /// What was waited for did not come in time.
    #[error("no {awaited} within {within:?}")]
    TimedOut {
        /// What should have come.
        awaited: String,
        /// How long was waited.
        within: Duration,
    },
    /// The connection is at its end.
    #[error("the connection to '{address}' is closed: {why}")]
    Closed {
        /// As it was given.
        address: String,
        /// Who closed it, or what went wrong.
        why: Closing,
    },
    /// The session's process could not be waited for.
    #[error("cannot wait for the process: {source}")]
    Process {
        /// What the system said.
        source: Arc<io::Error>,
    },
}

/// When a server hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// It has said nothing at all.
    BeforeTheGreeting,
    /// Its greeting ended in the middle.
    InTheGreeting,
    /// It has sent its greeting, and not answered yet.
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

/// Why a connection is closed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Closing {
    /// The server closed it.
    ByServer,
    /// This side closed it.
    ByClient,
    /// Reading or writing failed.
    Failed(Arc<io::Error>),
    /// The server broke the protocol.
    Protocol(String),
}

impl Closing {
    /// What it means that writing failed.
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

    /// What the server said of it, if it refused a command.
    #[must_use]
    pub fn desc(&self) -> Option<&str> {
        match self {
            Self::Command { desc, .. } => Some(desc),
            _ => None,
        }
    }

    /// What the member `error` of an answer says.
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

/// What may be shown of what somebody else has sent.
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

/// What a person can do about it.
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
    fn a_class_that_is_not_known_keeps_its_name() {
        let refused = Error::refused("x", &json!({"class": "Odd", "desc": "no"}));
        assert_eq!(refused.class(), Some(&ErrorClass::Other("Odd".to_owned())));
        assert_eq!(refused.to_string(), "Odd: no");
        let refused = Error::refused("x", &json!({"class": "DeviceNotFound", "desc": "no"}));
        assert_eq!(refused.class(), Some(&ErrorClass::DeviceNotFound));
        assert_eq!(refused.desc(), Some("no"));
    }

    #[test]
    fn what_a_server_said_is_shown_without_what_a_terminal_would_do() {
        assert_eq!(excerpt("a\u{1b}[31mb\r\n"), "a\u{fffd}[31mb");
        assert_eq!(excerpt(&"x".repeat(300)).chars().count(), 201);
    }
}
