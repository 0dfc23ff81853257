//! Listen addresses of the command line, in the syntax of QEMU's `-qmp`.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::option_syntax::{self, OptionError, Part, parts};
use crate::transport::unix_socket::PATH_LIMIT;
use crate::wire::protocol::Protocol;

/// The keys that an address can have.
const KEYS: [&str; 12] = [
    "path",
    "ipv4",
    "ipv6",
    "to",
    "server",
    "wait",
    "nodelay",
    "protocol",
    "mode",
    "allow-remote",
    "max-clients",
    "max-output",
];

/// Keys of QEMU's sockets that can only be off here, with the alternative.
const OFF_ONLY: [(&str, &str); 8] = [
    ("telnet", "clients speak QMP on the bare socket"),
    ("tn3270", "clients speak QMP on the bare socket"),
    ("websocket", "clients speak QMP on the bare socket"),
    ("mux", "each --qmp has a socket of its own"),
    ("abstract", "use the path of a file, which has an owner"),
    ("keep-alive", "leave it out"),
    ("logappend", "leave it out"),
    ("delay", "answers are sent at once: use nodelay=on"),
];

/// Keys of QEMU's sockets that are not supported here, with the alternative.
const NEVER: [(&str, &str); 8] = [
    ("tls-creds", "forward a unix socket by ssh(1)"),
    ("tls-authz", "forward a unix socket by ssh(1)"),
    ("logfile", "record what a client says at the client"),
    ("reconnect", "clients connect to Faultvisor: use server=on"),
    (
        "reconnect-ms",
        "clients connect to Faultvisor: use server=on",
    ),
    ("pretty", "answers are single lines"),
    ("id", "leave it out"),
    ("fd", "use fd:N instead of unix: or tcp:"),
];

/// One place to listen, parsed from `unix:PATH`, `tcp:HOST:PORT`, `stdio`, `fd:N` or `systemd[:NAME]` and the options
/// after it.
///
/// `fd:N` is an inherited socket, listening or connected. `systemd` stands for every socket that systemd passed, or
/// those with a `FileDescriptorName=`.
///
/// QEMU's options have QEMU's meaning: `server` waits for the first client unless `wait=off` follows. Without `server`,
/// where QEMU would connect, Faultvisor listens and does not wait.
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
    pub(crate) endpoint: Endpoint,
    pub(crate) protocol: Protocol,
    pub(crate) wait: Wait,
    /// Whether `wait` was given explicitly.
    wait_given: bool,
    pub(crate) allow_remote: bool,
    pub(crate) family: Family,
    /// The last port to try, if the ports from the first on are in use.
    pub(crate) last_port: Option<u16>,
    /// The maximum number of clients served at once; none for the monitor's default.
    pub(crate) max_clients: Option<usize>,
    /// The unread output in bytes above which a client loses events; none for the monitor's default.
    pub(crate) max_output: Option<usize>,
}

/// Whether the machine is to wait for the first client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    Yes,
    /// As QEMU does where `server` is given without `wait`.
    AsQemu,
}

/// The address families to listen on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Family {
    pub(crate) ipv4: Option<bool>,
    pub(crate) ipv6: Option<bool>,
}

impl Family {
    /// Whether an address is of a requested family, or of one that is not excluded where none is requested.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        let (this, other) = match address {
            IpAddr::V4(_) => (self.ipv4, self.ipv6),
            IpAddr::V6(_) => (self.ipv6, self.ipv4),
        };
        this.unwrap_or(other != Some(true))
    }
}

/// What carries the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Unix(PathBuf),
    Tcp {
        host: String,
        port: u16,
    },
    Stdio,
    /// An inherited descriptor.
    Descriptor(RawFd),
    /// The sockets that systemd passed, of this name if one is given.
    Systemd(Option<String>),
}

