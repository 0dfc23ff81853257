//! The asynchronous client: commands are async functions, and events are streams.
//!
//! A session has a task on tokio's runtime that reads and writes. A future that is dropped leaves nothing behind: the
//! answer of its call is discarded, and a handle in it is put.

mod connection;
mod descriptor;
mod events;

use std::fmt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use faultvisor_schema::{AccessorArguments, Decode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::spawn_blocking;

use crate::core::lock;
use crate::message::{Band, request};
use crate::process::Process;
use crate::routes::ObjectId;
use crate::said::Said;
use crate::session::{decode, raw};
use crate::socket::Socket;
use crate::{Error, EventData, Greeting, Options};

pub use crate::streams::*;
pub use events::{AnyEvent, Events};

use connection::{Request, Shared};

/// A connection to a server. Clones share it; it ends with the last of them and of the objects made by it.
#[derive(Clone)]
pub struct Session {
    core: Arc<Core>,
}

struct Core {
    greeting: Greeting,
    has_accessors: bool,
    timeout: Option<Duration>,
    shared: Arc<Shared>,
    /// The connection ends when no handle is left.
    requests: UnboundedSender<Request>,
    known_events: Mutex<Option<Arc<[String]>>>,
    process: Option<Process>,
}

impl Session {
    /// Connects to a server at `unix:PATH`, at `tcp:HOST:PORT`, or at a path.
    ///
    /// # Errors
    ///
    /// There is no server, or it is not a QMP server.
    pub async fn connect(address: &str) -> Result<Self, Error> {
        Self::connect_with(address, Options::default()).await
    }

    /// The same, with options. [`Options::manual_dispatch`] has no effect here.
    ///
    /// # Errors
    ///
    /// As those of [`connect`](Self::connect).
    pub async fn connect_with(address: &str, options: Options) -> Result<Self, Error> {
        let address = address.to_owned();
        Self::start(options, move |options| {
            let socket = options.reach(&address)?;
            Ok((address, socket, None))
        })
        .await
    }

    /// Makes a session on a stream socket that is connected to a server.
    ///
    /// # Errors
    ///
    /// The peer is not a QMP server.
    pub async fn from_fd(socket: std::os::fd::OwnedFd, options: Options) -> Result<Self, Error> {
        Self::start(options, move |_| {
            let number = std::os::fd::AsRawFd::as_raw_fd(&socket);
            Ok((format!("fd:{number}"), Socket::new(socket), None))
        })
        .await
    }

    /// Starts a program with a monitor for this session, as [`Options::spawn`] does.
    ///
    /// # Errors
    ///
    /// It cannot be started, or ends before it has sent a greeting.
    pub async fn spawn(command: Command, options: Options) -> Result<Self, Error> {
        Self::start(options, move |_| {
            let address = command.get_program().to_string_lossy().into_owned();
            let (socket, process) = Process::spawn(command)?;
            Ok((address, socket, Some(process)))
        })
        .await
    }

    /// Makes a session on what `connect` connects to.
    async fn start(
        options: Options,
        connect: impl FnOnce(&Options) -> Result<(String, Socket, Option<Process>), Error>
        + Send
        + 'static,
    ) -> Result<Self, Error> {
        // It may wait for a server to start, and so needs a thread that may block.
        let connected = spawn_blocking(move || {
            let (address, socket, process) = connect(&options)?;
            let agreement = options.negotiate(&address, &socket)?;
            Ok((options, address, socket, process, agreement))
        });
        let (options, address, socket, process, agreement) = match connected.await {
            Ok(result) => result?,
            // The runtime has ended.
            Err(error) => return Err(connection::stopped("the runtime", error.into())),
        };
        let (greeting, has_accessors) = (agreement.greeting, agreement.has_accessors);
        let shared = Arc::new(Shared::new(address, options.observer));
        let requests = connection::start(Arc::clone(&shared), socket, agreement.lines)?;
        Ok(Self {
            core: Arc::new(Core {
                greeting,
                has_accessors,
                timeout: options.timeout,
                shared,
                requests,
                known_events: Mutex::default(),
                process,
            }),
        })
    }

    /// The server's greeting.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        &self.core.greeting
    }

    /// Whether the server has accessors.
    #[must_use]
    pub fn has_accessors(&self) -> bool {
        self.core.has_accessors
    }

    /// The process started by [`spawn`](Self::spawn).
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.core.process.as_ref()
    }

    /// Ends the connection: every pending and every later call fails with [`Error::Closed`].
    pub fn close(&self) {
        self.core.shared.end(crate::Closing::ByClient);
        // The task may have ended already.
        let _ = self.core.requests.send(Request::Close);
    }

    /// Executes any command, whether or not the schema has it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] is the server's; the others concern the connection.
    pub async fn execute_raw(
        &self,
        command: &str,
        arguments: Option<Value>,
    ) -> Result<Value, Error> {
        let answer = self.execute(Band::In, command, arguments.as_ref(), None);
        raw(command, &answer.await?)
    }

    /// The same out of band, ahead of earlier commands.
    ///
    /// # Errors
    ///
    /// As those of [`execute_raw`](Self::execute_raw).
    pub async fn execute_raw_out_of_band(
        &self,
        command: &str,
        arguments: Option<Value>,
    ) -> Result<Value, Error> {
        let answer = self.execute(Band::OutOf, command, arguments.as_ref(), None);
        raw(command, &answer.await?)
    }

    /// Connects to every event of the server.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub async fn any_event(&self) -> Result<AnyEvent, Error> {
        Events::connect_to_all(self).await
    }

    /// Connects to an event by its name, such as `BLOCK_IO_ERROR`.
    ///
    /// # Errors
    ///
    /// The server has no such event or no such device, or the connection failed.
    pub async fn get_event(
        &self,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<AnyEvent, Error> {
        self.event(name, arguments).await
    }

    pub(crate) async fn call<T: Decode + DeserializeOwned>(
        &self,
        command: &str,
        arguments: Option<&(impl Serialize + Sync)>,
    ) -> Result<T, Error> {
        let answer = self.execute(Band::In, command, arguments, None).await?;
        decode(command, &answer)
    }

    pub(crate) async fn event<T: EventData>(
        &self,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<Events<T>, Error> {
        Events::connect_to(self, name, arguments).await
    }

    async fn execute(
        &self,
        band: Band,
        command: &str,
        arguments: Option<&(impl Serialize + Sync)>,
        accessor: Option<ObjectId>,
    ) -> Result<Said, Error> {
        let request = request(band, command, arguments).map_err(|error| Error::Arguments {
            command: command.to_owned(),
            why: error.to_string(),
        })?;
        let call = self.core.shared.call(accessor)?;
        // Without its task the connection has ended, which the call reports.
        let _ = self
            .core
            .requests
            .send(Request::Line(crate::message::with_id(request, call.id())));
        let answer = match self.core.timeout {
            None => call.await,
            Some(within) => match tokio::time::timeout(within, call).await {
                Ok(answer) => answer,
                Err(_) => {
                    return Err(Error::TimedOut {
                        awaited: format!("answer to '{command}'"),
                        within,
                    });
                }
            },
        };
        answer?.map_err(|error| Error::refused(command, &error))
    }
}

impl Core {
    /// Puts a handle, without waiting for the answer.
    fn put(&self, tag: i64) {
        if let Some(line) = self.shared.put(tag) {
            let _ = self.requests.send(Request::Line(line));
        }
    }

    fn known_events(&self) -> Option<Arc<[String]>> {
        lock(&self.known_events).clone()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Session")
            .field("address", &self.core.shared.address())
            .finish_non_exhaustive()
    }
}
