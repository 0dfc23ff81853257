//! Where to listen, as the command line says it: QEMU's syntax of `-qmp`.

use std::fmt;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::option_syntax::{nearest, split, suggestion};
use crate::protocol::Protocol;
use crate::unix_socket::PATH_LIMIT;

/// The keys that can follow an address.
const KEYS: [&str; 8] = [
    "server",
    "wait",
    "nowait",
    "protocol",
    "mode",
    "allow-remote",
    "max-clients",
    "max-output",
];

/// One place to listen, parsed from `unix:PATH`, `tcp:HOST:PORT`, `stdio`, `fd:N` or `systemd[:NAME]` and the options
/// after it.
///
/// `fd:N` is a socket that the program was started with, one that listens or one that is connected. `systemd` stands for
/// every socket that systemd passed, or those with a `FileDescriptorName=`.
///
/// ```
/// use faultvisor_monitor::ListenAddress;
///
/// let address: ListenAddress = "unix:/run/guest.sock,server=on,wait=off".parse().unwrap();
/// assert_eq!(address.to_string(), "unix:/run/guest.sock");
/// assert!("unix:/run/guest.sock,wiat=on".parse::<ListenAddress>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    pub(crate) transport: Transport,
    pub(crate) protocol: Protocol,
    pub(crate) wait: bool,
    pub(crate) allow_remote: bool,
    /// How many clients it serves at once, if not as many as the others.
    pub(crate) max_clients: Option<usize>,
    /// How many bytes a client may leave unread before events are lost to it, likewise.
    pub(crate) max_output: Option<usize>,
}

/// What carries the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    Stdio,
    /// A descriptor that the program was started with.
    Descriptor(RawFd),
    /// What systemd passed, of this name if there is one.
    Systemd(Option<String>),
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It starts with nothing that is known.
    #[error("'{0}' is no address: expected unix:PATH, tcp:HOST:PORT, stdio, fd:N or systemd")]
    UnknownTransport(String),
    /// It is meant for a version to come.
    #[error("'{0}' is not supported yet")]
    NotSupported(String),
    /// There is no descriptor after `fd:`.
    #[error("'{0}' is no descriptor: expected fd:N with a number from 3 on")]
    BadDescriptor(String),
    /// There is no path after `unix:`.
    #[error("'unix:' needs a path")]
    NoPath,
    /// A socket could not be named so.
    #[error("socket path '{path}' is too long: {length} bytes, and {PATH_LIMIT} is the most")]
    PathTooLong {
        /// The path.
        path: String,
        /// How long it is, in bytes.
        length: usize,
    },
    /// There is no port after the host.
    #[error("'tcp:{0}' needs a port: tcp:HOST:PORT")]
    NoPort(String),
    /// The port is none.
    #[error("'{0}' is no port: expected a number from 0 to 65535")]
    BadPort(String),
    /// A key that is not known.
    #[error("unknown key '{key}'{}", suggestion(nearest(.key, KEYS)))]
    UnknownKey {
        /// The key.
        key: String,
    },
    /// A key without a value that needs one, or with one that it does not take.
    #[error("'{key}' does not take '{value}': expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What it was given.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl ListenAddress {
    /// Whether the machine is to wait for the first client.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.wait
    }

    /// The unix socket that is made for it, if it is one.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.transport {
            Transport::Unix(path) => Some(path),
            _ => None,
        }
    }

    fn option(&mut self, option: &str) -> Result<(), AddressError> {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        match key {
            // That a server is meant goes without saying here; QEMU has to be told.
            "server" => {
                if !switch(key, value)? {
                    return Err(AddressError::NotSupported(option.to_owned()));
                }
            }
            "wait" => self.wait = switch(key, value)?,
            "nowait" => self.wait = !switch(key, value)?,
            "allow-remote" => self.allow_remote = switch(key, value)?,
            "mode" if value == Some("control") => {}
            "mode" => return Err(bad_value(key, value.unwrap_or_default(), "control")),
            "max-clients" => self.max_clients = Some(number(key, value)?),
            "max-output" => self.max_output = Some(number(key, value)?),
            "protocol" => self.protocol = protocol(value)?,
            _ => {
                return Err(AddressError::UnknownKey {
                    key: key.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// A key that is on or off; the bare key is on.
fn switch(key: &str, value: Option<&str>) -> Result<bool, AddressError> {
    match value {
        None | Some("on") => Ok(true),
        Some("off") => Ok(false),
        Some(value) => Err(bad_value(key, value, "on or off")),
    }
}

/// A key that takes a number from 1 on.
fn number(key: &str, value: Option<&str>) -> Result<usize, AddressError> {
    let value = value.unwrap_or_default();
    let number = value.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| bad_value(key, value, "a number from 1 on"))
}

fn protocol(value: Option<&str>) -> Result<Protocol, AddressError> {
    match value {
        Some("qmp") => Ok(Protocol::Qmp),
        Some("json-rpc") => Ok(Protocol::JsonRpc),
        value => Err(bad_value(
            "protocol",
            value.unwrap_or_default(),
            "qmp or json-rpc",
        )),
    }
}

fn bad_value(key: &str, value: &str, expected: &'static str) -> AddressError {
    AddressError::BadValue {
        key: key.to_owned(),
        value: value.to_owned(),
        expected,
    }
}

impl FromStr for ListenAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let mut parts = split(text).into_iter();
        let address = parts.next().unwrap_or_default();
        let transport = transport(&address)?;
        let mut parsed = Self {
            transport,
            protocol: Protocol::default(),
            wait: false,
            allow_remote: false,
            max_clients: None,
            max_output: None,
        };
        parts.try_for_each(|option| parsed.option(&option))?;
        Ok(parsed)
    }
}

fn transport(address: &str) -> Result<Transport, AddressError> {
    if address == "stdio" {
        return Ok(Transport::Stdio);
    }
    if let Some(number) = address.strip_prefix("fd:") {
        let descriptor = number.parse().ok().filter(|fd: &RawFd| *fd >= 3);
        return descriptor
            .map(Transport::Descriptor)
            .ok_or_else(|| AddressError::BadDescriptor(number.to_owned()));
    }
    if address == "systemd" {
        return Ok(Transport::Systemd(None));
    }
    if let Some(name) = address.strip_prefix("systemd:") {
        return Ok(Transport::Systemd(Some(name.to_owned())));
    }
    if let Some(path) = address.strip_prefix("unix:") {
        return match path.len() {
            0 => Err(AddressError::NoPath),
            length if length > PATH_LIMIT => Err(AddressError::PathTooLong {
                path: path.to_owned(),
                length,
            }),
            _ => Ok(Transport::Unix(path.into())),
        };
    }
    if let Some(rest) = address.strip_prefix("tcp:") {
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(AddressError::NoPort(rest.to_owned()));
        };
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        let port = port
            .parse()
            .map_err(|_| AddressError::BadPort(port.to_owned()))?;
        return Ok(Transport::Tcp {
            host: host.to_owned(),
            port,
        });
    }
    Err(AddressError::UnknownTransport(address.to_owned()))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Transport::Tcp { host, port } => write!(formatter, "tcp:{}", host_port(host, *port)),
            Transport::Stdio => formatter.write_str("stdio"),
            Transport::Descriptor(fd) => write!(formatter, "fd:{fd}"),
            Transport::Systemd(None) => formatter.write_str("systemd"),
            Transport::Systemd(Some(name)) => write!(formatter, "systemd:{name}"),
        }
    }
}

