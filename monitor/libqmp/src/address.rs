//! Where a server is.

use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::Error;

/// An address, as a person writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// `unix:PATH`, or a path that has a slash in it.
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
        if text.contains('/') {
            return Ok(Self::Unix(PathBuf::from(text)));
        }
        Err(refused(
            "it is none of unix:PATH, tcp:HOST:PORT and a path with a slash",
        ))
    }

    /// Connects; if nobody listens yet, again until the deadline. Nothing tells when somebody does.
    pub(crate) fn connect(&self, text: &str, within: Option<Duration>) -> Result<OwnedFd, Error> {
        const PAUSE: Duration = Duration::from_millis(5);
        let deadline = within.map(|within| Instant::now() + within);
        loop {
            let source = match self.attempt() {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            let may_change = matches!(
                source.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::ConnectionRefused
                    | io::ErrorKind::WouldBlock
            );
            if !may_change || deadline.is_none_or(|deadline| Instant::now() >= deadline) {
                return Err(Error::Connect {
                    address: text.to_owned(),
                    source: source.into(),
                });
            }
            thread::sleep(PAUSE);
        }
    }

    fn attempt(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Unix(path) => UnixStream::connect(path).map(OwnedFd::from),
            Self::Tcp(place) => {
                // An IPv6 address stands in brackets, as in a URL.
                let stream =
                    TcpStream::connect(place.to_socket_addrs()?.collect::<Vec<_>>().as_slice())?;
                // A request is small, and waited for.
                stream.set_nodelay(true)?;
                Ok(stream.into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_it_is() {
        let unix = |path: &str| Some(Address::Unix(path.into()));
        assert_eq!(Address::parse("unix:q").ok(), unix("q"));
        assert_eq!(Address::parse("./q").ok(), unix("./q"));
        let tcp = Address::Tcp("[::1]:4444".to_owned());
        assert_eq!(Address::parse("tcp:[::1]:4444").ok(), Some(tcp));
        for wrong in [
            "",
            "q",
            "unix:",
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
