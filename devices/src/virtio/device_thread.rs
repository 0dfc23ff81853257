//! The thread that serves a device's queues.

use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};

use event_manager::{EventManager, Events, MutEventSubscriber, SubscriberOps};

use crate::sync::lock;
use crate::thread::{ThreadKind, ThreadStart};
use crate::thread_id::ThreadId;

/// Stack of a device's thread, in bytes.
const STACK: usize = 256 << 10;

/// What a device's thread does.
pub(super) trait DeviceWorker: MutEventSubscriber + Send + 'static {
    /// The name of its device, for the log.
    fn device(&self) -> String;

    /// The file descriptors that it waits for.
    fn events(&self) -> Vec<Events>;

    /// Called before each wait.
    fn poll(&mut self) {}

    /// Whether the thread ends.
    fn has_ended(&self) -> bool;
}

/// A device's thread. Dropping it does not end it: tell the worker to end first.
#[derive(Debug)]
pub(super) struct DeviceThread {
    id: ThreadId,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl DeviceThread {
    /// Starts a thread that first calls `start`, and returns once it waits for all of its descriptors.
    ///
    /// # Errors
    ///
    /// When the host refuses the thread or its epoll instance.
    pub(super) fn start(
        name: String,
        kind: ThreadKind,
        start: &ThreadStart,
        worker: impl DeviceWorker,
    ) -> io::Result<Self> {
        let start = start.clone();
        let id = ThreadId::default();
        let announced = id.clone();
        let (started, has_started) = mpsc::channel();
        let run = move || {
            start.begin(kind);
            announced.announce();
            serve(worker, &started);
        };
        let handle = thread::Builder::new()
            .name(name)
            .stack_size(STACK)
            .spawn(run)?;
        let ended = |_| io::Error::other("its thread ended at once");
        has_started.recv().map_err(ended)??;
        Ok(Self {
            id,
            handle: Mutex::new(Some(handle)),
        })
    }

    /// Its host thread ID.
    pub(super) fn id(&self) -> i32 {
        self.id.get()
    }

    /// Waits for its end, unless it is the calling thread.
    pub(super) fn join(&self) {
        if let Some(handle) = lock(&self.handle).take()
            && handle.thread().id() != thread::current().id()
        {
            let _ = handle.join();
        }
    }
}

fn serve(worker: impl DeviceWorker, started: &Sender<io::Result<()>>) {
    let mut manager = match EventManager::new() {
        Ok(manager) => manager,
        Err(error) => {
            // The receiver may be gone.
            let _ = started.send(Err(io::Error::other(error.to_string())));
            return;
        }
    };
    let device = worker.device();
    let events = worker.events();
    let worker = manager.add_subscriber(worker);
    let added = manager
        .event_ops(worker)
        .and_then(|mut ops| events.into_iter().try_for_each(|events| ops.add(events)));
    let is_deaf = added.is_err();
    let _ = started.send(added.map_err(|error| io::Error::other(error.to_string())));
    if is_deaf {
        return;
    }
    let result = (|| {
        while !manager.subscriber_mut(worker)?.has_ended() {
            manager.subscriber_mut(worker)?.poll();
            manager.run()?;
        }
        Ok::<(), event_manager::Error>(())
    })();
    if let Err(error) = result {
        tracing::error!(%error, "{device}: its thread failed");
    }
}