pub(crate) fn host_port(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ListenAddress {
        text.parse().unwrap()
    }

    fn refused(text: &str) -> String {
        text.parse::<ListenAddress>().unwrap_err().to_string()
    }

    #[test]
    fn every_transport_is_read() {
        assert_eq!(parse("stdio").transport, Transport::Stdio);
        assert_eq!(parse("unix:a,,b").transport, Transport::Unix("a,b".into()));
        let tcp = |host: &str, port| Transport::Tcp {
            host: host.to_owned(),
            port,
        };
        assert_eq!(
            parse("tcp:127.0.0.1:4444").transport,
            tcp("127.0.0.1", 4444)
        );
        assert_eq!(parse("tcp:[::1]:0").transport, tcp("::1", 0));
        assert_eq!(parse("fd:3").transport, Transport::Descriptor(3));
        assert_eq!(parse("systemd").transport, Transport::Systemd(None));
        let named = Transport::Systemd(Some("qmp".to_owned()));
        assert_eq!(parse("systemd:qmp,protocol=json-rpc").transport, named);
    }

    #[test]
    fn options_are_qemus() {
        assert!(parse("unix:a,server=on,wait=on,protocol=qmp").waits());
        assert!(!parse("unix:a,server,nowait,mode=control").waits());
        assert!(!parse("unix:a").waits());
        assert!(parse("tcp:0.0.0.0:1,allow-remote=on").allow_remote);
        let limited = parse("unix:a,max-clients=2,max-output=65536");
        assert_eq!(
            (limited.max_clients, limited.max_output),
            (Some(2), Some(65536))
        );
    }

    #[test]
    fn wrong_use_names_the_thing() {
        assert_eq!(
            refused("unix:a,wiat=on"),
            "unknown key 'wiat'; did you mean 'wait'?"
        );
        assert_eq!(refused("unix:a,zzzzzzzzz"), "unknown key 'zzzzzzzzz'");
        assert_eq!(
            refused("unix:a,wait=maybe"),
            "'wait' does not take 'maybe': expected on or off"
        );
        for none in ["", "x", "-1", "2", "99999999999"] {
            assert_eq!(
                refused(&format!("fd:{none}")),
                format!("'{none}' is no descriptor: expected fd:N with a number from 3 on")
            );
        }
        assert_eq!(
            refused("stdio,protocol=json"),
            "'protocol' does not take 'json': expected qmp or json-rpc"
        );
        assert_eq!(
            refused("unix:a,max-clients=0"),
            "'max-clients' does not take '0': expected a number from 1 on"
        );
        assert_eq!(
            refused("tcp:localhost"),
            "'tcp:localhost' needs a port: tcp:HOST:PORT"
        );
        assert_eq!(
            refused("tcp::70000"),
            "'70000' is no port: expected a number from 0 to 65535"
        );
        assert_eq!(refused("unix:"), "'unix:' needs a path");
        assert!(refused("/tmp/x").starts_with("'/tmp/x' is no address"));
        let long = format!("unix:/{}", "x".repeat(PATH_LIMIT));
        assert!(refused(&long).contains("is too long: 108 bytes"));
        assert!(long[..long.len() - 1].parse::<ListenAddress>().is_ok());
    }
}
