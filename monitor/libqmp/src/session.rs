//! A session whose calls block: who waits reads for all who wait.
//!
//! There is no thread that reads. Of the threads that wait for something one leads: it reads the socket, and brings what
//! comes to whoever it is for. When it has what it waits for itself, it hands the lead to another that still waits. A
//! call from one thread so costs a write and a read, and no switch between threads.

use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::task::{Wake, Waker};
use std::thread::{self, JoinHandle, Thread, ThreadId};
use std::time::Duration;

use faultvisor_schema::{AccessorArguments, Decode, Path};
use serde::Serialize;
use serde_json::Value;

use crate::error::{Closing, excerpt};
use crate::lines::Lines;
use crate::message::{Band, Message, request, with_id};
use crate::options::Options;
use crate::process::Process;
use crate::readiness::{Flag, Readiness};
use crate::routes::{Consequence, Deliver, Filter, ObjectId, RawOccurrence, Routes};
use crate::socket::{CHUNK, Outbox, Patience, Read, Socket};
use crate::{AnyEvent, Direction, Error, EventData, Events, Greeting, Observer};

/// How often the socket is read by who does not want to wait.
pub(crate) const MOST_READS: usize = 16;

/// How long who writes leaves it to another thread to read, before it looks again.
const A_MOMENT: Duration = Duration::from_millis(1);

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

/// What only the thread that leads has to do with.
struct Reader {
    lines: Lines,
    buffer: Box<[u8; CHUNK]>,
}

#[derive(Default)]
struct State {
    routes: Routes,
    leads: bool,
    /// Those that wait for the lead as well as for what they wait for.
    waiting: Vec<Thread>,
    /// The thread that hands events on to handlers.
    dispatches: Option<ThreadId>,
    /// Whether there is a thread for handlers.
    has_thread: bool,
}

