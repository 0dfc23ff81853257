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

/// Requests that one disk performs at the same time: more than the queue depth at which common
/// storage saturates, few enough to be cheap.
const MAX_THREADS: usize = 16;

/// Stack of a thread in bytes: it holds one request, decompresses at most a cluster, and makes
/// system calls.
const STACK_SIZE: usize = 256 << 10;

/// Performs a request in the calling thread. Several threads call it at once.
pub trait Medium: Send + Sync {
    /// Performs the request, up to the first error.
    ///
    /// # Errors
    ///
    /// The host's errno.
    fn execute(&self, request: HostRequest) -> Result<(), Errno>;

    /// As for [`Backend::length`].
    fn length(&self) -> u64;

    /// As for [`Backend::capabilities`].
    fn capabilities(&self) -> Capabilities;

    /// As for [`Backend::resize`].
    ///
    /// # Errors
    ///
    /// The host's errno; the length is unchanged then.
    fn resize(&self, length: u64) -> Result<(), Errno>;

    /// Whether [`Medium::prepare_resize`] has work for a resize to this length.
    fn can_prepare_resize(&self, _length: u64) -> bool {
        false
    }

    /// Performs the part of a resize that runs beside requests. Returns early when the medium is
    /// closed. [`Medium::resize`] reports errors.
    fn prepare_resize(&self, _length: u64) {}

    /// Writes what is still in memory. No request follows.
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

/// Blocking I/O on a medium, in threads that are started on demand.
pub struct ThreadPool {
    shared: Arc<Shared>,
    name: String,
    start: ThreadStart,
    threads: Vec<JoinHandle<()>>,
    /// The thread that prepares, or prepared, a resize.
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
    /// Whether a resize is being prepared.
    is_preparing: bool,
}

impl ThreadPool {
    /// A pool for one medium; `name` names its threads, and `start` runs first in each.
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

    /// Starts a thread with the restrictions of an I/O thread.
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
                // No thread exists to perform it.
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
        // Cleared first: a later completion makes it readable again.
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
            // The resize does all of the work then.
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

/// Waits for submitted requests and for the medium's close. The image is unused afterwards, so that
/// it can be opened again at once.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_all();
        for thread in std::mem::take(&mut self.threads) {
            // A panic has been reported already.
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
