//! Pointers that C gives, and that it is given.
//!
//! Their fields are private: a value of one of these types comes from C, which the header says what to give, or from
//! [`crate::arena`]. That is why reading what they point to is a safe function here, and the only place where it is done.

#![allow(unsafe_code, reason = "what C points to is read here and nowhere else")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;

use crate::conversion::InvalidArgument;
use crate::plain::{Members, Plain, members};

/// Has a type be as easily copied as the pointer that it is, whatever it points to.
macro_rules! copied {
    ($($of:ident),*) => {$(
        impl<T> Clone for $of<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $of<T> {}
    )*};
}

pub(crate) use copied;

copied!(Ref, List, Handle, Out);

/// A string, or `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Text(*const c_char);

// SAFETY: a pointer, which is looked at when it is read.
unsafe impl Plain for Text {}

impl Text {
    /// No string.
    pub(crate) const NULL: Self = Self(std::ptr::null());

    /// A string of the arena's.
    pub(crate) fn new(text: &CStr) -> Self {
        Self(text.as_ptr())
    }

    /// The string, if there is one.
    pub(crate) fn get(&self) -> Option<&CStr> {
        // SAFETY: C gives strings that end and that are there during the call; ours are there as long as their arena.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

/// A string that is JSON, or `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Json(pub(crate) Text);

// SAFETY: a pointer, which is looked at when it is read.
unsafe impl Plain for Json {}

/// A string that is there as long as the program, or `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct StaticText(*const c_char);

impl StaticText {
    /// A string, or none.
    pub(crate) fn new(text: Option<&'static CStr>) -> Self {
        Self(text.map_or(std::ptr::null(), CStr::as_ptr))
    }
}

/// A value that another one points to, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Ref<T>(*const T);

// SAFETY: a pointer, which is looked at when it is read.
unsafe impl<T: 'static> Plain for Ref<T> {}

impl<T> Ref<T> {
    /// No value.
    pub(crate) const NULL: Self = Self(std::ptr::null());

    /// A value of the arena's.
    pub(crate) fn new(value: &T) -> Self {
        Self(value)
    }

    /// The value, if there is one.
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: C points to nothing or to a value that is there during the call; ours is there as long as its arena.
        unsafe { self.0.as_ref() }
    }
}

/// What an array of the schema is in C.
#[derive(Debug)]
#[repr(C)]
pub struct List<T> {
    count: usize,
    items: *const T,
}

// SAFETY: a number and a pointer, which are looked at when they are read.
unsafe impl<T: 'static> Plain for List<T> {}

impl<T> Members for List<T> {
    const MEMBERS: &'static [(&'static str, usize, usize)] = members!(count, items);
}

impl<T> List<T> {
    /// A list of the arena's.
    pub(crate) fn new(items: &[T]) -> Self {
        Self {
            count: items.len(),
            items: items.as_ptr(),
        }
    }

    /// The elements.
    pub(crate) fn get(&self) -> Result<&[T], String> {
        if self.count == 0 {
            return Ok(&[]);
        }
        if self.items.is_null() {
            return Err(format!("has {} items, and `items` is NULL", self.count));
        }
        let bytes = self.count.checked_mul(size_of::<T>());
        if bytes.is_none_or(|bytes| isize::try_from(bytes).is_err()) {
            let count = self.count;
            return Err(format!("has {count} items, which no memory has room for"));
        }
        // SAFETY: C points to as many elements as it says; they fit into memory, and are there during the call. Ours are
        // there as long as their arena.
        Ok(unsafe { slice::from_raw_parts(self.items, self.count) })
    }
}

/// An object of this library's that C has and lends for a call, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Handle<T>(*const T);

impl<T> Handle<T> {
    /// An object of this library's own.
    #[cfg(test)]
    pub(crate) fn new(object: &T) -> Self {
        Self(object)
    }

    /// The object; `name`: that of the parameter.
    pub(crate) fn get(&self, name: &str) -> Result<&T, InvalidArgument> {
        // SAFETY: C has it from this library, and does not free it while it is used.
        unsafe { self.0.as_ref() }.ok_or_else(|| InvalidArgument::null(name))
    }
}

/// A pointer that C is given and gives back to be freed, or `NULL`.
///
/// It cannot be copied: in Rust, too, what was taken back is not there to be taken back again. That C gives it back once
/// is C's promise, which the functions that take one are `unsafe` for.
#[derive(Debug)]
#[repr(transparent)]
pub struct Owned<T>(*mut T);

impl<T> Owned<T> {
    /// Nothing.
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    /// Gives an object away, to come back to [`Owned::take`].
    pub(crate) fn give(object: Box<T>) -> Self {
        Self(Box::into_raw(object))
    }

    /// Takes back an object that [`Owned::give`] gave away.
    ///
    /// # Safety
    ///
    /// It is what `give` has made, and was not taken back before.
    pub(crate) unsafe fn take(self) -> Option<Box<T>> {
        // SAFETY: the caller's promise: the box that it was is nobody else's.
        (!self.0.is_null()).then(|| unsafe { Box::from_raw(self.0) })
    }

    /// Gives away what is the first member of something larger.
    pub(crate) fn first_of<W: FirstMember<T>>(whole: Box<W>) -> Self {
        Self(Box::into_raw(whole).cast())
    }

    /// Takes back the whole that [`Owned::first_of`] gave away.
    ///
    /// # Safety
    ///
    /// It is what `first_of` has made of a `W`, and was not taken back before.
    pub(crate) unsafe fn take_whole<W: FirstMember<T>>(self) -> Option<Box<W>> {
        // SAFETY: the caller's promise; and what has a `FirstMember` is given by `first_of` only.
        (!self.0.is_null()).then(|| unsafe { Box::from_raw(self.0.cast::<W>()) })
    }
}

impl Owned<c_char> {
    /// Gives a string away, to come back to [`Owned::take_text`].
    pub(crate) fn text(text: CString) -> Self {
        Self(text.into_raw())
    }

    /// Takes back a string that [`Owned::text`] gave away.
    ///
    /// # Safety
    ///
    /// It is what `text` has made, as long as it was, and was not taken back before.
    pub(crate) unsafe fn take_text(self) -> Option<CString> {
        // SAFETY: the caller's promise: the string that it was is nobody else's.
        (!self.0.is_null()).then(|| unsafe { CString::from_raw(self.0) })
    }
}

/// A structure that begins with a member that C is given a pointer to.
///
/// # Safety
///
/// It is `repr(C)` and the member is its first. Only [`Owned::first_of`] gives a `T` away.
pub(crate) unsafe trait FirstMember<T> {}

/// A place of C's for a value, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// No place.
    #[cfg(test)]
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    /// A place of this library's own.
    #[cfg(test)]
    pub(crate) fn new(place: &mut T) -> Self {
        Self(place)
    }

    /// Whether there is one.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Puts a value there, if there is a place.
    pub(crate) fn put(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: C points to nothing or to a place for such a value, with or without one in it.
            unsafe { self.0.write(value) };
        }
    }
}

/// What a handler was connected with: a pointer that means something to C only.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Opaque(*mut c_void);

// SAFETY: it is given back to C in whatever thread dispatches, which the header says, and otherwise left alone.
unsafe impl Send for Opaque {}

impl Opaque {
    /// The pointer.
    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}
