//! Commands: what the generated functions have in common.

use std::ffi::c_char;

use faultvisor_schema::Path;
use libqmp::{Error, Session};

use crate::arena::{Arena, give_answer, owned_text};
use crate::boundary::attempt;
use crate::conversion::{FromC, InvalidArgument, ToC};
use crate::error::{ErrorSlot, Failure};
use crate::plain::zeroed;
use crate::pointer::{Handle, Out, Owned, Ref, copied};
use crate::session::QmpSession;

/// What a parameter for a command's arguments is called in the header.
const ARGUMENTS: &str = "arguments";

/// A parameter that a command's arguments are read from.
pub(crate) trait Arguments<T>: Copy {
    /// The arguments.
    fn read(&self) -> Result<T, InvalidArgument>;
}

/// A command has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoArguments;

impl Arguments<()> for NoArguments {
    fn read(&self) -> Result<(), InvalidArgument> {
        Ok(())
    }
}

/// Arguments that have to be there.
#[derive(Debug)]
#[repr(transparent)]
pub struct Required<C>(Ref<C>);

copied!(Required, Optional);

impl<T: FromC> Arguments<T> for Required<T::C> {
    fn read(&self) -> Result<T, InvalidArgument> {
        let arguments = self
            .0
            .get()
            .ok_or_else(|| InvalidArgument::null(ARGUMENTS))?;
        T::from_c(arguments, &Path::ROOT.member(ARGUMENTS))
    }
}

/// Arguments each of which may be left out, so that they may be left out together.
#[derive(Debug)]
#[repr(transparent)]
pub struct Optional<C>(Ref<C>);

impl<T: FromC> Arguments<T> for Optional<T::C> {
    fn read(&self) -> Result<T, InvalidArgument> {
        let none = zeroed();
        let arguments = self.0.get().unwrap_or(&none);
        T::from_c(arguments, &Path::ROOT.member(ARGUMENTS))
    }
}

/// Executes a command.
fn execute<A, T, R>(
    session: &Handle<QmpSession>,
    arguments: &A,
    command: impl FnOnce(&Session, T) -> Result<R, Error>,
) -> Result<R, Failure>
where
    A: Arguments<T>,
{
    let session = session.get("session")?;
    Ok(command(session.session(), arguments.read()?)?)
}

/// Executes a command whose answer says nothing.
pub(crate) fn done<A, T, R>(
    session: Handle<QmpSession>,
    arguments: A,
    error: ErrorSlot,
    command: impl FnOnce(&Session, T) -> Result<R, Error>,
) -> bool
where
    A: Arguments<T>,
{
    attempt(&error, false, || {
        execute(&session, &arguments, command).map(|_| true)
    })
}

/// Executes a command that answers with a structure.
pub(crate) fn answer<A, T, R>(
    session: Handle<QmpSession>,
    arguments: A,
    error: ErrorSlot,
    command: impl FnOnce(&Session, T) -> Result<R, Error>,
) -> Owned<R::C>
where
    A: Arguments<T>,
    R: ToC,
{
    attempt(&error, Owned::NULL, || {
        let answer = execute(&session, &arguments, command)?;
        Ok(give_answer(|arena| answer.to_c(arena)))
    })
}

/// Executes a command that answers with a string or with any JSON.
pub(crate) fn text<A, T, R>(
    session: Handle<QmpSession>,
    arguments: A,
    error: ErrorSlot,
    command: impl FnOnce(&Session, T) -> Result<R, Error>,
) -> Owned<c_char>
where
    A: Arguments<T>,
    R: ToString,
{
    attempt(&error, Owned::NULL, || {
        let answer = execute(&session, &arguments, command)?;
        Ok(Owned::text(owned_text(&answer.to_string())))
    })
}

/// Executes a command that answers with a number, a truth value or a value of an enumeration.
#[allow(dead_code, reason = "today's schema has no such command")]
pub(crate) fn value<A, T, R>(
    session: Handle<QmpSession>,
    arguments: A,
    value: Out<R::C>,
    error: ErrorSlot,
    command: impl FnOnce(&Session, T) -> Result<R, Error>,
) -> bool
where
    A: Arguments<T>,
    R: ToC,
{
    attempt(&error, false, || {
        if value.is_null() {
            return Err(InvalidArgument::null("value").into());
        }
        let answer = execute(&session, &arguments, command)?;
        // It points to nothing: there is no type of that kind that does.
        value.put(answer.to_c(&Arena::default()));
        Ok(true)
    })
}
