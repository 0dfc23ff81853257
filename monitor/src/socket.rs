//! Listening sockets: made early, so that what is wrong with them is said before a guest runs.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::address::{ListenAddress, Transport, host_port};
use crate::stream::Stream;

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 64;

/// Why a monitor cannot listen where it was told to.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody listens on the socket already.
    #[error("socket '{}' is in use", .0.display())]
    SocketInUse(PathBuf),
    /// There is a file of that name.
    #[error("'{}' is there already, and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("cannot listen on socket '{}': {source}", .path.display())]
    Unix {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
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

/// The file of a unix socket, which goes when the socket does.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Socket {
    /// Makes the socket that an address asks for; `stdio` has none.
    pub(crate) fn bind(address: &ListenAddress) -> Result<Option<Self>, BindError> {
        match &address.transport {
            Transport::Stdio => Ok(None),
            Transport::Unix(path) => bind_unix(path).map(Some),
            Transport::Tcp { host, port } => bind_tcp(host, *port, address.allow_remote).map(Some),
        }
    }

    pub(crate) fn local_address(&self) -> io::Result<LocalAddress> {
        match self {
            Self::Unix(_, file) => Ok(LocalAddress::Unix(file.path.clone())),
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

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only what is still ours: another program may have put its own socket there since.
        let is_ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn bind_unix(path: &Path) -> Result<Socket, BindError> {
    let failed = |source: io::Error| BindError::Unix {
        path: path.to_owned(),
        source,
    };
    let listener = match listen_unix(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            remove_stale(path)?;
            listen_unix(path).map_err(failed)?
        }
        result => result.map_err(failed)?,
    };
    let file = fs::symlink_metadata(path).map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: file.dev(),
        inode: file.ino(),
    };
    Ok(Socket::Unix(listener, file))
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // Linux gives the file the mode that the socket has when it is bound, so that it is never open to others, not
    // even for the moment that a chmod of the file would leave.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Removes a socket's file if nobody is behind it.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    let failed = |source: io::Error| BindError::Unix {
        path: path.to_owned(),
        source,
    };
    if !fs::symlink_metadata(path)
        .map_err(failed)?
        .file_type()
        .is_socket()
    {
        return Err(BindError::NotASocket(path.to_owned()));
    }
    // A datagram socket cannot connect to a stream socket, but it learns whether there is one, and unlike a stream
    // socket it neither waits in a full backlog nor bothers who accepts.
    let asks = UnixDatagram::unbound().map_err(failed)?;
    match asks.connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        _ => Err(BindError::SocketInUse(path.to_owned())),
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
