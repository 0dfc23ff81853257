//! Listening sockets: made early, so that what is wrong with them is said before a guest runs.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::transport::address::{ListenAddress, Transport};
use crate::transport::inherited::{self, InheritedError};
use crate::transport::stream::Stream;
use crate::transport::tcp;
use crate::transport::unix_socket::{self, SocketFile, UnixSocketError};

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
    /// A socket that was passed to the program.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
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
    /// On a socket that was passed to the program as this descriptor, or with a client that was.
    Descriptor(RawFd),
    /// On standard input and output.
    Stdio,
}

/// What an address comes to.
#[derive(Debug)]
pub(crate) enum Bound {
    /// Sockets that clients connect to, as one place: a host can have several addresses.
    Listening(Vec<Socket>),
    /// A client that is connected already.
    Connected(Stream),
    /// Standard input and output.
    Stdio,
}

/// A socket that listens.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix {
        listener: UnixListener,
        /// Goes when the socket does; one that was passed to the program has its file from somebody else.
        _file: Option<SocketFile>,
    },
    Tcp(TcpListener),
}

/// Opens what an address asks for, and says where each part of it is.
pub(crate) fn open(address: &ListenAddress) -> Result<Vec<(Bound, Vec<LocalAddress>)>, BindError> {
    let inherited = |fd: RawFd| {
        let bound = inherited::take(fd, address.allow_remote)?;
        Ok((bound, vec![LocalAddress::Descriptor(fd)]))
    };
    match &address.transport {
        Transport::Stdio => Ok(vec![(Bound::Stdio, vec![LocalAddress::Stdio])]),
        Transport::Descriptor(fd) => Ok(vec![inherited(*fd)?]),
        Transport::Systemd(name) => inherited::from_systemd(name.as_deref())?
            .into_iter()
            .map(inherited)
            .collect(),
        Transport::Unix(path) => {
            let (listener, file) = unix_socket::bind(path)?;
            let local = LocalAddress::Unix(file.path().to_owned());
            Ok(vec![(
                Bound::Listening(vec![Socket::Unix {
                    listener,
                    _file: Some(file),
                }]),
                vec![local],
            )])
        }
        Transport::Tcp { host, port } => {
            let listeners = tcp::bind(host, *port, address)?;
            let locals = listeners.iter().map(TcpListener::local_addr);
            let locals: io::Result<Vec<SocketAddr>> = locals.collect();
            let locals = locals.map_err(BindError::Setup)?;
            Ok(vec![(
                Bound::Listening(listeners.into_iter().map(Socket::Tcp).collect()),
                locals.into_iter().map(LocalAddress::Tcp).collect(),
            )])
        }
    }
}

impl Socket {
    /// Takes the next client.
    pub(crate) fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix { listener, .. } => Stream::unix(listener.accept()?.0),
            Self::Tcp(listener) => Stream::tcp(listener.accept()?.0),
        }
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        match self {
            Self::Unix { listener, .. } => listener.as_raw_fd(),
            Self::Tcp(listener) => listener.as_raw_fd(),
        }
    }
}
