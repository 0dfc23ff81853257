//! Connections to a guest's agent: through the machine's vsock device, up to the answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use faultvisor_agent_protocol::failure::Failure;
use faultvisor_agent_protocol::frame::{self, FrameError, Kind};
use faultvisor_agent_protocol::hello::Hello;
use faultvisor_agent_protocol::request::Request;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::de::DeserializeOwned;

use super::error::GuestError;
use super::state::Guest;

/// The longest answer to `CONNECT`.
const LINE_BYTES: usize = 64;

/// Where an agent is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Behind the socket of a machine's vsock device, on a port of the guest's.
    Vsock(PathBuf, u32),
    /// On a unix socket of its own, as in the agent's tests.
    Unix(PathBuf),
}

impl Address {
    /// Connects a stream, which waits for the guest at most for `timeout`.
    ///
    /// # Errors
    ///
    /// The socket cannot be connected to, or nothing in the guest listens.
    pub fn connect(&self, timeout: Duration) -> Result<UnixStream, GuestError> {
        let (Self::Vsock(path, _) | Self::Unix(path)) = self;
        let refused = |source| GuestError::Connect {
            path: path.clone(),
            source,
        };
        let mut stream = UnixStream::connect(path).map_err(refused)?;
        stream.set_read_timeout(Some(timeout)).map_err(refused)?;
        stream.set_write_timeout(Some(timeout)).map_err(refused)?;
        if let Self::Vsock(path, port) = self {
            ask(&mut stream, path, *port)?;
        }
        Ok(stream)
    }
}

/// Asks the device for a port of the guest's.
fn ask(stream: &mut UnixStream, path: &Path, port: u32) -> Result<(), GuestError> {
    let refused = |source| GuestError::Connect {
        path: path.to_owned(),
        source,
    };
    let asked = writeln!(stream, "CONNECT {port}");
    let answer = asked.and_then(|()| line(stream)).map_err(refused)?;
    if answer.starts_with("OK ") {
        return Ok(());
    }
    Err(GuestError::NobodyListens { port })
}

