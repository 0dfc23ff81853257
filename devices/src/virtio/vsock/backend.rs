//! The host's side of vsock: unix sockets, as in Firecracker and cloud-hypervisor.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// The longest path of a unix socket in bytes (`sun_path`, with its end).
const SUN_PATH: usize = 107;

/// The longest end of a listener's path: `_` and the largest port.
const LONGEST_END: usize = "_4294967295".len();

/// The longest path of a device's socket in bytes, so that a listener of each port can have its path.
pub const MAX_PATH: usize = SUN_PATH - LONGEST_END;

/// Connects the guest to listeners of the host. Called on the device's thread.
pub trait Connector: Send + 'static {
    /// Connects to a port, without waiting. The socket does not block.
    ///
    /// # Errors
    ///
    /// When nobody listens, or the listener takes no further client now.
    fn connect(&mut self, port: u32) -> io::Result<UnixStream>;
}

/// Listeners beside a socket: that of a port has the socket's path with `_` and the port behind it.
#[derive(Debug, Clone)]
pub struct UnixListeners(PathBuf);

impl UnixListeners {
    /// Those beside this socket.
    pub fn beside(socket: &Path) -> Self {
        Self(socket.to_owned())
    }
}

impl Connector for UnixListeners {
    fn connect(&mut self, port: u32) -> io::Result<UnixStream> {
        let mut path = self.0.clone().into_os_string();
        path.push(format!("_{port}"));
        let socket = socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(socket.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_listener_of_a_port_is_beside_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vsock");
        let mut listeners = UnixListeners::beside(&path);
        let refused = listeners.connect(7).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(directory.path().join("vsock_7")).unwrap();
        listeners.connect(7).unwrap();
        listener.accept().unwrap();
        drop(listener);
        let refused = listeners.connect(7).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }
}
