//! A backend that does blocking I/O in threads of its own.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{Backend, Capabilities, Completion, Errno, Image, Request, Token, raw};
use crate::sync::{lock, wait};

/// Requests that one disk carries out at the same time. More than the depth at which common
/// storage stops getting faster, few enough to cost little.
const MAX_THREADS: usize = 16;

/// The threads need no more: they hold one request each and call into the kernel.
const STACK_SIZE: usize = 64 << 10;

/// Blocking I/O on a raw image, in threads that are started when there is work for them.
pub struct ThreadPool {
    shared: Arc<Shared>,
    name: String,
    threads: usize,
}

struct Shared {
    image: Arc<Image>,
    state: Mutex<State>,
    work: Condvar,
    done: EventFd,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<(Token, Arc<Request>)>,
    completed: Vec<Completion>,
    idle: usize,
    closing: bool,
}

impl ThreadPool {
    /// A pool for one image; `name` names its threads.
    ///
    /// # Errors
    ///
    /// When the host refuses an eventfd.
    pub fn new(image: Arc<Image>, name: &str) -> io::Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                image,
                state: Mutex::default(),
                work: Condvar::new(),
                done: EventFd::new(EFD_NONBLOCK)?,
            }),
            name: format!("io-{name}"),
            threads: 0,
        })
    }

    fn start_thread(&mut self) -> io::Result<()> {
        let shared = self.shared.clone();
        thread::Builder::new()
            .name(self.name.clone())
            .stack_size(STACK_SIZE)
            .spawn(move || shared.run())?;
        self.threads += 1;
        Ok(())
    }
}

impl Backend for ThreadPool {
    fn submit(&mut self, token: Token, request: Arc<Request>) {
        let mut state = lock(&self.shared.state);
        state.waiting.push_back((token, request));
        let enough = state.idle >= state.waiting.len() || self.threads >= MAX_THREADS;
        drop(state);
        if !enough && let Err(error) = self.start_thread() {
            tracing::warn!(%error, "{}: cannot start an I/O thread", self.name);
            if self.threads == 0 {
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
        self.shared.image.length()
    }

    fn capabilities(&self) -> Capabilities {
        self.shared.image.capabilities()
    }

    fn resize(&mut self, length: u64) -> Result<(), Errno> {
        self.shared.image.resize(length)
    }

    fn completion_event(&self) -> &EventFd {
        &self.shared.done
    }
}

/// The threads end when they are next idle.
impl Drop for ThreadPool {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn run(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some((token, request)) = state.waiting.pop_front() {
                drop(state);
                let result = raw::execute(&self.image, request);
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
