//! Running handlers: in which thread, and when.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use super::{Core, closed};
use crate::Error;
use crate::readiness::Flag;
use crate::routes::{Deliver, RawOccurrence};
use crate::socket::Deadline;

impl Core {
    /// Starts to run handlers, in a thread that is returned if it is new.
    pub(crate) fn start_handlers(core: &Arc<Self>) -> Result<Option<JoinHandle<()>>, Error> {
        let mut state = core.lock();
        if core.interrupt.get().is_none() {
            let flag = Flag::new().map_err(|error| closed(&core.address, error))?;
            // Only this sets it, while the state is locked.
            let _ = core.interrupt.set(flag);
        }
        if core.readiness.is_some() || state.has_thread {
            return Ok(None);
        }
        let of_thread = Arc::clone(core);
        let spawned = thread::Builder::new()
            .name("libqmp".to_owned())
            .spawn(move || of_thread.run_handlers());
        let thread = spawned.map_err(|error| closed(&core.address, error))?;
        state.has_thread = true;
        Ok(Some(thread))
    }

    /// Runs the handlers of the queued events.
    pub(crate) fn dispatch(&self) -> Result<usize, Error> {
        // If there is a thread for handlers, it runs them.
        let Some(readiness) = &self.readiness else {
            return Ok(0);
        };
        let Some(_turn) = Turn::take(self) else {
            return Ok(0);
        };
        self.read_what_is_there();
        readiness.clear();
        // Events caused by handlers are left for the next call.
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

    /// The thread that runs handlers.
    fn run_handlers(&self) {
        let Some(_turn) = Turn::take(self) else {
            return;
        };
        // At the connection's end, events from before it are still dispatched.
        while let Ok(Some((deliver, occurrence))) = self.wait(Deadline::Never, |routes, waker| {
            routes.on_due(waker);
            routes.due()
        }) {
            // The panic hook shows its message. Handlers of other objects are not affected.
            let _ = panic::catch_unwind(AssertUnwindSafe(|| deliver(occurrence)));
        }
    }
}

/// The right to run handlers, which one thread holds at a time.
struct Turn<'a>(&'a Core);

impl<'a> Turn<'a> {
    fn take(core: &'a Core) -> Option<Self> {
        let mut state = core.lock();
        let is_free = !std::mem::replace(&mut state.dispatches, true);
        // Constructed only where it is held, as dropping it releases it.
        is_free.then(|| Self(core))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.dispatches = false;
        // What is left, also after a panic of a handler, is for the next turn; the end is still to be reported.
        let is_left = state.routes.due_count() > 0 || state.routes.ended().is_some();
        if is_left && let Some(readiness) = &self.0.readiness {
            readiness.set();
        }
    }
}
