//! Inherited sockets: passed by number, or by systemd.
//!
//! systemd's protocol is sd_listen_fds(3): the descriptors from 3 on, their count in LISTEN_FDS, their names in
//! LISTEN_FDNAMES, and the addressed process in LISTEN_PID.

use std::env;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::io::{Errno, FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::{socket_acceptconn, socket_domain, socket_type};
use rustix::net::{AddressFamily, SocketType, getpeername};

use crate::transport::error::{BindError, InheritedError};
use crate::transport::socket::{Bound, Socket};
use crate::transport::stream::Stream;

/// The first descriptor that is not one of the standard ones, and the first that systemd passes.
const FIRST: RawFd = 3;

/// Takes a socket by its number.
pub(crate) fn take(fd: RawFd, allow_remote: bool) -> Result<Bound, BindError> {
    let socket = own(fd)?;
    let failed = |source: io::Error| InheritedError::Host { fd, source };
    let not_a_socket = |_: Errno| InheritedError::NotASocket(fd);
    let listens = socket_acceptconn(&socket).map_err(not_a_socket)?;
    let is_unix = socket_domain(&socket).map_err(not_a_socket)? == AddressFamily::UNIX;
    if !listens && getpeername(&socket).is_err() {
        return Err(InheritedError::NotConnected(fd).into());
    }
    Ok(match (is_unix, listens) {
        (true, true) => {
            let listener = UnixListener::from(socket);
            listener.set_nonblocking(true).map_err(failed)?;
            Bound::Listening(vec![Socket::Unix {
                listener,
                _file: None,
            }])
        }
        (true, false) => Bound::Connected(Stream::unix(UnixStream::from(socket)).map_err(failed)?),
        (false, true) => {
            let listener = TcpListener::from(socket);
            listener.set_nonblocking(true).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            if !allow_remote && !address.ip().is_loopback() {
                return Err(BindError::Remote(address.to_string()));
            }
            Bound::Listening(vec![Socket::Tcp(listener)])
        }
        (false, false) => {
            let stream = TcpStream::from(socket);
            let peer = stream.peer_addr().map_err(failed)?;
            if !allow_remote && !peer.ip().is_loopback() {
                return Err(BindError::Remote(peer.to_string()));
            }
            Bound::Connected(Stream::tcp(stream).map_err(failed)?)
        }
    })
}

/// Takes ownership of an inherited descriptor.
///
/// That nothing else in this process owns it rests on a rule of the whole program: every socket that it opens has
/// FD_CLOEXEC, as all those of the standard library and of rustix's `CLOEXEC` calls do. An inherited descriptor has
/// not, until it is taken here.
#[expect(
    unsafe_code,
    reason = "a number on the command line becomes a descriptor"
)]
fn own(fd: RawFd) -> Result<OwnedFd, InheritedError> {
    use std::os::fd::{BorrowedFd, FromRawFd};

    if fd < FIRST {
        return Err(InheritedError::Standard(fd));
    }
    // SAFETY: the borrow is only used to ask whether the descriptor is open, and what it is.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = fcntl_getfd(borrowed).map_err(|_| InheritedError::NotOpen(fd))?;
    // Every socket that this program opens has FD_CLOEXEC, and an inherited one has not: nothing here owns this one.
    if flags.contains(FdFlags::CLOEXEC) {
        return Err(InheritedError::NotInherited(fd));
    }
    if socket_type(borrowed) != Ok(SocketType::STREAM) {
        return Err(InheritedError::NotASocket(fd));
    }
    // SAFETY: it is open, and nothing else owns it, as shown above; FD_CLOEXEC marks it as owned from here on.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    fcntl_setfd(owned.as_fd(), FdFlags::CLOEXEC).map_err(|error| InheritedError::Host {
        fd,
        source: error.into(),
    })?;
    Ok(owned)
}

/// The descriptors that systemd passed, those with this name if one is given.
pub(crate) fn from_systemd(name: Option<&str>) -> Result<Vec<RawFd>, InheritedError> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    passed(
        &variable("LISTEN_PID"),
        &variable("LISTEN_FDS"),
        &variable("LISTEN_FDNAMES"),
        std::process::id(),
        name,
    )
}

fn passed(
    pid: &str,
    count: &str,
    names: &str,
    own_pid: u32,
    wanted: Option<&str>,
) -> Result<Vec<RawFd>, InheritedError> {
    let count: RawFd = count.parse().unwrap_or(0);
    if pid.parse() != Ok(own_pid) || count < 1 {
        return Err(InheritedError::NotActivated);
    }
    let all = FIRST..FIRST.saturating_add(count);
    let Some(wanted) = wanted else {
        return Ok(all.collect());
    };
    let named: Vec<RawFd> = all
        .zip(names.split(':'))
        .filter(|(_, name)| *name == wanted)
        .map(|(fd, _)| fd)
        .collect();
    if named.is_empty() {
        return Err(InheritedError::NoSuchName(wanted.to_owned()));
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_taken_that_are_for_this_process() {
        let all = |pid: &str, count: &str| passed(pid, count, "", 7, None).ok();
        assert_eq!(all("7", "2"), Some(vec![3, 4]));
        for (pid, count) in [
            ("8", "2"),
            ("", "2"),
            ("7", "0"),
            ("7", "-1"),
            ("7", "x"),
            ("", ""),
        ] {
            assert_eq!(all(pid, count), None);
        }
    }

    #[test]
    fn sockets_of_systemd_are_selected_by_name() {
        let named = |name: &str| passed("7", "3", "qmp:other:qmp", 7, Some(name));
        assert_eq!(named("qmp").unwrap(), [3, 5]);
        assert_eq!(named("other").unwrap(), [4]);
        assert_eq!(
            named("nix").unwrap_err().to_string(),
            "systemd passed no socket called 'nix'"
        );
    }

    #[test]
    fn a_descriptor_that_was_not_inherited_is_left_alone() {
        let (ours, _other) = UnixStream::pair().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&ours);
        assert!(matches!(own(fd), Err(InheritedError::NotInherited(_))));
        assert!(matches!(own(1), Err(InheritedError::Standard(1))));
        assert!(matches!(own(1 << 20), Err(InheritedError::NotOpen(_))));
    }
}
