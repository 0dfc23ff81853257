//! Events as objects: the code shared by the generated functions.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use faultvisor_schema::{Empty, Path};
use libqmp::{AccessorArguments, Error, EventData, Events, HandlerId, Session};

use crate::arena::{Arena, give_answer};
use crate::boundary::{attempt, guard};
use crate::conversion::{FromC, ToC};
use crate::error::{ErrorSlot, Failure};
use crate::plain::{Bool, Members, Plain, c_struct, members};
use crate::pointer::{Handle, Opaque, Owned, Text};
use crate::session::QmpSession;

c_struct! {
    QmpTimestamp {
        seconds: i64,
        microseconds: i64,
    }
}

/// `Qmp…Occurrence`: an occurrence of an event.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Occurrence<D> {
    timestamp: QmpTimestamp,
    initial: Bool,
    lost: u64,
    data: D,
}

#[allow(unsafe_code, reason = "it consists of plain members")]
// SAFETY: the layout is C's, and each member is plain.
unsafe impl<D: Plain> Plain for Occurrence<D> {}

impl<D: Plain> Members for Occurrence<D> {
    const MEMBERS: &'static [(&'static str, usize, usize)] = match size_of::<D>() {
        // C has no member for data without content.
        0 => members!(timestamp, initial, lost),
        _ => members!(timestamp, initial, lost, data),
    };
}

impl<T: ToC> ToC for libqmp::Occurrence<T> {
    type C = Occurrence<T::C>;

    fn to_c(&self, arena: &Arena) -> Self::C {
        Occurrence {
            timestamp: QmpTimestamp {
                seconds: self.timestamp.seconds,
                microseconds: self.timestamp.microseconds,
            },
            initial: Bool::new(self.initial),
            lost: self.lost,
            data: self.data.to_c(arena),
        }
    }
}

/// The data of an event without any.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct NoData {}

#[allow(unsafe_code, reason = "it consists of nothing")]
// SAFETY: it has no bytes.
unsafe impl Plain for NoData {}

impl ToC for Empty {
    type C = NoData;

    fn to_c(&self, _: &Arena) -> NoData {
        NoData {}
    }
}

/// An event object, as C uses it.
#[derive(Debug)]
pub struct EventObject<T> {
    events: Events<T>,
    handlers: Mutex<Handlers>,
}

/// The handlers of an object, by the numbers that C knows them by.
#[derive(Debug, Default)]
struct Handlers {
    last: u64,
    ids: BTreeMap<u64, HandlerId>,
}

impl<T> EventObject<T> {
    fn give(events: Events<T>) -> Owned<Self> {
        let handlers = Mutex::default();
        Owned::give(Box::new(Self { events, handlers }))
    }

    fn handlers(&self) -> MutexGuard<'_, Handlers> {
        self.handlers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A function in C that receives each occurrence, or `NULL`.
pub type Handler<T> = Option<extern "C" fn(*const Occurrence<<T as ToC>::C>, *mut c_void)>;

/// Connects to an event.
pub(crate) fn get<T>(
    session: Handle<QmpSession>,
    error: ErrorSlot,
    connect: impl FnOnce(&Session) -> Result<Events<T>, Error>,
) -> Owned<EventObject<T>> {
    attempt(&error, Owned::NULL, || {
        let session = session.get("session")?;
        Ok(EventObject::give(connect(session.session())?))
    })
}

/// Connects to an event, with arguments.
pub(crate) fn get_with<T>(
    session: Handle<QmpSession>,
    device: Text,
    initial: Bool,
    error: ErrorSlot,
    connect: impl FnOnce(&Session, &AccessorArguments) -> Result<Events<T>, Failure>,
) -> Owned<EventObject<T>> {
    attempt(&error, Owned::NULL, || {
        let session = session.get("session")?;
        let arguments = AccessorArguments {
            device: Option::from_c(&device, &Path::ROOT.member("device"))?,
            initial: bool::from_c(&initial, &Path::ROOT.member("initial"))?,
        };
        let events = connect(session.session(), &arguments)?;
        Ok(EventObject::give(events))
    })
}

/// Adds a handler; 0 on failure.
pub(crate) fn connect<T: ToC + EventData>(
    event: Handle<EventObject<T>>,
    handler: Handler<T>,
    opaque: Opaque,
) -> u64 {
    guard(0, || {
        let (Ok(event), Some(handler)) = (event.get("event"), handler) else {
            return 0;
        };
        let call = move |occurrence: &libqmp::Occurrence<T>| {
            let arena = Arena::default();
            let occurrence = occurrence.to_c(&arena);
            handler(&raw const occurrence, opaque.get());
        };
        let Ok(id) = event.events.connect(call) else {
            return 0;
        };
        let mut handlers = event.handlers();
        handlers.last += 1;
        let number = handlers.last;
        handlers.ids.insert(number, id);
        number
    })
}

/// Removes a handler.
pub(crate) fn disconnect<T: EventData>(event: Handle<EventObject<T>>, handler: u64) -> bool {
    guard(false, || {
        let Ok(event) = event.get("event") else {
            return false;
        };
        let id = event.handlers().ids.remove(&handler);
        id.is_some_and(|id| event.events.disconnect(id))
    })
}

/// Waits for an occurrence.
pub(crate) fn recv<T: ToC + EventData>(
    event: Handle<EventObject<T>>,
    timeout_ms: i64,
    error: ErrorSlot,
) -> Owned<Occurrence<T::C>> {
    attempt(&error, Owned::NULL, || {
        let event = &event.get("event")?.events;
        let occurrence = match u64::try_from(timeout_ms) {
            Ok(timeout_ms) => event.recv_timeout(Duration::from_millis(timeout_ms))?,
            Err(_) => event.recv()?,
        };
        Ok(give_answer(|arena| occurrence.to_c(arena)))
    })
}

/// Disconnects.
///
/// # Safety
///
/// [`get`] or [`get_with`] has returned it, and it has not been freed.
#[allow(unsafe_code, reason = "that it is freed once is C's promise")]
pub(crate) unsafe fn free<T>(event: Owned<EventObject<T>>) {
    // SAFETY: the caller's promise: nothing else uses the object.
    guard((), || drop(unsafe { event.take() }));
}