/// Reads a line, and nothing beyond it; an end without a line is an empty one.
fn line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE_BYTES {
        match stream.read(&mut byte) {
            Ok(1) if byte != *b"\n" => line.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
            _ => break,
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

/// A connection on which an operation has begun.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Arc<UnixStream>,
    writer: Writer,
    guest: Guest,
    /// Under which the guest knows it.
    id: u64,
    operation: Arc<str>,
    /// The agent's.
    boot: Option<String>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects and asks for an operation, whose answer is to be read next.
    pub(crate) fn open(
        guest: &Guest,
        operation: impl Into<Arc<str>>,
        request: &Request,
    ) -> Result<Self, GuestError> {
        let operation = operation.into();
        let stream = guest.address().connect(guest.timeout())?;
        let id = guest.register(&stream, &operation)?;
        let stream = Arc::new(stream);
        let mut connection = Self {
            writer: Writer(Arc::new(Mutex::new(Arc::clone(&stream)))),
            stream,
            guest: guest.clone(),
            id,
            operation,
            boot: None,
            buffer: Vec::new(),
        };
        let hello = Hello::of(concat!("faultvisor-harness ", env!("CARGO_PKG_VERSION")));
        connection.begin(&hello, request)?;
        Ok(connection)
    }

    fn begin(&mut self, hello: &Hello, request: &Request) -> Result<(), GuestError> {
        // One write, as both need no answer.
        let mut bytes = Vec::new();
        let written = frame::append_message(&mut bytes, Kind::Hello, hello)
            .and_then(|()| frame::append_message(&mut bytes, Kind::Request, request))
            .and_then(|()| Ok((&*self.stream).write_all(&bytes)?));
        let agent = match written {
            Ok(()) | Err(FrameError::Ended) => self.message::<Hello>(Kind::Hello)?,
            Err(error) => return Err(self.failed(error)),
        };
        let agreed = hello.agree(&agent);
        agreed.map_err(|failure| GuestError::failed(&self.operation, failure))?;
        self.boot = agent.boot;
        Ok(())
    }

    /// Reads the answer. From then on reads wait without a limit.
    pub(crate) fn answer<T: DeserializeOwned>(&mut self) -> Result<T, GuestError> {
        let answer = self.message(Kind::Answer)?;
        self.set_patience(None)?;
        Ok(answer)
    }

    /// Limits how long a read and a write wait.
    pub(crate) fn set_patience(&self, patience: Option<Duration>) -> Result<(), GuestError> {
        let set = self.stream.set_read_timeout(patience);
        let set = set.and_then(|()| self.stream.set_write_timeout(patience));
        set.map_err(|source| self.host(source))
    }

    /// Reads a message.
    pub(crate) fn message<T: DeserializeOwned>(&mut self, kind: Kind) -> Result<T, GuestError> {
        let frame = self.frame()?;
        frame.message(kind).map_err(|error| self.failed(error))
    }

    /// Reads a frame. A failure and the connection's end are errors.
    pub(crate) fn frame(&mut self) -> Result<OwnedFrame, GuestError> {
        let read = frame::read(&mut &*self.stream, &mut self.buffer);
        let (kind, payload) = match read {
            Ok(Some(frame)) => (frame.kind, frame.payload.to_vec()),
            Ok(None) => return Err(self.failed(FrameError::Ended)),
            Err(error) => return Err(self.failed(error)),
        };
        let frame = OwnedFrame { kind, payload };
        if kind == Kind::Failure {
            let failure = frame.message::<Failure>(kind);
            let failure = failure.map_err(|error| self.failed(error))?;
            return Err(GuestError::failed(&self.operation, failure));
        }
        Ok(frame)
    }

    /// What writes frames.
    pub(crate) fn writer(&self) -> Writer {
        self.writer.clone()
    }

    /// The error of a connection that failed.
    pub(crate) fn failed(&self, error: FrameError) -> GuestError {
        let operation = self.operation.to_string();
        match error {
            FrameError::Ended => self.guest.lost(self.id, operation),
            FrameError::Io(error) if is_timeout(&error) => GuestError::NoAnswer {
                operation,
                within: self.patience(),
            },
            FrameError::Io(source) => self.host(source),
            source => GuestError::Protocol { operation, source },
        }
    }

    fn patience(&self) -> Duration {
        self.stream
            .read_timeout()
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    fn host(&self, source: io::Error) -> GuestError {
        GuestError::Host {
            operation: self.operation.to_string(),
            source,
        }
    }

    pub(crate) fn guest(&self) -> &Guest {
        &self.guest
    }

    pub(crate) fn operation(&self) -> &str {
        &self.operation
    }

    pub(crate) fn boot(&self) -> &str {
        self.boot.as_deref().unwrap_or_default()
    }

    /// Whether the agent has said something, or has gone.
    pub(crate) fn has_news(&self) -> bool {
        let mut watched = [PollFd::new(&*self.stream, PollFlags::IN)];
        poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// The stream itself, for an operation that has no frames after its answer.
    pub(crate) fn stream(&self) -> Result<UnixStream, GuestError> {
        self.stream.try_clone().map_err(|source| self.host(source))
    }

    /// Ends it from any thread.
    pub(crate) fn closer(&self) -> Closer {
        Closer(Arc::clone(&self.stream))
    }

    /// Ends it in both directions, for every thread that uses it.
    pub(crate) fn shut_down(&self) {
        // It may have ended.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.guest.unregister(self.id);
    }
}

/// Ends a connection.
#[derive(Debug, Clone)]
pub(crate) struct Closer(Arc<UnixStream>);

impl Closer {
    pub(crate) fn close(&self) {
        // It may have ended.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Writes frames, one at a time, from any thread.
#[derive(Debug, Clone)]
pub(crate) struct Writer(Arc<Mutex<Arc<UnixStream>>>);

impl Writer {
    /// Writes a frame.
    pub(crate) fn write(&self, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        frame::write(&mut &**stream, kind, payload)
    }
}

/// A received frame.
#[derive(Debug)]
pub(crate) struct OwnedFrame {
    pub(crate) kind: Kind,
    pub(crate) payload: Vec<u8>,
}

impl OwnedFrame {
    pub(crate) fn message<T: DeserializeOwned>(&self, kind: Kind) -> Result<T, FrameError> {
        let frame = frame::Frame {
            kind: self.kind,
            payload: &self.payload,
        };
        frame.message(kind)
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}
