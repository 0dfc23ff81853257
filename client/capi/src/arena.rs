//! The memory of an answer: everything that it points to, freed at once.

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

/// The memory of an answer.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    memory: Bump,
}

impl Arena {
    /// Copies a string into the arena.
    pub(crate) fn text(&self, text: &str) -> Text {
        let with_end = self.memory.alloc_slice_fill_copy(text.len() + 1, 0);
        with_end[..text.len()].copy_from_slice(text.as_bytes());
        match CStr::from_bytes_with_nul(with_end) {
            Ok(text) => Text::new(text),
            Err(_) => self.text(&without_nul(text)),
        }
    }

    /// Moves a value into the arena.
    pub(crate) fn value<T: Plain>(&self, value: T) -> Ref<T> {
        Ref::new(self.memory.alloc(value))
    }

    /// Converts values into a list in the arena.
    pub(crate) fn list<T: ToC>(&self, values: &[T]) -> List<T::C> {
        let values = values.iter().map(|value| value.to_c(self));
        List::new(self.memory.alloc_slice_fill_iter(values))
    }
}

/// Replaces NUL characters, which end a string in C.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A string that the caller owns.
pub(crate) fn owned_text(text: &str) -> CString {
    CString::new(text)
        .or_else(|_| CString::new(without_nul(text)))
        .unwrap_or_default()
}

/// A value, followed by the memory that it points to.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Answer<C> {
    value: C,
    arena: Arena,
}

// SAFETY: `repr(C)`, with the value first, and only `give_answer` gives a plain value away.
unsafe impl<C: Plain> FirstMember<C> for Answer<C> {}

impl<C: Plain> Answer<C> {
    /// Makes an answer of the value that `fill` builds in an arena.
    fn new(fill: impl FnOnce(&Arena) -> C) -> Box<Self> {
        let arena = Arena::default();
        let value = fill(&arena);
        Box::new(Self { value, arena })
    }
}

/// Gives C a value of the schema, to be freed by [`free_answer`].
pub(crate) fn give_answer<C: Plain>(fill: impl FnOnce(&Arena) -> C) -> Owned<C> {
    Owned::first_of(Answer::new(fill))
}

/// Frees what [`give_answer`] has given.
///
/// # Safety
///
/// It comes from `give_answer`, and has not been freed.
pub(crate) unsafe fn free_answer<C: Plain>(answer: Owned<C>) {
    // SAFETY: the caller's promise: nothing else uses the answer.
    guard((), || drop(unsafe { answer.take_whole::<Answer<C>>() }));
}
