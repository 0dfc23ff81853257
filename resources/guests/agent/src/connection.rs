//! Stream sockets of a host: vsock, or unix for tests.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use vsock::{VMADDR_CID_ANY, VMADDR_CID_HOST, VsockListener, VsockStream};

use crate::options::Listen;

/// A connected stream socket.
#[derive(Debug)]
pub struct Connection(OwnedFd);

impl Connection {
    /// Connects to a port of the host's.
    pub fn to_host(port: u32) -> io::Result<Self> {
        let stream = VsockStream::connect_with_cid_port(VMADDR_CID_HOST, port)?;
        Ok(Self(stream.into()))
    }

    /// Ends a read that waits longer than this with an error; `None` lets it wait.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        set_socket_timeout(&self.0, Timeout::Recv, patience)?;
        Ok(set_socket_timeout(&self.0, Timeout::Send, patience)?)
    }

    /// The same for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Makes reads and writes return at once.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(&self.0, true)?)
    }

    /// Tells the other side that no more is sent.
    pub fn finish(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(&self.0, Shutdown::Write)?)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buffer)?)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(&self.0, bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Of vsock.
    Vsock(VsockListener),
    /// A unix socket.
    Unix(UnixListener),
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    ///
    /// The system refuses it; one line.
    pub fn bind(listen: &Listen) -> Result<Self, String> {
        match listen {
            Listen::Vsock(port) => VsockListener::bind_with_cid_port(VMADDR_CID_ANY, *port)
                .map(Self::Vsock)
                .map_err(|error| no_vsock(*port, &error)),
            Listen::Unix(path) => Self::bind_unix(path)
                .map_err(|error| format!("cannot listen on '{}': {error}", path.display())),
        }
    }

    fn bind_unix(path: &Path) -> io::Result<Self> {
        Ok(Self::Unix(UnixListener::bind(path)?))
    }

    /// Waits for a client.
    pub fn accept(&self) -> io::Result<Connection> {
        Ok(Connection(match self {
            Self::Vsock(listener) => listener.accept()?.0.into(),
            Self::Unix(listener) => listener.accept()?.0.into(),
        }))
    }
}

fn no_vsock(port: u32, error: &io::Error) -> String {
    let why = if error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
        "this kernel has no vsock: CONFIG_VSOCKETS, or the module vsock, is missing".to_owned()
    } else {
        error.to_string()
    };
    format!("cannot listen on vsock port {port}: {why}")
}
