//! Listening sockets: made early, so that what is wrong with them is said before a guest runs.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::address::{ListenAddress, Transport, host_port};
use crate::stream::Stream;
use crate::unix_socket::{self, SocketFile, UnixSocketError};

/// Why a monitor cannot listen where it was told to.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The unix socket.
    #[error(transparent)]
    Unix(#[from] UnixSocketError),
    /// The name has no address.
    #[error("cannot find host '{host}': {source}")]
    Host {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Everyone who reaches the host could do anything with the machine.
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
    /// There is only one standard input.
    #[error("'stdio' can be used for one monitor only")]
    StdioTwice,
    /// The monitor cannot have what it needs of the host.
    #[error("cannot set up the monitor: {0}")]
    Setup(#[source] io::Error),
}

/// Where a monitor listens, once it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// On a unix socket of this path.
    Unix(PathBuf),
    /// On a TCP port; where port 0 was asked for, this is the one that it became.
    Tcp(SocketAddr),
    /// On standard input and output.
    Stdio,
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

impl Socket {
    /// Makes the socket that an address asks for; `stdio` has none.
    pub(crate) fn bind(address: &ListenAddress) -> Result<Option<Self>, BindError> {
        match &address.transport {
            Transport::Stdio => Ok(None),
            Transport::Unix(path) => {
                let (listener, file) = unix_socket::bind(path)?;
                Ok(Some(Self::Unix(listener, file)))
            }
            Transport::Tcp { host, port } => bind_tcp(host, *port, address.allow_remote).map(Some),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<LocalAddress> {
        match self {
            Self::Unix(_, file) => Ok(LocalAddress::Unix(file.path().to_owned())),
            Self::Tcp(listener) => listener.local_addr().map(LocalAddress::Tcp),
        }
    }

    /// Takes the next client.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener, _) => Stream::unix(listener.accept()?.0),
            Self::Tcp(listener) => Stream::tcp(listener.accept()?.0),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix(listener, _) => listener.as_raw_fd(),
            Self::Tcp(listener) => listener.as_raw_fd(),
        }
    }
}

fn bind_tcp(host: &str, port: u16, allow_remote: bool) -> Result<Socket, BindError> {
    let name = host_port(host, port);
    let addresses: Vec<SocketAddr> = if host.is_empty() {
        vec![SocketAddr::new(IpAddr::from([0, 0, 0, 0]), port)]
    } else {
        let found = (host, port).to_socket_addrs();
        found
            .map_err(|source| BindError::Host {
                host: host.to_owned(),
                source,
            })?
            .collect()
    };
    if !allow_remote && !addresses.iter().all(|address| address.ip().is_loopback()) {
        return Err(BindError::Remote(name));
    }
    let bind = || {
        let listener = TcpListener::bind(addresses.as_slice())?;
        listener.set_nonblocking(true)?;
        Ok(Socket::Tcp(listener))
    };
    bind().map_err(|source| BindError::Tcp {
        address: name,
        source,
    })
}
