//! Listening unix sockets and their files. A machine's console uses them too.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The backlog of listen(2).
const BACKLOG: i32 = 64;

/// How often lstat(2) is tried if it fails.
const ANSWERS: u32 = 3;

/// The longest path that a unix socket can have, in bytes.
pub(crate) const PATH_LIMIT: usize = 107;

/// A unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// The path exceeds `sun_path`.
    #[error("socket path '{}' is too long: {length} bytes, and {PATH_LIMIT} is the most", .path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How long it is, in bytes.
        length: usize,
    },
    /// Another process listens on the socket.
    #[error("socket '{}' is in use", .0.display())]
    InUse(PathBuf),
    /// The path is that of another file.
    #[error("'{}' is there already, and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket exists, and whether it has a listener cannot be determined: it may be another user's.
    #[error("socket '{}' is there already, and cannot be tried: {source}", .path.display())]
    Occupied {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be made.
    #[error("cannot listen on socket '{}': {source}", .path.display())]
    Listen {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The file of a unix socket, removed with the socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only this socket's own file: another program may have replaced it.
        let is_ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        // A host without memory may have some at the next attempt.
        let mut found = (0..ANSWERS).map(|_| fs::symlink_metadata(&self.path));
        if found.find_map(Result::ok).is_some_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a unix socket of this path, to which only this user can connect. A stale socket is replaced.
///
/// # Errors
///
/// [`UnixSocketError`] names the path and what is wrong with it.
pub fn bind(path: &Path) -> Result<(UnixListener, SocketFile), UnixSocketError> {
    let length = path.as_os_str().len();
    if length > PATH_LIMIT {
        return Err(UnixSocketError::PathTooLong {
            path: path.to_owned(),
            length,
        });
    }
    let failed = |source: io::Error| UnixSocketError::Listen {
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
    // The socket was just created; its inode distinguishes it later from another program's.
    let file = fs::symlink_metadata(path).inspect_err(|_| remove_new(path));
    let file = file.map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        device: file.dev(),
        inode: file.ino(),
    };
    Ok((listener, file))
}

fn listen_unix(path: &Path) -> io::Result<UnixListener> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    // bind(2) on Linux gives the file the socket's mode, so that there is no window in which others can connect, as
    // before a chmod of the file.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG).inspect_err(|_| remove_new(path))?;
    Ok(socket.into())
}

/// Removes the file of a socket that was bound and is not used.
fn remove_new(path: &Path) {
    // The next bind replaces a file that remains.
    let _ = fs::remove_file(path);
}

/// Removes a socket's file if the socket has no listener.
fn remove_stale(path: &Path) -> Result<(), UnixSocketError> {
    let failed = |source: io::Error| UnixSocketError::Listen {
        path: path.to_owned(),
        source,
    };
    if !fs::symlink_metadata(path)
        .map_err(failed)?
        .file_type()
        .is_socket()
    {
        return Err(UnixSocketError::NotASocket(path.to_owned()));
    }
    // connect(2) of a datagram socket to a stream socket fails, with an error that tells whether there is a listener.
    // Unlike a stream socket it neither waits for a full backlog nor reaches accept(2).
    let asks = UnixDatagram::unbound().map_err(failed)?;
    match asks.connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // There is a receiver, on a socket of either type.
        Ok(()) => Err(UnixSocketError::InUse(path.to_owned())),
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => {
            Err(UnixSocketError::InUse(path.to_owned()))
        }
        Err(source) => Err(UnixSocketError::Occupied {
            path: path.to_owned(),
            source,
        }),
    }
}
