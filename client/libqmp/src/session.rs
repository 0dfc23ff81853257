//! A session whose calls block, as its users have it.

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

/// A connection to a server. Clones are the same connection, which ends with the last of them and of the objects that
/// it has made.
///
/// Every method can be called from any thread at any time; calls of several threads are in flight together.
#[derive(Clone)]
pub struct Session {
    pub(crate) core: Arc<Core>,
    /// Ends the connection when nobody has it any more.
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
    /// Nobody is there, or it is no QMP server.
    pub fn connect(address: &str) -> Result<Self, Error> {
        Self::options().connect(address)
    }

    /// How to connect otherwise than with [`connect`](Self::connect).
    pub fn options() -> Options {
        Options::default()
    }

    /// Makes a session of a socket that is connected.
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

    /// What the server has said of itself.
    #[must_use]
    pub fn greeting(&self) -> &Greeting {
        self.core.greeting()
    }

    /// Whether the server has commands that connect to signals. Where it has none, as QEMU, objects of events rest on
    /// the events that it sends by default.
    #[must_use]
    pub fn has_accessors(&self) -> bool {
        self.core.has_accessors()
    }

    /// Executes any command, whether the schema knows it or not.
    ///
    /// # Errors
    ///
    /// [`Error::Command`] is the server's; the others tell of the connection.
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

    /// The same out of band: before commands that came earlier. The server has to allow it for that command.
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

    /// Connects to every event that the server has, those that the schema does not know included. What the session
    /// has asked for by `listen-event` arrives here, too.
    ///
    /// # Errors
    ///
    /// The connection failed.
    pub fn any_event(&self) -> Result<AnyEvent, Error> {
        Events::connect_to_all(self)
    }

    /// Connects to an event by its name, as `BLOCK_IO_ERROR`.
    ///
    /// # Errors
    ///
    /// The server has no such event or no such device, or the connection failed.
    pub fn get_event(&self, name: &str, arguments: &AccessorArguments) -> Result<AnyEvent, Error> {
        self.event(name, arguments)
    }

    /// Reads what is there without waiting, and runs the handlers of the events that are there, in this thread.
    /// Returns how many events that were. For sessions with [`Options::manual_dispatch`].
    ///
    /// Called from within a handler, while another thread is at it, or for other sessions, it does nothing.
    ///
    /// # Errors
    ///
    /// The connection is at its end, and every event that came before has been handed on.
    pub fn dispatch(&self) -> Result<usize, Error> {
        self.core.dispatch()
    }

    /// Readable whenever [`dispatch`](Self::dispatch) has something to do: not only when the server has sent
    /// something, but also when a call has read an event on its way. For sessions with [`Options::manual_dispatch`];
    /// for others the socket itself.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.core.as_fd()
    }

    /// Ends the connection: every call that waits, and every later one, fails with [`Error::Closed`].
    pub fn close(&self) {
        self.core.close();
    }

    /// The process that [`Options::spawn`] has started.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.core.process()
    }

    /// Has handlers run from now on, if that is the session's business.
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

/// Makes an answer of what a command returned.
pub(crate) fn decode<T: Decode + DeserializeOwned>(
    command: &str,
    answer: &Said,
) -> Result<T, Error> {
    answer.read().map_err(|why| misfit(command, why))
}

/// The same where nobody knows of which type.
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
