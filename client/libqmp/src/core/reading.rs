//! Reading, by one thread for all that wait.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use super::{Core, lock};
use crate::Error;
use crate::error::Closing;
use crate::lines::Lines;
use crate::message::Message;
use crate::routes::{Consequence, Routes};
use crate::socket::{CHUNK, Deadline, MOST_READS, Read, Socket};

/// State of the leader only.
pub(super) struct Reader {
    lines: Lines,
    buffer: Box<[u8; CHUNK]>,
}

impl Reader {
    /// With bytes that were received already.
    pub(super) fn new(lines: Lines) -> Self {
        Self {
            lines,
            buffer: Socket::buffer(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Core {
    /// Waits until `ready` finds its result in the routes; `None` if the limit has passed.
    pub(crate) fn wait<T>(
        &self,
        deadline: Deadline,
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
                is_last = deadline.is_over();
                state.waiting.push(me.clone());
                drop(state);
                match deadline.left() {
                    Some(left) => thread::park_timeout(left),
                    None => thread::park(),
                }
            } else {
                state.leads = true;
                drop(state);
                let came = self.lead(deadline);
                reads += 1;
                // A server that never stops sending cannot hold this thread for longer.
                let is_late = match deadline {
                    Deadline::Now => reads == MOST_READS,
                    _ => deadline.is_over(),
                };
                // Once more after the last read.
                is_last = came == Came::Nothing || is_late;
            }
        }
    }

    /// Reads once, for all.
    fn lead(&self, deadline: Deadline) -> Came {
        let _lead = Lead(self);
        let mut reader = lock(&self.reader);
        let Reader { lines, buffer } = &mut *reader;
        match self.socket.read(buffer, deadline, self.interrupt.get()) {
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

    /// Routes what was received already.
    pub(super) fn route_lines(&self) {
        let mut reader = lock(&self.reader);
        self.route(&mut reader.lines);
    }

    fn route(&self, lines: &mut Lines) {
        let observer = self.observer.as_ref();
        let (messages, broken) = Message::parse_all(lines, observer);
        let mut state = self.lock();
        let receive = |message| state.routes.receive(message);
        let consequences: Vec<_> = messages.into_iter().filter_map(receive).collect();
        drop(state);
        for Consequence::Put(tag) in consequences {
            self.put(tag);
        }
        if let Some(broken) = broken {
            self.end(Closing::Protocol(broken));
        }
    }

    /// Reads once without waiting, for all; false if another thread reads.
    pub(super) fn read_once(&self) -> bool {
        let mut state = self.lock();
        if state.leads {
            return false;
        }
        state.leads = true;
        drop(state);
        self.lead(Deadline::Now);
        // A thread that arrived meanwhile has left the lead to this one.
        self.lock().hand_on();
        true
    }

    /// Reads what is available without waiting, unless another thread reads.
    pub(super) fn read_what_is_there(&self) {
        // A server that never stops sending cannot hold this thread.
        for _ in 0..MOST_READS {
            let mut state = self.lock();
            if state.leads || state.routes.ended().is_some() {
                break;
            }
            state.leads = true;
            drop(state);
            if self.lead(Deadline::Now) == Came::Nothing {
                break;
            }
        }
        // A thread that arrived meanwhile has left the lead to this one.
        self.lock().hand_on();
    }
}

/// The result of leading once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Something,
    Nothing,
}

/// The lead, released also by a thread that panics.
struct Lead<'a>(&'a Core);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.leads = false;
        if thread::panicking() {
            // It is unknown which of the received messages were routed.
            state.hand_on();
            drop(state);
            let why = io::Error::other("an observer of its lines panicked");
            self.0.end(Closing::Failed(why.into()));
        }
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// This thread's waker: always the same, so that it is recognised where it is registered.
pub(crate) fn own_waker() -> Waker {
    // At the thread's end there is none to keep.
    let kept = WAKER.try_with(Waker::clone);
    kept.unwrap_or_else(|_| Waker::from(Arc::new(Unpark(thread::current()))))
}
