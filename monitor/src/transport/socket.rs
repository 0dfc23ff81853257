//! What an address comes to: sockets that listen, or a client that is connected already.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::transport::stream::Stream;
use crate::transport::unix_socket::SocketFile;

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
