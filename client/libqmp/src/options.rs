//! Options of a session.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::time::Duration;

use crate::address::Address;
use crate::negotiation::{Agreement, Negotiation};
use crate::process::Process;
use crate::socket::{Deadline, Socket};
use crate::{Direction, Error, Observer, Session};

/// The default limit for a server's greeting.
const GREETING: Duration = Duration::from_secs(10);

/// Options of a [`Session`].
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
    /// Limits the wait for each call; by default there is no limit. A later answer is ignored. The greeting and the
    /// negotiation have the same limit, unless [`within`](Self::within) sets another.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Retries to connect for this long, for a server that has yet to start, and limits the greeting and the
    /// negotiation to the same. By default there is one attempt, and the limit is that of a call, or ten seconds.
    pub fn within(mut self, within: Duration) -> Self {
        self.within = Some(within);
        self
    }

    /// Leaves running handlers to [`Session::dispatch`]: the session never has a thread.
    pub fn manual_dispatch(mut self) -> Self {
        self.dispatches_by_hand = true;
        self
    }

    /// Shows each line sent and received to `observer`, which must not use the session.
    pub fn observe(mut self, observer: impl Fn(Direction, &str) + Send + Sync + 'static) -> Self {
        self.observer = Some(std::sync::Arc::new(observer));
        self
    }

    /// Connects to `unix:PATH`, `tcp:HOST:PORT`, or a path, which may be a plain file name.
    ///
    /// # Errors
    ///
    /// There is no server, or it is not a QMP server.
    pub fn connect(self, address: &str) -> Result<Session, Error> {
        let socket = self.reach(address)?;
        Session::start(self, address, socket, None)
    }

    /// Connects, without negotiating yet.
    pub(crate) fn reach(&self, address: &str) -> Result<Socket, Error> {
        let fd = Address::parse(address)?.connect(address, self.within, self.greeting())?;
        Ok(Socket::new(fd))
    }

    /// The limit for a server to accept, to send its greeting, and to negotiate.
    fn greeting(&self) -> Duration {
        self.within.or(self.timeout).unwrap_or(GREETING)
    }

    /// Makes a session on a stream socket that is connected to a server.
    ///
    /// # Errors
    ///
    /// The peer is not a QMP server.
    pub fn from_fd(self, socket: OwnedFd) -> Result<Session, Error> {
        let address = format!("fd:{}", std::os::fd::AsRawFd::as_raw_fd(&socket));
        Session::start(self, &address, Socket::new(socket), None)
    }

    /// Starts a program with a monitor for this session, by Faultvisor's option `--qmp fd:N`. The program ends with the
    /// session.
    ///
    /// # Errors
    ///
    /// It cannot be started, or ends before it has sent a greeting; its messages are on its standard error.
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
            deadline: Deadline::of(Some(within)),
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
