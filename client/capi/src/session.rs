//! Sessions.

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use libqmp::{Options, Session};
use serde_json::Value;

use crate::arena::owned_text;
use crate::boundary::{attempt, guard};
use crate::conversion::{InvalidArgument, json, utf_8};
use crate::descriptor::{ArgumentVector, GivenFd};
use crate::error::{ErrorSlot, Failure};
use crate::options::SessionOptions;
use crate::pointer::{Handle, Owned, Text};

/// `QmpSession`.
#[derive(Debug)]
pub struct QmpSession {
    session: Session,
}

impl QmpSession {
    /// The session itself.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    fn give(session: Session) -> Owned<Self> {
        Owned::give(Box::new(Self { session }))
    }
}

/// A required string.
fn required<'a>(text: &'a Text, name: &'static str) -> Result<&'a CStr, InvalidArgument> {
    text.get().ok_or_else(|| InvalidArgument::null(name))
}

/// Runs `make` and returns the session.
fn make(
    error: &ErrorSlot,
    options: SessionOptions,
    make: impl FnOnce(Options) -> Result<Session, Failure>,
) -> Owned<QmpSession> {
    attempt(error, Owned::NULL, || {
        make(options.read()?).map(QmpSession::give)
    })
}

/// Connects to a unix socket.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_new_unix(path: Text, error: ErrorSlot) -> Owned<QmpSession> {
    make(&error, SessionOptions::NULL, |options| {
        let path = utf_8(required(&path, "path")?, &"path")?;
        Ok(options.connect(&format!("unix:{path}"))?)
    })
}

/// Connects to an address.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_new(
    address: Text,
    options: SessionOptions,
    error: ErrorSlot,
) -> Owned<QmpSession> {
    make(&error, options, |options| {
        let address = utf_8(required(&address, "address")?, &"address")?;
        Ok(options.connect(address)?)
    })
}

/// Makes a session on a connected socket.
///
/// # Safety
///
/// If `fd` is open, nothing else uses it from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_session_new_fd(
    fd: GivenFd,
    options: SessionOptions,
    error: ErrorSlot,
) -> Owned<QmpSession> {
    attempt(&error, Owned::NULL, || {
        // Taken before anything else can fail: the library closes it in any case.
        // SAFETY: the caller's promise.
        let socket: OwnedFd = unsafe { fd.take("fd") }?;
        let session = options.read()?.from_fd(socket)?;
        Ok(QmpSession::give(session))
    })
}

/// Starts a program.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_new_spawn(
    arguments: ArgumentVector,
    options: SessionOptions,
    error: ErrorSlot,
) -> Owned<QmpSession> {
    make(&error, options, |options| {
        let mut arguments = arguments.iter("argv")?;
        let text = |argument: &CStr| OsStr::from_bytes(argument.to_bytes()).to_owned();
        let program = arguments.next().map(text);
        let program = program.ok_or_else(|| InvalidArgument::null("argv[0]"))?;
        let mut command = Command::new(program);
        command.args(arguments.map(text));
        Ok(options.spawn(command)?)
    })
}

/// Ends a session.
///
/// # Safety
///
/// `session` is NULL, or comes from a function of this library, and has not been freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn libqmp_session_free(session: Owned<QmpSession>) {
    // SAFETY: the caller's promise: nothing else uses the session.
    guard((), || drop(unsafe { session.take() }));
}

/// Ends the connection.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_close(session: Handle<QmpSession>) {
    guard((), || {
        if let Ok(session) = session.get("session") {
            session.session.close();
        }
    });
}

/// Whether the server has accessors.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_has_accessors(session: Handle<QmpSession>) -> bool {
    guard(false, || {
        let session = session.get("session");
        session.is_ok_and(|session| session.session.has_accessors())
    })
}

/// The descriptor to poll.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_fd(session: Handle<QmpSession>) -> c_int {
    guard(-1, || {
        let session = session.get("session");
        session.map_or(-1, |session| session.session.as_fd().as_raw_fd())
    })
}

/// Runs handlers.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_session_dispatch(session: Handle<QmpSession>, error: ErrorSlot) -> i64 {
    attempt(&error, -1, || {
        // A handler may free the session: dispatch through a handle of its own.
        let session = session.get("session")?.session.clone();
        let handed_on = session.dispatch()?;
        Ok(i64::try_from(handed_on).unwrap_or(i64::MAX))
    })
}

/// Executes any command through `execute`.
fn raw(
    session: Handle<QmpSession>,
    command: Text,
    arguments: Text,
    error: ErrorSlot,
    execute: impl FnOnce(&Session, &str, Option<Value>) -> Result<Value, libqmp::Error>,
) -> Owned<c_char> {
    attempt(&error, Owned::NULL, || {
        let session = session.get("session")?;
        let command = utf_8(required(&command, "command")?, &"command")?;
        let arguments = arguments.get();
        let arguments = arguments.map(|text| json(text, &"arguments")).transpose()?;
        if arguments.as_ref().is_some_and(|value| !value.is_object()) {
            return Err(InvalidArgument::new("arguments", "is no JSON object").into());
        }
        let answer = execute(&session.session, command, arguments)?;
        Ok(Owned::text(owned_text(&answer.to_string())))
    })
}

/// Executes any command.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_execute_raw(
    session: Handle<QmpSession>,
    command: Text,
    arguments: Text,
    error: ErrorSlot,
) -> Owned<c_char> {
    raw(session, command, arguments, error, Session::execute_raw)
}

/// Executes any command out of band.
#[unsafe(no_mangle)]
pub extern "C" fn libqmp_execute_raw_out_of_band(
    session: Handle<QmpSession>,
    command: Text,
    arguments: Text,
    error: ErrorSlot,
) -> Owned<c_char> {
    let execute = Session::execute_raw_out_of_band;
    raw(session, command, arguments, error, execute)
}
