//! Event objects by name, with their data as JSON.

use faultvisor_schema::Path;
use libqmp::{RawEvent, Session};

use crate::arena::{Arena, free_answer};
use crate::conversion::{FromC, ToC};
use crate::error::ErrorSlot;
use crate::event::{
    EventObject, Handler, Occurrence, connect, disconnect, free, get, get_with, recv,
};
use crate::plain::{Bool, c_struct};
use crate::pointer::{Handle, Opaque, Owned, Text};
use crate::session::QmpSession;

c_struct! {
    QmpRawEventData {
        name: Text,
        json: Text,
    }
}

impl ToC for RawEvent {
    type C = QmpRawEventData;

    fn to_c(&self, arena: &Arena) -> QmpRawEventData {
        let json = serde_json::to_string(&self.data).unwrap_or_default();
        QmpRawEventData {
            name: self.name.to_c(arena),
            json: json.to_c(arena),
        }
    }
}

/// `QmpRawEvent`.
pub type QmpRawEvent = EventObject<RawEvent>;

/// `QmpRawOccurrence`.
pub type QmpRawOccurrence = Occurrence<QmpRawEventData>;

/// Connects to an event by its name.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_get_event(
    session: Handle<QmpSession>,
    name: Text,
    device: Text,
    initial: Bool,
    error: ErrorSlot,
) -> Owned<QmpRawEvent> {
    get_with(session, device, initial, error, |session, arguments| {
        let name = String::from_c(&name, &Path::ROOT.member("name"))?;
        Ok(session.get_event(&name, arguments)?)
    })
}

/// Connects to every event.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_any_event(
    session: Handle<QmpSession>,
    error: ErrorSlot,
) -> Owned<QmpRawEvent> {
    get(session, error, Session::any_event)
}

/// Adds a handler.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_raw_event_connect(
    event: Handle<QmpRawEvent>,
    handler: Handler<RawEvent>,
    opaque: Opaque,
) -> u64 {
    connect(event, handler, opaque)
}

/// Removes a handler.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_raw_event_disconnect(event: Handle<QmpRawEvent>, handler: u64) -> bool {
    disconnect(event, handler)
}

/// Waits for an occurrence.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_raw_event_recv(
    event: Handle<QmpRawEvent>,
    timeout_ms: i64,
    error: ErrorSlot,
) -> Owned<QmpRawOccurrence> {
    recv(event, timeout_ms, error)
}

/// Frees an occurrence.
///
/// # Safety
///
/// `occurrence` is NULL, or comes from a function of this library, and has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_raw_occurrence_free(occurrence: Owned<QmpRawOccurrence>) {
    // SAFETY: the caller's promise.
    unsafe { free_answer(occurrence) };
}

/// Disconnects.
///
/// # Safety
///
/// `event` is NULL, or comes from a function of this library, and has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_raw_event_free(event: Owned<QmpRawEvent>) {
    // SAFETY: the caller's promise.
    unsafe { free(event) };
}
