//! Where everything that one answer points to stands, so that it is freed as one.

#![allow(
    unsafe_code,
    reason = "an answer is given to C as a pointer to its first member"
)]

use std::ffi::{CStr, CString};

use bumpalo::Bump;

use crate::boundary::guard;
use crate::conversion::ToC;
use crate::plain::Plain;
use crate::pointer::{FirstMember, List, Owned, Ref, Text};

/// The memory of one answer.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    memory: Bump,
}

impl Arena {
    /// Puts a string there.
    pub(crate) fn text(&self, text: &str) -> Text {
        let with_end = self.memory.alloc_slice_fill_copy(text.len() + 1, 0);
        with_end[..text.len()].copy_from_slice(text.as_bytes());
        match CStr::from_bytes_with_nul(with_end) {
            Ok(text) => Text::new(text),
            Err(_) => self.text(&without_nul(text)),
        }
    }

    /// Puts a value there.
    pub(crate) fn value<T: Plain>(&self, value: T) -> Ref<T> {
        Ref::new(self.memory.alloc(value))
    }

    /// Puts values there.
    pub(crate) fn list<T: ToC>(&self, values: &[T]) -> List<T::C> {
        let values = values.iter().map(|value| value.to_c(self));
        List::new(self.memory.alloc_slice_fill_iter(values))
    }
}

/// A string with what C takes for its end replaced.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A string of the caller's.
pub(crate) fn owned_text(text: &str) -> CString {
    CString::new(text)
        .or_else(|_| CString::new(without_nul(text)))
        .unwrap_or_default()
}

/// A value, and behind it the memory of what it points to.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Answer<C> {
    value: C,
    arena: Arena,
}

// SAFETY: the value comes first, and only `give_answer` gives something plain away.
unsafe impl<C: Plain> FirstMember<C> for Answer<C> {}

impl<C: Plain> Answer<C> {
    /// Makes an answer of whatever `fill` puts into an arena.
    fn new(fill: impl FnOnce(&Arena) -> C) -> Box<Self> {
        let arena = Arena::default();
        let value = fill(&arena);
        Box::new(Self { value, arena })
    }
}

/// Gives C a value of the schema, to come back to [`free_answer`].
pub(crate) fn give_answer<C: Plain>(fill: impl FnOnce(&Arena) -> C) -> Owned<C> {
    Owned::first_of(Answer::new(fill))
}

/// Frees what [`give_answer`] gave.
///
/// # Safety
///
/// It gave that, and it was not freed before.
pub(crate) unsafe fn free_answer<C: Plain>(answer: Owned<C>) {
    // SAFETY: the caller's promise: the whole is nobody else's.
    guard((), || drop(unsafe { answer.take_whole::<Answer<C>>() }));
}