/// Why an address cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// The address has an unknown prefix.
    #[error("'{0}' is no address: expected unix:PATH, tcp:HOST:PORT, stdio, fd:N or systemd")]
    UnknownTransport(String),
    /// A QEMU option that is not supported here.
    #[error("'{option}' is not supported: {instead}")]
    NotSupported {
        /// The option.
        option: String,
        /// What to do.
        instead: &'static str,
    },
    /// As in QEMU, a path with an equals sign looks like a key with a value.
    #[error("a path that has a '=' is written 'unix:path={0}'")]
    PathLikeKey(String),
    /// A key of another transport.
    #[error("'{key}' is for {transport} only")]
    OtherTransport {
        /// The key.
        key: String,
        /// The transport that has it.
        transport: &'static str,
    },
    /// Both address families are excluded.
    #[error("ipv4=off and ipv6=off leave nothing to listen on")]
    NoFamily,
    /// An empty range of ports.
    #[error("'to={to}' is no port after {port}")]
    EmptyRange {
        /// The first port.
        port: u16,
        /// The last port.
        to: u16,
    },
    /// There is no descriptor after `fd:`.
    #[error("'{0}' is no descriptor: expected fd:N with a number from 3 on")]
    BadDescriptor(String),
    /// There is no path after `unix:`.
    #[error("'unix:' needs a path")]
    NoPath,
    /// The path exceeds `sun_path`.
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
    #[error(transparent)]
    Option(#[from] OptionError),
    /// A key with a missing or invalid value.
    #[error("'{key}' does not take '{value}': expected {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// The given value.
        value: String,
        /// The valid values.
        expected: &'static str,
    },
}

impl ListenAddress {
    /// Whether the machine is to wait for the first client.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.wait != Wait::No
    }

    /// The path of its unix socket, if it is one.
    #[must_use]
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.endpoint {
            Endpoint::Unix(path) => Some(path),
            _ => None,
        }
    }

    fn option(&mut self, part: &Part) -> Result<(), AddressError> {
        let option = part.text();
        let (key, value) = match part.pair() {
            Some((key, value)) => (key, Some(value)),
            None => bare(option),
        };
        if let Some((_, instead)) = NEVER.iter().find(|(never, _)| *never == key) {
            return Err(not_supported(option, instead));
        }
        if let Some((_, instead)) = OFF_ONLY.iter().find(|(off, _)| *off == key) {
            return match switch(key, value)? {
                false => Ok(()),
                true => Err(not_supported(option, instead)),
            };
        }
        match key {
            "path" => {
                let path = value.unwrap_or_default();
                self.endpoint = Endpoint::Unix(self.of_unix(key)?.join(path));
            }
            "server" if switch(key, value)? => {
                if self.wait == Wait::No && !self.wait_given {
                    self.wait = Wait::AsQemu;
                }
            }
            "server" => {
                let instead =
                    "Faultvisor listens; a socket that is connected can be passed as fd:N";
                return Err(not_supported(option, instead));
            }
            "wait" => {
                self.wait = if switch(key, value)? {
                    Wait::Yes
                } else {
                    Wait::No
                };
                self.wait_given = true;
            }
            "nodelay" if switch(key, value)? => {}
            "nodelay" => return Err(not_supported(option, "answers are sent at once")),
            // `tight` affects abstract socket names only.
            "tight" => {
                switch(key, value)?;
            }
            "ipv4" => {
                self.of_tcp(key)?;
                self.family.ipv4 = Some(switch(key, value)?);
            }
            "ipv6" => {
                self.of_tcp(key)?;
                self.family.ipv6 = Some(switch(key, value)?);
            }
            "to" => {
                self.of_tcp(key)?;
                self.last_port = Some(port(value.unwrap_or_default())?);
            }
            "allow-remote" => self.allow_remote = switch(key, value)?,
            "mode" if value == Some("control") => {}
            "mode" => return Err(bad_value(key, value.unwrap_or_default(), "control")),
            "max-clients" => self.max_clients = Some(number(key, value)?),
            "max-output" => self.max_output = Some(number(key, value)?),
            "protocol" => self.protocol = protocol(value)?,
            _ => {
                return Err(OptionError::unknown(key, KEYS).into());
            }
        }
        Ok(())
    }

    /// An empty path for the key to append to, if it is a unix socket.
    fn of_unix(&self, key: &str) -> Result<PathBuf, AddressError> {
        match self.endpoint {
            Endpoint::Unix(_) => Ok(PathBuf::new()),
            _ => Err(other_transport(key, "unix:")),
        }
    }

    fn of_tcp(&self, key: &str) -> Result<(), AddressError> {
        match self.endpoint {
            Endpoint::Tcp { .. } => Ok(()),
            _ => Err(other_transport(key, "tcp:")),
        }
    }

    /// Checks the combination of its parts.
    fn check(self) -> Result<Self, AddressError> {
        match &self.endpoint {
            Endpoint::Unix(path) if path.as_os_str().is_empty() => Err(AddressError::NoPath),
            Endpoint::Unix(path) if path.as_os_str().len() > PATH_LIMIT => {
                Err(AddressError::PathTooLong {
                    path: path.display().to_string(),
                    length: path.as_os_str().len(),
                })
            }
            Endpoint::Tcp { port, .. } => match self.last_port {
                Some(to) if to < *port || *port == 0 => {
                    Err(AddressError::EmptyRange { port: *port, to })
                }
                _ if self.family.ipv4 == Some(false) && self.family.ipv6 == Some(false) => {
                    Err(AddressError::NoFamily)
                }
                _ => Ok(self),
            },
            _ => Ok(self),
        }
    }
}