/// Dropped with the last handle, while handlers may still run.
struct Holder {
    core: Arc<Core>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Session {
    /// Connects to a server at `unix:PATH`, at a path with a slash in it, or at `tcp:HOST:PORT`.
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
        let agreement = options.negotiate(address, &socket)?;
        let mut readiness = None;
        if options.dispatches_by_hand {
            readiness = Some(Readiness::new(&socket).map_err(|error| closed(address, error))?);
        }
        let core = Arc::new(Core {
            address: address.to_owned(),
            greeting: agreement.greeting,
            has_accessors: agreement.has_accessors,
            timeout: options.timeout,
            observer: options.observer,
            socket,
            outbox: Mutex::default(),
            later: Mutex::default(),
            reader: Mutex::new(Reader {
                lines: agreement.lines,
                buffer: Socket::buffer(),
            }),
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
        &self.core.greeting
    }

    /// Whether the server has commands that connect to signals. Where it has none, as QEMU, objects of events rest on
    /// the events that it sends by default.
    #[must_use]
    pub fn has_accessors(&self) -> bool {
        self.core.has_accessors
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
        self.core
            .execute(Band::In, command, arguments.as_ref(), None)
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
        self.core
            .execute(Band::OutOf, command, arguments.as_ref(), None)
    }

    /// Executes a command of the schema.
    pub(crate) fn call<T: Decode>(
        &self,
        command: &str,
        arguments: Option<&impl Serialize>,
    ) -> Result<T, Error> {
        let answer = self.core.execute(Band::In, command, arguments, None)?;
        decode(command, answer)
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
        match &self.core.readiness {
            Some(readiness) => readiness.as_fd(),
            None => self.core.socket.as_fd(),
        }
    }

    /// Ends the connection: every call that waits, and every later one, fails with [`Error::Closed`].
    pub fn close(&self) {
        self.core.close();
    }

    /// The process that [`Options::spawn`] has started.
    #[must_use]
    pub fn process(&self) -> Option<&Process> {
        self.core.process.as_ref()
    }

    /// Has handlers run from now on, if that is the session's business.
    pub(crate) fn start_handlers(&self) -> Result<(), Error> {
        let mut state = self.core.lock();
        if self.core.interrupt.get().is_none() {
            let flag = Flag::new().map_err(|error| closed(&self.core.address, error))?;
            // Nobody else sets it while the state is locked.
            let _ = self.core.interrupt.set(flag);
        }
        if self.core.readiness.is_some() || state.has_thread {
            return Ok(());
        }
        let core = Arc::clone(&self.core);
        let spawned = thread::Builder::new()
            .name("libqmp".to_owned())
            .spawn(move || core.run_handlers());
        let thread = spawned.map_err(|error| closed(&self.core.address, error))?;
        state.has_thread = true;
        drop(state);
        *lock(&self.holder.thread) = Some(thread);
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

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Executes a command and waits for its answer.
    pub(crate) fn execute(
        &self,
        band: Band,
        command: &str,
        arguments: Option<&impl Serialize>,
        accessor: Option<ObjectId>,
    ) -> Result<Value, Error> {
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

    fn send(&self, request: &str, patience: Patience) -> Result<(), Error> {
        let mut outbox = lock(&self.outbox);
        let sent = self.write(&mut outbox, request, patience);
        drop(outbox);
        self.send_later();
        let Err(error) = sent else { return Ok(()) };
        self.failed_to_send(error);
        match self.lock().routes.ended() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn write(&self, outbox: &mut Outbox, request: &str, patience: Patience) -> io::Result<()> {
        if let Some(observer) = &self.observer {
            observer(Direction::Sent, request.trim_ascii_end());
        }
        outbox.send(&self.socket, request.as_bytes())?;
        while !outbox.is_empty() && !patience.is_over() {
            // A server that wants to be heard before it hears more is heard, by this thread if no other reads.
            if self.socket.wait_for_either(patience)? && !self.read_once() {
                let moment = Patience::of(Some(A_MOMENT));
                self.socket.wait_to_write(moment)?;
            }
            outbox.flush(&self.socket)?;
        }
        Ok(())
    }

    /// Sends what nobody waits for, as far as the server takes it, or leaves it to who is at the outbox.
    fn send_later(&self) {
        // Who has left something behind the last look did not get the outbox, so that there is another look behind that.
        while !lock(&self.later).is_empty() {
            let mut outbox = match self.outbox.try_lock() {
                Ok(outbox) => outbox,
                Err(TryLockError::Poisoned(outbox)) => outbox.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            let requests = std::mem::take(&mut *lock(&self.later));
            let mut sent = requests
                .iter()
                .map(|request| self.write(&mut outbox, request, Patience::None));
            let sent = sent.find_map(Result::err);
            drop(outbox);
            if let Some(error) = sent {
                self.failed_to_send(error);
            }
        }
    }

    fn failed_to_send(&self, error: io::Error) {
        // A server that hangs up may have said something before.
        self.read_what_is_there();
        self.end(Closing::of_writing(error));
    }

    /// Waits until `ready` finds what it looks for in the routes; nothing if time is up.
    pub(crate) fn wait<T>(
        &self,
        patience: Patience,
        mut ready: impl FnMut(&mut Routes, &Waker) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        let me = thread::current();
        let waker = own_waker();
        let mut is_last = false;
        let mut reads = 0;
        loop {
            let mut state = self.lock();
            state.waiting.retain(|thread| thread.id() != me.id());
            let found = ready(&mut state.routes, &waker);
            if found.is_some() || is_last {
                state.hand_on();
                return Ok(found);
            }
            if let Some(error) = state.routes.ended() {
                let error = error.clone();
                return Err(error);
            }
            if state.leads {
                is_last = patience.is_over();
                state.waiting.push(me.clone());
                drop(state);
                match patience.left() {
                    Some(left) => thread::park_timeout(left),
                    None => thread::park(),
                }
            } else {
                state.leads = true;
                drop(state);
                let came = self.lead(patience);
                reads += 1;
                // A server that never stops does not keep anybody here for longer.
                let is_late = match patience {
                    Patience::None => reads == MOST_READS,
                    _ => patience.is_over(),
                };
                // Once more behind the last look at the socket.
                is_last = came == Came::Nothing || is_late;
            }
        }
    }

    /// Reads once, for everybody.
    fn lead(&self, patience: Patience) -> Came {
        let _lead = Lead(self);
        let mut reader = lock(&self.reader);
        let Reader { lines, buffer } = &mut *reader;
        match self.socket.read(buffer, patience, self.interrupt.get()) {
            Ok(Read::Interrupted) => Came::Something,
            Ok(Read::Bytes(length)) => {
                if lines.push(&buffer[..length]).is_err() {
                    self.end(Closing::Protocol("a line without an end".to_owned()));
                }
                self.route(lines);
                Came::Something
            }
            Ok(Read::Nothing) => Came::Nothing,
            Ok(Read::End) => {
                self.end(Closing::ByServer);
                Came::Something
            }
            Err(error) => {
                self.end(Closing::Failed(error.into()));
                Came::Something
            }
        }
    }

    fn route_lines(&self) {
        let mut reader = lock(&self.reader);
        self.route(&mut reader.lines);
    }

    fn route(&self, lines: &mut Lines) {
        while let Some(line) = lines.next() {
            if let Some(observer) = &self.observer {
                observer(Direction::Received, &String::from_utf8_lossy(line));
            }
            match Message::parse(line) {
                Ok(message) => {
                    let consequence = self.lock().routes.receive(message);
                    if let Some(Consequence::Put(tag)) = consequence {
                        self.put(tag);
                    }
                }
                Err(what) => {
                    let line = excerpt(&String::from_utf8_lossy(line));
                    self.end(Closing::Protocol(format!("{what}: {line}")));
                    return;
                }
            }
        }
    }

    /// Gives a handle back.
    pub(crate) fn put(&self, tag: i64) {
        self.execute_and_forget("put-event", &serde_json::json!({ "tag": tag }));
    }

    fn end(&self, why: Closing) {
        let address = self.address.clone();
        self.lock().routes.end(Error::Closed { address, why });
        // Who reads in another thread, or waits for the socket to be readable, notices.
        self.socket.shut_down();
    }

    fn close(&self) {
        self.end(Closing::ByClient);
        if let Some(process) = &self.process {
            process.kill();
        }
    }

    /// Reads once without waiting, for everybody; false if another thread reads anyway.
    fn read_once(&self) -> bool {
        let mut state = self.lock();
        if state.leads {
            return false;
        }
        state.leads = true;
        drop(state);
        self.lead(Patience::None);
        // Who came meanwhile has left the lead to this thread.
        self.lock().hand_on();
        true
    }

    /// What is there without waiting is read, unless another thread reads anyway.
    fn read_what_is_there(&self) {
        // A server that never stops does not keep anybody here.
        for _ in 0..MOST_READS {
            let mut state = self.lock();
            if state.leads || state.routes.ended().is_some() {
                break;
            }
            state.leads = true;
            drop(state);
            if self.lead(Patience::None) == Came::Nothing {
                break;
            }
        }
        // Who came meanwhile has left the lead to this thread.
        self.lock().hand_on();
    }

    fn dispatch(&self) -> Result<usize, Error> {
        // Where there is a thread for handlers, that is its business.
        let Some(readiness) = &self.readiness else {
            return Ok(0);
        };
        let Some(_turn) = Turn::take(self) else {
            return Ok(0);
        };
        self.read_what_is_there();
        readiness.clear();
        // What handlers lead to is for the next time.
        let most = self.lock().routes.due_count();
        let mut handed_on = 0;
        while handed_on < most
            && let Some((deliver, occurrence)) = self.due()
        {
            deliver(occurrence);
            handed_on += 1;
        }
        let state = self.lock();
        if handed_on == 0
            && state.routes.due_count() == 0
            && let Some(error) = state.routes.ended()
        {
            return Err(error.clone());
        }
        Ok(handed_on)
    }

    fn due(&self) -> Option<(Deliver, RawOccurrence)> {
        self.lock().routes.due()
    }

    /// The life of the thread that handlers run in.
    fn run_handlers(&self) {
        let Some(_turn) = Turn::take(self) else {
            return;
        };
        // At the connection's end, what came before it is handed on all the same.
        while let Ok(Some((deliver, occurrence))) = self.wait(Patience::Endless, |routes, waker| {
            routes.on_due(waker);
            routes.due()
        }) {
            // Its message is shown by who shows them all. The handlers of other objects have to do with none of it.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| deliver(occurrence)));
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
    fn hand_on(&self) {
        if !self.leads
            && let Some(next) = self.waiting.first()
        {
            next.unpark();
        }
    }
}

/// What came of leading once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Something,
    Nothing,
}

/// The lead, given up also by a thread that panics.
struct Lead<'a>(&'a Core);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.leads = false;
        if thread::panicking() {
            state.hand_on();
        }
    }
}

/// The right to run handlers, which one thread has at a time.
struct Turn<'a>(&'a Core);

impl<'a> Turn<'a> {
    fn take(core: &'a Core) -> Option<Self> {
        let mut state = core.lock();
        if state.dispatches.is_some() {
            return None;
        }
        state.dispatches = Some(thread::current().id());
        Some(Self(core))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dispatches = None;
        // What is left, also by a handler that panicked, is for the next turn; the end is still to be told.
        let is_left = state.routes.due_count() > 0 || state.routes.ended().is_some();
        if is_left && let Some(readiness) = &self.0.readiness {
            readiness.set();
        }
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// What wakes this thread: always the same, so that it is known again where it is registered already.
pub(crate) fn own_waker() -> Waker {
    // At the thread's very end there is none to keep.
    let kept = WAKER.try_with(Waker::clone);
    kept.unwrap_or_else(|_| Waker::from(Arc::new(Unpark(thread::current()))))
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

/// Makes an answer of what a command returned.
pub(crate) fn decode<T: Decode>(command: &str, answer: Value) -> Result<T, Error> {
    T::decode(answer, &Path::ANSWER).map_err(|error| Error::Reply {
        command: command.to_owned(),
        why: error.desc,
    })
}

impl std::fmt::Debug for Session {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Session")
            .field("address", &self.core.address)
            .finish_non_exhaustive()
    }
}
