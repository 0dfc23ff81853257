//! A backend that does blocking I/O in threads of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::blocking;
use crate::block::host::image::Image;
use crate::block::model::backend::{Backend, HostRequest};
use crate::block::model::errno::Errno;
use crate::block::model::request::{Capabilities, Completion, Token};
use crate::sync::{lock, wait};
use crate::thread::{ThreadKind, ThreadStart};

/// Requests that one disk carries out at the same time. More than the depth at which common
/// storage stops getting faster, few enough to cost little.
const MAX_THREADS: usize = 16;

/// The threads need no more: they hold one request each and call into the kernel, or unpack a
/// cluster before.
const STACK_SIZE: usize = 256 << 10;

/// What carries out a request in the thread that asks for it, and for several threads at once.
pub trait Medium: Send + Sync {
    /// Does what the request says, to the end or to the first error.
    ///
    /// # Errors
    ///
    /// What the host says.
    fn execute(&self, request: HostRequest) -> Result<(), Errno>;

    /// As for [`Backend::length`].
    fn length(&self) -> u64;

    /// As for [`Backend::capabilities`].
    fn capabilities(&self) -> Capabilities;

    /// As for [`Backend::resize`].
    ///
    /// # Errors
    ///
    /// What the host says; then the length is what it was.
    fn resize(&self, length: u64) -> Result<(), Errno>;

    /// Whether a resize to a length has a part that [`Medium::prepare_resize`] can do.
    fn can_prepare_resize(&self, _length: u64) -> bool {
        false
    }

    /// Does the part of a resize for which requests need not wait. It ends early when the medium is
    /// closed. An error is left to [`Medium::resize`].
    fn prepare_resize(&self, _length: u64) {}

    /// Writes what is still in memory: no more requests come.
    fn close(&self) {}
}

/// Blocking I/O on a raw image.
impl Medium for Image {
    fn execute(&self, request: HostRequest) -> Result<(), Errno> {
        blocking::execute(self, request)
    }

    fn length(&self) -> u64 {
        self.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities()
    }

    fn resize(&self, length: u64) -> Result<(), Errno> {
        self.resize(length)
    }
}

/// Blocking I/O on a medium, in threads that are started when there is work for them.
pub struct ThreadPool {
    shared: Arc<Shared>,
    name: String,
    start: ThreadStart,
    threads: Vec<JoinHandle<()>>,
    /// Prepares a resize, or has.
    preparing: Option<JoinHandle<()>>,
}

struct Shared {
    medium: Arc<dyn Medium>,
    state: Mutex<State>,
    work: Condvar,
    done: EventFd,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Token, HostRequest)>,
    completed: Vec<Completion>,
    idle: usize,
    closing: bool,
    /// A resize is being prepared.
    is_preparing: bool,
}

impl ThreadPool {
    /// A pool for one medium; `name` names its threads, and `start` is what they do first.
    ///
    /// # Errors
    ///
    /// When the host refuses an eventfd.
    pub fn new(medium: Arc<dyn Medium>, name: &str, start: &ThreadStart) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                medium,
                state: Mutex::default(),
                work: Condvar::new(),
                done: EventFd::new(EFD_NONBLOCK)?,
            }),
            name: format!("io-{name}"),
            start: start.clone(),
            threads: Vec::new(),
            preparing: None,
        })
    }

    fn start_thread(&mut self) -> io::Result<()> {
        let thread = self.spawn(Shared::run)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Starts a thread that may do what I/O threads do.
    fn spawn(&self, work: impl FnOnce(&Shared) + Send + 'static) -> io::Result<JoinHandle<()>> {
        let (shared, start) = (self.shared.clone(), self.start.clone());
        thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK_SIZE)
            .spawn(move || {
                start.begin(ThreadKind::DiskIo);
                work(&shared);
            })
    }
}

impl Backend for ThreadPool {
    fn submit(&mut self, token: Token, request: HostRequest) {
        let mut state = lock(&self.shared.state);
        state.waiting.push_back((token, request));
        let enough = state.idle >= state.waiting.len() || self.threads.len() >= MAX_THREADS;
        drop(state);
        if !enough && let Err(error) = self.start_thread() {
            tracing::warn!(%error, "{}: cannot start an I/O thread", self.name);
            if self.threads.is_empty() {
                // Nobody would ever do it.
                let failed = Err(Errno::of(&error));
                let mut state = lock(&self.shared.state);
                let waiting = std::mem::take(&mut state.waiting);
                state
                    .completed
                    .extend(waiting.into_iter().map(|(token, _)| Completion {
                        token,
                        result: failed,
                    }));
                let _ = self.shared.done.write(1);
            }
        }
        self.shared.work.notify_one();
    }

    fn completed(&mut self) -> Vec<Completion> {
        // Cleared first: what completes after this makes it readable again.
        let _ = self.shared.done.read();
        std::mem::take(&mut lock(&self.shared.state).completed)
    }

    fn length(&self) -> u64 {
        self.shared.medium.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.medium.capabilities()
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.shared.medium.resize(length)
    }

    fn prepare_resize(&mut self, length: u64) -> bool {
        if !self.shared.medium.can_prepare_resize(length) {
            return false;
        }
        lock(&self.shared.state).is_preparing = true;
        let prepare = move |shared: &Shared| {
            shared.medium.prepare_resize(length);
            lock(&shared.state).is_preparing = false;
            let _ = shared.done.write(1);
        };
        match self.spawn(prepare) {
            Ok(thread) => self.preparing = Some(thread),
            // All of it is done by the resize then.
            Err(_) => lock(&self.shared.state).is_preparing = false,
        }
        self.is_preparing_resize()
    }

    fn is_preparing_resize(&self) -> bool {
        lock(&self.shared.state).is_preparing
    }

    fn close(&mut self) {
        self.shared.medium.close();
        if let Some(thread) = self.preparing.take() {
            let _ = thread.join();
        }
    }

    fn completion_event(&self) -> &EventFd {
        &self.shared.done
    }
}

/// Waits for what was submitted, and for what the medium still has to write. After that, nobody
/// uses it any more: whoever opens it again at once must not find it in use.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            // One that panicked has said so.
            let _ = thread.join();
        }
        self.close();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some((token, request)) = state.waiting.pop_front() {
                drop(state);
                let result = self.medium.execute(request);
                state = lock(&self.state);
                state.completed.push(Completion { token, result });
                if state.completed.len() == 1 {
                    let _ = self.done.write(1);
                }
            } else if state.closing {
                return;
            } else {
                state.idle += 1;
                state = wait(&self.work, state);
                state.idle -= 1;
            }
        }
    }
}