/// A key without a value: on, or off with the prefix "no", as in QEMU.
fn bare(option: &str) -> (&str, Option<&str>) {
    const SWITCHES: [&str; 7] = [
        "server",
        "wait",
        "delay",
        "telnet",
        "websocket",
        "mux",
        "abstract",
    ];
    match option.strip_prefix("no") {
        Some(key) if SWITCHES.contains(&key) => (key, Some("off")),
        _ => (option, None),
    }
}

fn not_supported(option: &str, instead: &'static str) -> AddressError {
    AddressError::NotSupported {
        option: option.to_owned(),
        instead,
    }
}

fn other_transport(key: &str, transport: &'static str) -> AddressError {
    AddressError::OtherTransport {
        key: key.to_owned(),
        transport,
    }
}

fn port(text: &str) -> Result<u16, AddressError> {
    text.parse()
        .map_err(|_| AddressError::BadPort(text.to_owned()))
}

/// A key that is on or off; the bare key is on.
fn switch(key: &str, value: Option<&str>) -> Result<bool, AddressError> {
    let Some(value) = value else {
        return Ok(true);
    };
    option_syntax::switch(value).map_err(|_| bad_value(key, value, "on or off"))
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
        let mut parts = parts(text).into_iter();
        let address = parts.next().unwrap_or_default();
        // As in QEMU, the path is the first word or the value of `path=`.
        let first = address.without_prefix("unix:");
        let first = first.filter(|word| word.pair().is_some());
        if let Some(word) = &first
            && let Some((key, _)) = word.pair()
            && key.contains('/')
        {
            return Err(AddressError::PathLikeKey(word.text().to_owned()));
        }
        let mut parsed = Self {
            endpoint: match &first {
                Some(_) => Endpoint::Unix(PathBuf::new()),
                None => endpoint(address.text())?,
            },
            protocol: Protocol::default(),
            wait: Wait::No,
            wait_given: false,
            allow_remote: false,
            family: Family::default(),
            last_port: None,
            max_clients: None,
            max_output: None,
        };
        let mut options = first.into_iter().chain(parts);
        options.try_for_each(|part| parsed.option(&part))?;
        parsed.check()
    }
}

fn endpoint(address: &str) -> Result<Endpoint, AddressError> {
    if address == "stdio" {
        return Ok(Endpoint::Stdio);
    }
    if let Some(number) = address.strip_prefix("fd:") {
        let descriptor = number.parse().ok().filter(|fd: &RawFd| *fd >= 3);
        return descriptor
            .map(Endpoint::Descriptor)
            .ok_or_else(|| AddressError::BadDescriptor(number.to_owned()));
    }
    if address == "systemd" {
        return Ok(Endpoint::Systemd(None));
    }
    if let Some(name) = address.strip_prefix("systemd:") {
        return Ok(Endpoint::Systemd(Some(name.to_owned())));
    }
    if let Some(path) = address.strip_prefix("unix:") {
        return Ok(Endpoint::Unix(path.into()));
    }
    if let Some(rest) = address.strip_prefix("tcp:") {
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(AddressError::NoPort(rest.to_owned()));
        };
        let host = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        return Ok(Endpoint::Tcp {
            host: host.to_owned(),
            port: self::port(port)?,
        });
    }
    Err(AddressError::UnknownTransport(address.to_owned()))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.endpoint {
            Endpoint::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Endpoint::Tcp { host, port } => write!(formatter, "tcp:{}", host_port(host, *port)),
            Endpoint::Stdio => formatter.write_str("stdio"),
            Endpoint::Descriptor(fd) => write!(formatter, "fd:{fd}"),
            Endpoint::Systemd(None) => formatter.write_str("systemd"),
            Endpoint::Systemd(Some(name)) => write!(formatter, "systemd:{name}"),
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
mod tests;
