//! What a session does, for whoever has a handle of it: who waits reads for all who wait.
//!
//! There is no thread that reads. Of the threads that wait for something one leads: it reads the socket, and brings what
//! comes to whoever it is for (`reading`). When it has what it waits for itself, it hands the lead to another that still
//! waits. A call from one thread so costs a write and a read, and no switch between threads. What is sent goes through
//! one outbox, which nobody waits for who wants no answer (`sending`); handlers run in one thread at a time (`handlers`).

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
use crate::socket::{Outbox, Patience, Socket};
use crate::{Error, Greeting, Observer};

use reading::Reader;

pub(crate) use reading::own_waker;

/// What handlers' thread and every handle share.
pub(crate) struct Core {
    address: String,
    greeting: Greeting,
    has_accessors: bool,
    timeout: Option<Duration>,
    observer: Option<Observer>,
    socket: Socket,
    outbox: Mutex<Outbox>,
    /// Requests that nobody waits for, until the outbox is free.
    later: Mutex<Vec<String>>,
    reader: Mutex<Reader>,
    state: Mutex<State>,
    readiness: Option<Readiness>,
    /// Has who leads look around, once there are reasons to that do not come over the socket.
    interrupt: OnceLock<Flag>,
    process: Option<Process>,
    /// The names of the server's events, once somebody had to know.
    pub(crate) known_events: Mutex<Option<Arc<[String]>>>,
}

#[derive(Default)]
struct State {
    routes: Routes,
    leads: bool,
    /// Those that wait for the lead as well as for what they wait for.
    waiting: Vec<Thread>,
    /// Which of them is to lead next.
    next: Option<Thread>,
    /// Whether a thread hands events on to handlers.
    dispatches: bool,
    /// Whether there is a thread for handlers.
    has_thread: bool,
}

impl Core {
    /// Begins with a socket that is connected.
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
        // What came with the last word of the negotiation is not announced by the socket.
        core.route_lines();
        Ok(core)
    }

    /// As it was given.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What the server has said of itself.
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

    /// Readable when there is something to do.
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
        let patience = Patience::of(self.timeout);
        let id = self.lock().routes.call(accessor)?;
        self.send(&with_id(request, id), patience)?;
        let answer = self.wait(patience, |routes, waker| routes.answer(id, waker));
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

    /// Executes a command whose answer nobody waits for. Does not wait for the server to read it either.
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

    /// Gives a handle back.
    pub(crate) fn put(&self, tag: i64) {
        self.execute_and_forget("put-event", &serde_json::json!({ "tag": tag }));
    }

    /// Ends the connection.
    fn end(&self, why: Closing) {
        let address = self.address.clone();
        self.lock().routes.end(Error::Closed { address, why });
        // Who reads in another thread, or waits for the socket to be readable, notices.
        self.socket.shut_down();
    }

    /// Ends the connection, and with it the process.
    pub(crate) fn close(&self) {
        self.end(Closing::ByClient);
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Does something with the routes.
    pub(crate) fn with_routes<T>(&self, what: impl FnOnce(&mut Routes) -> T) -> T {
        what(&mut self.lock().routes)
    }

    /// Has an object's events handed on from now on, or no more.
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
    /// Lets another thread lead, now that this one has what it waited for.
    fn hand_on(&mut self) {
        if !self.leads {
            self.next = self.waiting.first().cloned();
        }
    }
}

/// The state, for one thread at a time. Who is woken by what was done to it is woken when it is free again, and does not
/// fall asleep over it at once.
struct Locked<'a> {
    // The order of the fields is that of their drops.
    state: MutexGuard<'a, State>,
    after: After,
}

/// Who is to be woken.
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

/// Locks what no panic can leave in disorder.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn closed(address: &str, error: io::Error) -> Error {
    Error::Closed {
        address: address.to_owned(),
        why: Closing::Failed(error.into()),
    }
}
