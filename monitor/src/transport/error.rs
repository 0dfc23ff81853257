//! Why a monitor cannot listen.

use std::io;
use std::os::fd::RawFd;

use crate::transport::unix_socket::UnixSocketError;

/// A monitor cannot listen on its address.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The unix socket.
    #[error(transparent)]
    Unix(#[from] UnixSocketError),
    /// The name does not resolve.
    #[error("cannot find host '{host}': {source}")]
    Host {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Every process that reaches the host could control the machine.
    #[error("'{0}' can be reached from other hosts: add allow-remote=on if that is meant")]
    Remote(String),
    /// The port cannot be listened on.
    #[error("cannot listen on '{address}': {source}")]
    Tcp {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// An inherited socket.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// There is only one standard input.
    #[error("'stdio' can be used for one monitor only")]
    StdioTwice,
    /// The host refuses a resource of the monitor.
    #[error("cannot set up the monitor: {0}")]
    Setup(#[source] io::Error),
}

/// An inherited socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InheritedError {
    /// It is a standard stream.
    #[error("'fd:{0}' is a standard stream: use stdio")]
    Standard(RawFd),
    /// There is no such descriptor.
    #[error("descriptor {0} is not open")]
    NotOpen(RawFd),
    /// It belongs to this program, or to another monitor of it.
    #[error("descriptor {0} was not inherited, or is in use already")]
    NotInherited(RawFd),
    /// It is something else.
    #[error("descriptor {0} is no stream socket")]
    NotASocket(RawFd),
    /// It neither listens nor is it connected.
    #[error("descriptor {0} is a socket that neither listens nor is connected")]
    NotConnected(RawFd),
    /// systemd passed none.
    #[error("systemd passed no socket: LISTEN_FDS and LISTEN_PID are not set for this process")]
    NotActivated,
    /// None of those passed has that name.
    #[error("systemd passed no socket called '{0}'")]
    NoSuchName(String),
    /// The host.
    #[error("cannot use descriptor {fd}: {source}")]
    Host {
        /// The descriptor.
        fd: RawFd,
        /// The host's error.
        source: io::Error,
    },
}
