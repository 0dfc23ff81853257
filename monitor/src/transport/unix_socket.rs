//! Unix sockets that listen, and their files. The console of a machine uses them too.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// How many clients may wait to be accepted.
const BACKLOG: i32 = 64;

/// How often the host is asked what a file is, if it does not say.
const ANSWERS: u32 = 3;

/// The longest path that a unix socket can have, in bytes.
pub(crate) const PATH_LIMIT: usize = 107;

/// Why a unix socket cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// A socket could not be named so.
    #[error("socket path '{}' is too long: {length} bytes, and {PATH_LIMIT} is the most", .path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// How long it is, in bytes.
        length: usize,
    },
    /// Somebody listens on the socket already.
    #[error("socket '{}' is in use", .0.display())]
    InUse(PathBuf),
    /// There is a file of that name.
    #[error("'{}' is there already, and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// There is a socket of that name, and whether somebody listens on it cannot be found out: it may be another user's.
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

/// The file of a unix socket, which goes when the socket does.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Only what is still ours: another program may have put its own socket there since.
        let is_ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        // A host that has no memory for the answer may have it the next time.
        let mut found = (0..ANSWERS).map(|_| fs::symlink_metadata(&self.path));
        if found.find_map(Result::ok).is_some_and(is_ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a unix socket of this path, which only this user can connect to. A socket that nobody
/// listens on any more is replaced.
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
    // A moment ago it was made here, and without this it could not be told from others' later.
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
    // Linux gives the file the mode that the socket has when it is bound, so that it is never open to others, not
    // even for the moment that a chmod of the file would leave.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG).inspect_err(|_| remove_new(path))?;
    Ok(socket.into())
}

/// Removes the file of a socket that has just been bound and is not used after all.
fn remove_new(path: &Path) {
    // One that stays is found stale by whoever comes next.
    let _ = fs::remove_file(path);
}

/// Removes a socket's file if nobody is behind it.
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
    // A datagram socket cannot connect to a stream socket, but it learns whether there is one, and unlike a stream
    // socket it neither waits in a full backlog nor bothers who accepts.
    let asks = UnixDatagram::unbound().map_err(failed)?;
    match asks.connect(path) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // Somebody listens, on a socket of that kind or another.
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
