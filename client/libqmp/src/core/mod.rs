//! A session's state, shared by its handles: the thread that waits reads for all that wait.
//!
//! There is no reader thread. Of the threads that wait for something one leads: it reads the socket and routes what it
//! reads (`reading`). When it has what it waits for, it hands the lead to another one that waits. A call from one
//! thread thus costs a write and a read, and no thread switch. Requests go through one outbox, which no caller waits
//! for that needs no answer (`sending`). Handlers run in one thread at a time (`handlers`).

mod handlers;
mod reading;
mod sending;

use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::thread::Thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::error::Closing;
use crate::message::{Band, request, with_id};
use crate::options::Options;
use crate::process::Process;
use crate::readiness::{Flag, Readiness};
use crate::routes::{Deliver, Filter, ObjectId, Routes};
use crate::said::Said;
use crate::socket::{Deadline, Outbox, Socket};
use crate::{Error, Greeting, Observer};

use reading::Reader;

pub(crate) use reading::own_waker;

/// The state shared by the handlers' thread and every handle.
pub(crate) struct Core {
    address: String,
    greeting: Greeting,
    has_accessors: bool,
    timeout: Option<Duration>,
    observer: Option<Observer>,
    socket: Socket,
    outbox: Mutex<Outbox>,
    /// Requests without a waiting caller, until the outbox is free.
    later: Mutex<Vec<String>>,
    reader: Mutex<Reader>,
    state: Mutex<State>,
    readiness: Option<Readiness>,
    /// Interrupts the leader's read for work that does not arrive on the socket.
    interrupt: OnceLock<Flag>,
    process: Option<Process>,
    /// The names of the server's events, once they were needed.
    pub(crate) known_events: Mutex<Option<Arc<[String]>>>,
}

#[derive(Default)]
struct State {
    routes: Routes,
    leads: bool,
    /// Threads that wait for the lead, beside what they wait for.
    waiting: Vec<Thread>,
    /// The one that leads next.
    next: Option<Thread>,
    /// Whether a thread dispatches events to handlers.
    dispatches: bool,
    /// Whether there is a thread for handlers.
    has_thread: bool,
}

impl Core {
    /// Begins on a connected socket.
    pub(crate) fn start(
        options: Options,
        address: &str,
        socket: Socket,
        process: Option<Process>,
    ) -> Result<Arc<Self>, Error> {
        let agreement = options.negotiate(address, &socket)?;
        let mut readiness = None;
        if options.dispatches_by_hand {
            readiness = Some(Readiness::new(&socket).map_err(|error| closed(address, error))?);
        }
        let core = Arc::new(Self {
            address: address.to_owned(),
            greeting: agreement.greeting,
            has_accessors: agreement.has_accessors,
            timeout: options.timeout,
            observer: options.observer,
            socket,
            outbox: Mutex::default(),
            later: Mutex::default(),
            reader: Mutex::new(Reader::new(agreement.lines)),
            state: Mutex::default(),
            readiness,
            interrupt: OnceLock::new(),
            process,
            known_events: Mutex::default(),
        });
        if let Some(readiness) = &core.readiness {
            core.lock().routes.on_due(&readiness.waker());
        }
        // What arrived with the end of the negotiation does not make the socket readable again.
        core.route_lines();
        Ok(core)
    }

    /// The address, as given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The server's greeting.
    pub(crate) fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Whether the server has accessors.
    pub(crate) fn has_accessors(&self) -> bool {
        self.has_accessors
    }

    /// The process that lives as long as this.
    pub(crate) fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// Readable when there is work.
    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.readiness {
            Some(readiness) => readiness.as_fd(),
            None => self.socket.as_fd(),
        }
    }

    fn lock(&self) -> Locked<'_> {
        Locked {
            state: lock(&self.state),
            after: After::default(),
        }
    }

    /// Executes a command and waits for its answer.
    pub(crate) fn execute(
        &self,
        band: Band,
        command: &str,
        arguments: Option<&impl Serialize>,
        accessor: Option<ObjectId>,
    ) -> Result<Said, Error> {
        let request = request(band, command, arguments).map_err(|error| Error::Arguments {
            command: command.to_owned(),
            why: error.to_string(),
        })?;
        let deadline = Deadline::of(self.timeout);
        let id = self.lock().routes.call(accessor)?;
        self.send(&with_id(request, id), deadline)?;
        let answer = self.wait(deadline, |routes, waker| routes.answer(id, waker));
        match answer {
            Ok(Some(Ok(Ok(value)))) => Ok(value),
            Ok(Some(Ok(Err(error)))) => Err(Error::refused(command, &error)),
            Ok(Some(Err(error))) | Err(error) => Err(error),
            Ok(None) => {
                self.lock().routes.abandon(id);
                Err(Error::TimedOut {
                    awaited: format!("answer to '{command}'"),
                    within: self.timeout.unwrap_or_default(),
                })
            }
        }
    }

    /// Executes a command without waiting for its answer, or for the server to read it.
    pub(crate) fn execute_and_forget(&self, command: &str, arguments: &Value) {
        let Ok(request) = request(Band::In, command, Some(arguments)) else {
            return;
        };
        let id = self.lock().routes.call_and_forget();
        if let Some(id) = id {
            lock(&self.later).push(with_id(request, id));
            self.send_later();
        }
    }

    /// Puts a handle.
    pub(crate) fn put(&self, tag: i64) {
        self.execute_and_forget("put-event", &serde_json::json!({ "tag": tag }));
    }

    /// Ends the connection.
    fn end(&self, why: Closing) {
        let address = self.address.clone();
        self.lock().routes.end(Error::Closed { address, why });
        // A thread that reads, or waits for readiness, notices.
        self.socket.shut_down();
    }

    /// Ends the connection, and the process with it.
    pub(crate) fn close(&self) {
        self.end(Closing::ByClient);
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Calls a function with the routes.
    pub(crate) fn with_routes<T>(&self, what: impl FnOnce(&mut Routes) -> T) -> T {
        what(&mut self.lock().routes)
    }

    /// Starts or stops dispatching an object's events.
    pub(crate) fn deliver(&self, id: ObjectId, deliver: Option<Deliver>) {
        let mut state = self.lock();
        state.routes.deliver(id, deliver);
        if state.leads
            && let Some(interrupt) = self.interrupt.get()
        {
            interrupt.set();
        }
    }

    /// Makes an object of events.
    pub(crate) fn object(&self, filter: Filter) -> ObjectId {
        self.with_routes(|routes| routes.object(filter))
    }
}

impl State {
    /// Hands over the lead, as this thread has what it waited for.
    fn hand_on(&mut self) {
        if !self.leads {
            self.next = self.waiting.first().cloned();
        }
    }
}

/// The state, locked. Threads that a change wakes are woken after the unlock, so that they do not block on it at once.
struct Locked<'a> {
    // Fields are dropped in this order.
    state: MutexGuard<'a, State>,
    after: After,
}

/// Threads to be woken.
#[derive(Default)]
struct After {
    woken: Vec<Waker>,
    next: Option<Thread>,
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.after = After {
            woken: self.state.routes.woken(),
            next: self.state.next.take(),
        };
    }
}

impl Drop for After {
    fn drop(&mut self) {
        self.woken.drain(..).for_each(Waker::wake);
        if let Some(next) = self.next.take() {
            next.unpark();
        }
    }
}

/// Locks a state that no panic can leave inconsistent.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed(address: &str, error: io::Error) -> Error {
    Error::Closed {
        address: address.to_owned(),
        why: Closing::Failed(error.into()),
    }
}
