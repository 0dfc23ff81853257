//! A session with blocking calls.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use faultvisor_schema::{AccessorArguments, Decode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::core::{Core, lock};
use crate::message::Band;
use crate::options::Options;
use crate::process::Process;
use crate::said::Said;
use crate::socket::Socket;
use crate::{AnyEvent, Error, EventData, Events, Greeting};

/// A connection to a server. Clones share it; it ends with the last of them and of the objects made by it.
///
/// Every method can be called from any thread at any time; calls of several threads are in flight together.
#[derive(Clone)]
pub struct Session {
    pub(crate) core: Arc<Core>,
    /// Ends the connection with the last handle.
    holder: Arc<Holder>,
}

/// Dropped with the last handle, while handlers may still run.
struct Holder {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Session {
    /// Connects to a server at `unix:PATH`, at `tcp:HOST:PORT`, or at a path.
    ///
    /// # Errors
    ///
    /// There is no server, or it is not a QMP server.
    pub fn connect(address: &str) -> Result<Self, Error> {
        Self::options().connect(address)
    }

    /// Further options of [`connect`](Self::connect).
    pub fn options() -> Options {
        Options::default()
    }

    /// Makes a session on a connected socket.
    pub(crate) fn start(
        options: Options,
        address: &str,
        socket: Socket,
        process: Option<Process>,
    ) -> Result<Self, Error> {
        let core = Core::start(options, address, socket, process)?;
        Ok(Self {
            holder: Arc::new(Holder {
                core: Arc::clone(&core),
                thread: Mutex::default(),
            }),
            core,
        })
    }

    /// The server's greeting.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        self.core.greeting()
    }

    /// Whether the server has accessors. If it has none, like QEMU, event objects use the events that it sends by
    /// default.
    #[must_use]
    pub fn has_accessors(&self) -> bool {
        self.core.has_accessors()
    }

    /// Executes any command, whether or not the schema has it.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] is the server's; the others concern the connection.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "arguments are mostly written in place"
    )]
    pub fn execute_raw(&self, command: &str, arguments: Option<Value>) -> Result<Value, Error> {
        let answer = self
            .core
            .execute(Band::In, command, arguments.as_ref(), None)?;
        raw(command, &answer)
    }

    /// The same out of band, ahead of earlier commands. The server must permit it for the command.
    ///
    /// # Errors
    ///
    /// As those of [`execute_raw`](Self::execute_raw).
    #[allow(
        clippy::needless_pass_by_value,
        reason = "arguments are mostly written in place"
    )]
    pub fn execute_raw_out_of_band(
        &self,
        command: &str,
        arguments: Option<Value>,
    ) -> Result<Value, Error> {
        let answer = self
            .core
            .execute(Band::OutOf, command, arguments.as_ref(), None)?;
        raw(command, &answer)
    }

    /// Executes a command of the schema.
    pub(crate) fn call<T: Decode + DeserializeOwned>(
        &self,
        command: &str,
        arguments: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let answer = self.core.execute(Band::In, command, arguments, None)?;
        decode(command, &answer)
    }

    /// Connects to an event of the schema.
    pub(crate) fn event<T: EventData>(
        &self,
        name: &str,
        arguments: &AccessorArguments,
    ) -> Result<Events<T>, Error> {
        Events::connect_to(self, name, arguments)
    }

    /// Connects to every event of the server, including those that the schema does not have. Events of the session's
    /// own `listen-event` are received here, too.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn any_event(&self) -> Result<AnyEvent, Error> {
        Events::connect_to_all(self)
    }

    /// Connects to an event by its name, such as `BLOCK_IO_ERROR`.
    ///
    /// # Errors
    ///
    /// The server has no such event or no such device, or the connection failed.
    pub fn get_event(&self, name: &str, arguments: &AccessorArguments) -> Result<AnyEvent, Error> {
        self.event(name, arguments)
    }

    /// Reads what has arrived, without waiting, and runs the handlers of its events in this thread. Returns the number
    /// of events. For sessions with [`Options::manual_dispatch`].
    ///
    /// Called from a handler, while another thread dispatches, or for other sessions, it does nothing.
    ///
    /// # Errors
    ///
    /// The connection has ended, and every event before its end has been dispatched.
    pub fn dispatch(&self) -> Result<usize, Error> {
        self.core.dispatch()
    }

    /// Readable whenever [`dispatch`](Self::dispatch) has something to do, also if a call has read an event while it
    /// waited. For sessions with [`Options::manual_dispatch`]; for others it is the socket itself.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }

    /// Ends the connection: every waiting and every later call fails with [`Error::Closed`].
    pub fn close(&self) {
        self.core.close();
    }

    /// The process started by [`Options::spawn`].
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.core.process()
    }

    /// Starts to run handlers, if the session does so itself.
    pub(crate) fn start_handlers(&self) -> Result<(), Error> {
        if let Some(thread) = Core::start_handlers(&self.core)? {
            *lock(&self.holder.thread) = Some(thread);
        }
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.core.close();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.thread().id() != thread::current().id()
        {
            // It ends with the connection.
            let _ = thread.join();
        }
    }
}

/// Converts a command's return value into its type.
pub(crate) fn decode<T: Decode + DeserializeOwned>(
    command: &str,
    answer: &Said,
) -> Result<T, Error> {
    answer.read().map_err(|why| misfit(command, why))
}

/// The same for a type that is unknown here.
pub(crate) fn raw(command: &str, answer: &Said) -> Result<Value, Error> {
    answer.value().map_err(|why| misfit(command, why))
}

fn misfit(command: &str, why: String) -> Error {
    let command = command.to_owned();
    Error::Reply { command, why }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("address", &self.core.address())
            .finish_non_exhaustive()
    }
}
