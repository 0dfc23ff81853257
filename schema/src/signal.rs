//! Signals: events that a part of the program connects to.
//!
//! Who raises a signal does not know its receivers. The monitor is one; a test, or another part of the program, is
//! another.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, ThreadId};

/// A signal that raises events of one type. Clones are the same signal.
///
/// ```
/// use std::sync::mpsc::channel;
/// use faultvisor_schema::{Signals, Reset, ShutdownCause};
///
/// let signals = Signals::default();
/// let (heard, events) = channel();
/// let connection = signals.reset.connect(move |event: &Reset| {
///     let _ = heard.send(event.reason);
/// });
/// signals.reset.raise(&Reset { guest: true, reason: ShutdownCause::GuestReset });
/// assert_eq!(events.recv(), Ok(ShutdownCause::GuestReset));
/// drop(connection);
/// signals.reset.raise(&Reset { guest: true, reason: ShutdownCause::GuestReset });
/// assert!(events.recv().is_err());
/// ```
pub struct Signal<E> {
    shared: Arc<Shared<E>>,
}

/// The connections. Raising takes the whole list; connecting and disconnecting replace it.
type Slots<E> = Arc<[Arc<Slot<E>>]>;

struct Shared<E> {
    slots: RwLock<Slots<E>>,
}

/// The signal's side of a connection.
struct Slot<E> {
    handler: Box<dyn Fn(&E) + Send + Sync>,
    calls: Mutex<Calls>,
    /// Notified when a call ends after its connection has ended.
    idle: Condvar,
}

#[derive(Default)]
struct Calls {
    ended: bool,
    /// The threads in the handler, one entry a call.
    running: Vec<ThreadId>,
}

/// A connection to a [`Signal`]; dropping it disconnects.
///
/// After the drop no handler runs: it waits for calls in other threads. A handler may drop its own connection, which does
/// not wait for the handler. A handler must not need what the dropping thread holds: a lock, or the end of the drop of
/// another connection.
#[must_use = "dropping a connection disconnects it"]
pub struct Connection {
    end: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl<E> Signal<E> {
    /// Calls `handler` for every event raised from now on, in the thread that raises it, until the connection is dropped.
    ///
    /// Raising waits for the handler, so it should be short: it may run in a disk's thread.
    pub fn connect(&self, handler: impl Fn(&E) + Send + Sync + 'static) -> Connection
    where
        E: 'static,
    {
        let slot = Arc::new(Slot {
            handler: Box::new(handler),
            calls: Mutex::default(),
            idle: Condvar::new(),
        });
        self.shared
            .change(|slots| slots.iter().cloned().chain([Arc::clone(&slot)]).collect());
        let shared = Arc::clone(&self.shared);
        Connection {
            end: Some(Box::new(move || {
                let is_other = |other: &&Arc<Slot<E>>| !Arc::ptr_eq(other, &slot);
                shared.change(|slots| slots.iter().filter(is_other).cloned().collect());
                slot.end();
            })),
        }
    }

    /// Raises an event. Every handler has returned when this returns.
    pub fn raise(&self, event: &E) {
        let slots = Arc::clone(&self.shared.read());
        for slot in slots.iter() {
            slot.call(event);
        }
    }
}

impl<E> Shared<E> {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Slots<E>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&Slots<E>) -> Slots<E>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        *slots = change(&slots);
    }
}

impl<E> Slot<E> {
    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn call(&self, event: &E) {
        let mut calls = self.lock();
        if calls.ended {
            return;
        }
        calls.running.push(thread::current().id());
        drop(calls);
        // Ends the call even if the handler panics.
        let _call = Call { slot: self };
        (self.handler)(event);
    }

    fn end(&self) {
        let me = thread::current().id();
        let mut calls = self.lock();
        calls.ended = true;
        while calls.running.iter().any(|thread| *thread != me) {
            calls = self
                .idle
                .wait(calls)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A call in progress.
struct Call<'a, E> {
    slot: &'a Slot<E>,
}

impl<E> Drop for Call<'_, E> {
    fn drop(&mut self) {
        let me = thread::current().id();
        let mut calls = self.slot.lock();
        if let Some(index) = calls.running.iter().position(|thread| *thread == me) {
            calls.running.swap_remove(index);
        }
        if calls.ended {
            self.slot.idle.notify_all();
        }
    }
}

impl<E> Default for Signal<E> {
    fn default() -> Self {
        let slots = RwLock::new(Arc::from([]));
        Self {
            shared: Arc::new(Shared { slots }),
        }
    }
}

impl<E> Clone for Signal<E> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<E> fmt::Debug for Signal<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let connections = self.shared.read().len();
        formatter
            .debug_struct("Signal")
            .field("connections", &connections)
            .finish()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end();
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Connection").finish_non_exhaustive()
    }
}
