//! How a session is made.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use crate::address::Address;
use crate::negotiation::{Agreement, Negotiation};
use crate::process::Process;
use crate::socket::{Patience, Socket};
use crate::{Direction, Error, Observer, Session};

/// How long a server may take to say who it is, if nothing else is said.
const GREETING: Duration = Duration::from_secs(10);

/// How to make a [`Session`].
///
/// ```no_run
/// use std::time::Duration;
/// use libqmp::Session;
///
/// let session = Session::options()
///     .within(Duration::from_secs(5))
///     .timeout(Duration::from_secs(1))
///     .connect("unix:/tmp/qmp.sock")?;
/// println!("{:?}", session.query_status()?);
/// # Ok::<(), libqmp::Error>(())
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct Options {
    pub(crate) timeout: Option<Duration>,
    pub(crate) within: Option<Duration>,
    pub(crate) dispatches_by_hand: bool,
    pub(crate) observer: Option<Observer>,
}

impl Options {
    /// How long each call may take; for ever if this is not said. An answer that comes later is left alone. The greeting
    /// and the negotiation may take as long, unless [`within`](Self::within) says otherwise.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Tries to connect for so long, for a server that may have to start first, and lets the greeting and the
    /// negotiation take as long. If this is not said there is one attempt, and for the rest the time that each call may
    /// take, or ten seconds.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Leaves it to [`Session::dispatch`] to run handlers: the session has no thread, ever.
    pub fn manual_dispatch(mut self) -> Self {
        self.dispatches_by_hand = true;
        self
    }

    /// Shows each line that is sent and received to `observer`, which must not use the session itself.
    pub fn observe(mut self, observer: impl Fn(Direction, &str) + Send + Sync + 'static) -> Self {
        self.observer = Some(std::sync::Arc::new(observer));
        self
    }

    /// Connects to `unix:PATH`, `tcp:HOST:PORT`, or a path, which may be the plain name of a file.
    ///
    /// # Errors
    ///
    /// Nobody is there, or it is no QMP server.
    pub fn connect(self, address: &str) -> Result<Session, Error> {
        let socket = self.reach(address)?;
        Session::start(self, address, socket, None)
    }

    /// Connects, and says nothing yet.
    pub(crate) fn reach(&self, address: &str) -> Result<Socket, Error> {
        let fd = Address::parse(address)?.connect(address, self.within, self.greeting())?;
        Ok(Socket::new(fd))
    }

    /// How long a server may take to accept, to say who it is, and to negotiate.
    fn greeting(&self) -> Duration {
        self.within.or(self.timeout).unwrap_or(GREETING)
    }

    /// Makes a session of a stream socket that is connected to a server.
    ///
    /// # Errors
    ///
    /// Whoever is at its other end is no QMP server.
    pub fn from_fd(self, socket: OwnedFd) -> Result<Session, Error> {
        let address = format!("fd:{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
        Session::start(self, &address, Socket::new(socket), None)
    }

    /// Starts a program with a monitor of its own for this session, by the option `--qmp fd:N`, as Faultvisor has it.
    /// The program lives no longer than the session.
    ///
    /// # Errors
    ///
    /// It cannot be started, or ends before it has sent a greeting; what it said is on its standard error.
    pub fn spawn(self, command: Command) -> Result<Session, Error> {
        let address = command.get_program().to_string_lossy().into_owned();
        let (socket, process) = Process::spawn(command)?;
        Session::start(self, &address, socket, Some(process))
    }

    pub(crate) fn negotiate(&self, address: &str, socket: &Socket) -> Result<Agreement, Error> {
        let within = self.greeting();
        let negotiation = Negotiation {
            address,
            socket,
            observer: self.observer.as_ref(),
            patience: Patience::of(Some(within)),
            within,
        };
        negotiation.perform()
    }
}

impl std::fmt::Debug for Options {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Options")
            .field("timeout", &self.timeout)
            .field("within", &self.within)
            .field("dispatches_by_hand", &self.dispatches_by_hand)
            .finish_non_exhaustive()
    }
}
