//! An opened address: listening sockets, or a connected client.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use crate::transport::stream::Stream;
use crate::transport::unix_socket::SocketFile;

/// The address that a monitor listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalAddress {
    /// On a unix socket of this path.
    Unix(PathBuf),
    /// On a TCP port; for port 0, the one that the host chose.
    Tcp(SocketAddr),
    /// On an inherited socket of this number, listening or connected.
    Descriptor(RawFd),
    /// On standard input and output.
    Stdio,
}

/// An opened address.
#[derive(Debug)]
pub(crate) enum Bound {
    /// Listening sockets, one for each address of the host.
    Listening(Vec<Socket>),
    /// A connected client.
    Connected(Stream),
    /// Standard input and output.
    Stdio,
}

/// A listening socket.
#[derive(Debug)]
pub(crate) enum Socket {
    Unix {
        listener: UnixListener,
        /// Removed with the socket. The file of an inherited socket is not this program's.
        _file: Option<SocketFile>,
    },
    Tcp(TcpListener),
}

impl Socket {
    /// Accepts the next client.
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
