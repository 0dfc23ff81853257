//! Addresses of servers.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;
use std::{io, thread};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::Error;
use crate::socket::Deadline;

/// An address, as a user writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix:PATH`, or a path.
    Unix(PathBuf),
    /// `tcp:HOST:PORT`.
    Tcp(String),
}

impl Address {
    /// Reads one.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let refused = |why: &str| Error::Address {
            address: text.to_owned(),
            why: why.to_owned(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(refused("'unix:' is followed by a path")),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Some(place) = text.strip_prefix("tcp:") {
            let port = place.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
            return match port {
                Some(Ok(_)) => Ok(Self::Tcp(place.to_owned())),
                _ => Err(refused("'tcp:' is followed by a host, a colon and a port")),
            };
        }
        if text.is_empty() {
            return Err(refused("it is none of unix:PATH, tcp:HOST:PORT and a path"));
        }
        // A file may have such a name, and is then given with its directory.
        if is_host_and_port(text) {
            return Err(refused(&format!(
                "a host and a port stand behind 'tcp:', as in tcp:{text}; a file of this name is ./{text}"
            )));
        }
        Ok(Self::Unix(PathBuf::from(text)))
    }

    /// Connects; if there is no listener yet, retries for as long as `within` says, as nothing signals its start.
    /// `limit` is how long a listener may take to accept.
    pub(crate) fn connect(
        &self,
        text: &str,
        within: Option<Duration>,
        limit: Duration,
    ) -> Result<OwnedFd, Error> {
        const PAUSE: Duration = Duration::from_millis(5);
        // There is no permission to retry.
        let deadline = within.map_or(Deadline::Now, |within| Deadline::of(Some(within)));
        // A listener with a full backlog may still accept, within the limit of its greeting.
        let in_queue = Deadline::of(Some(limit));
        loop {
            let source = match self.attempt(in_queue) {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let is_over = match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => deadline.is_over(),
                io::ErrorKind::WouldBlock => in_queue.is_over(),
                io::ErrorKind::Interrupted => false,
                _ => true,
            };
            if is_over {
                return Err(Error::Connect {
                    address: text.to_owned(),
                    source: source.into(),
                });
            }
            thread::sleep(PAUSE);
        }
    }

    fn attempt(&self, deadline: Deadline) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => {
                // With a full backlog a blocking connect would wait for as long as it is full.
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
                connect(&socket, &SocketAddrUnix::new(path)?)?;
                let stream = UnixStream::from(socket);
                stream.set_nonblocking(false)?;
                Ok(stream.into())
            }
            Self::Tcp(place) => {
                // An IPv6 address is in brackets, as in a URL.
                let places = place.to_socket_addrs()?.collect::<Vec<_>>();
                let stream = connect_to_one(&places, deadline)?;
                // Requests are small, and their answers are waited for.
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
        }
    }
}

/// Whether a text is a host and a port, and neither a path nor in another scheme.
fn is_host_and_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(_, port)| !text.contains('/') && port.parse::<u16>().is_ok())
}

/// Connects to the first address that accepts, like [`TcpStream::connect`], within a limit.
fn connect_to_one(places: &[SocketAddr], deadline: Deadline) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::NotFound.into();
    for place in places {
        let left = deadline.left().unwrap_or(Duration::MAX);
        // Without an address it is refused; the first attempt is always made.
        match TcpStream::connect_timeout(place, left.max(Duration::from_millis(1))) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_tells_its_kind() {
        let unix = |path: &str| Some(Address::Unix(path.into()));
        assert_eq!(Address::parse("unix:q").ok(), unix("q"));
        assert_eq!(Address::parse("./q").ok(), unix("./q"));
        assert_eq!(Address::parse("q.sock").ok(), unix("q.sock"));
        assert_eq!(Address::parse("/run/a:1").ok(), unix("/run/a:1"));
        let tcp = Address::Tcp("[::1]:4444".to_owned());
        assert_eq!(Address::parse("tcp:[::1]:4444").ok(), Some(tcp));
        for wrong in [
            "",
            "unix:",
            "localhost:4444",
            "tcp:localhost",
            "tcp:localhost:x",
            "tcp:h:70000",
        ] {
            let refused = Address::parse(wrong).unwrap_err().to_string();
            assert!(
                refused.starts_with(&format!("'{wrong}' is no address")),
                "{refused}"
            );
        }
    }
}
