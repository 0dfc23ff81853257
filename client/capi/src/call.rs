//! Commands: the code shared by the generated functions.

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

/// The name of the parameter for a command's arguments in the header.
const ARGUMENTS: &str = "arguments";

/// The parameter for a command's arguments.
pub(crate) trait Arguments<T>: Copy {
    /// Converts the arguments.
    fn read(&self) -> Result<T, InvalidArgument>;
}

/// No arguments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoArguments;

impl Arguments<()> for NoArguments {
    fn read(&self) -> Result<(), InvalidArgument> {
        Ok(())
    }
}

/// Arguments of which some are required.
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

/// Arguments that are all optional: `NULL` is none.
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

/// Executes a command that returns nothing.
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

/// Executes a command that returns a structure.
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

/// Executes a command that returns a string or any JSON.
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

/// Executes a command that returns a number, a boolean or a value of an enumeration.
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
        // Such types contain no pointers.
        value.put(answer.to_c(&Arena::default()));
        Ok(true)
    })
}
