//! Pointers from C and to C.
//!
//! Their fields are private: a value of these types comes from C, under the header's rules, or from [`crate::arena`].
//! Reading through them is therefore safe, and done only here.

#![allow(unsafe_code, reason = "what C points to is read here and nowhere else")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::slice;

use crate::conversion::InvalidArgument;
use crate::plain::{Members, Plain, members};

/// Makes a type copyable whatever it points to.
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

// SAFETY: a pointer, unchecked until it is read.
unsafe impl Plain for Text {}

impl Text {
    /// No string.
    pub(crate) const NULL: Self = Self(std::ptr::null());

    /// A string in the arena.
    pub(crate) fn new(text: &CStr) -> Self {
        Self(text.as_ptr())
    }

    /// The string, unless `NULL`.
    pub(crate) fn get(&self) -> Option<&CStr> {
        // SAFETY: C passes strings that end and that live during the call; the arena's live as long as the arena.
        (!self.0.is_null()).then(|| unsafe { CStr::from_ptr(self.0) })
    }
}

/// A string that is JSON, or `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Json(pub(crate) Text);

// SAFETY: a pointer, unchecked until it is read.
unsafe impl Plain for Json {}

/// A static string, or `NULL`.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct StaticText(*const c_char);

impl StaticText {
    /// A string, or none.
    pub(crate) fn new(text: Option<&'static CStr>) -> Self {
        Self(text.map_or(std::ptr::null(), CStr::as_ptr))
    }
}

/// A pointer to a value, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Ref<T>(*const T);

// SAFETY: a pointer, unchecked until it is read.
unsafe impl<T: 'static> Plain for Ref<T> {}

impl<T> Ref<T> {
    /// `NULL`.
    pub(crate) const NULL: Self = Self(std::ptr::null());

    /// A pointer to a value in the arena.
    pub(crate) fn new(value: &T) -> Self {
        Self(value)
    }

    /// The value, unless `NULL`.
    pub(crate) fn get(&self) -> Option<&T> {
        // SAFETY: C passes NULL or a value that lives during the call; the arena's live as long as the arena.
        unsafe { self.0.as_ref() }
    }
}

/// An array of the schema in C.
#[derive(Debug)]
#[repr(C)]
pub struct List<T> {
    count: usize,
    items: *const T,
}

// SAFETY: a number and a pointer, unchecked until they are read.
unsafe impl<T: 'static> Plain for List<T> {}

impl<T> Members for List<T> {
    const MEMBERS: &'static [(&'static str, usize, usize)] = members!(count, items);
}

impl<T> List<T> {
    /// A list in the arena.
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
        // SAFETY: C points to `count` elements, which fit into memory and live during the call. The arena's live as long
        // as the arena.
        Ok(unsafe { slice::from_raw_parts(self.items, self.count) })
    }
}

/// An object of this library that C owns and passes to a call, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Handle<T>(*const T);

impl<T> Handle<T> {
    /// Points to an object of this library.
    #[cfg(test)]
    pub(crate) fn new(object: &T) -> Self {
        Self(object)
    }

    /// The object. `name` is the parameter's.
    pub(crate) fn get(&self, name: &str) -> Result<&T, InvalidArgument> {
        // SAFETY: C has it from this library, and does not free it during the call.
        unsafe { self.0.as_ref() }.ok_or_else(|| InvalidArgument::null(name))
    }
}

/// A pointer that C owns until it gives it back to be freed, or `NULL`.
///
/// It is not `Copy`: Rust can take it back once. That C gives it back once is C's promise, for which the functions that
/// take one are `unsafe`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Owned<T>(*mut T);

impl<T> Owned<T> {
    /// `NULL`.
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    /// Gives an object away, to be taken back by [`Owned::take`].
    pub(crate) fn give(object: Box<T>) -> Self {
        Self(Box::into_raw(object))
    }

    /// Takes back an object that [`Owned::give`] gave away.
    ///
    /// # Safety
    ///
    /// It comes from `give`, and has not been taken back.
    pub(crate) unsafe fn take(self) -> Option<Box<T>> {
        // SAFETY: the caller's promise: nothing else uses the box.
        (!self.0.is_null()).then(|| unsafe { Box::from_raw(self.0) })
    }

    /// Gives away the first member of a larger structure.
    pub(crate) fn first_of<W: FirstMember<T>>(whole: Box<W>) -> Self {
        Self(Box::into_raw(whole).cast())
    }

    /// Takes back the structure that [`Owned::first_of`] gave away.
    ///
    /// # Safety
    ///
    /// It comes from `first_of` for a `W`, and has not been taken back.
    pub(crate) unsafe fn take_whole<W: FirstMember<T>>(self) -> Option<Box<W>> {
        // SAFETY: the caller's promise; a type with a `FirstMember` is only given away by `first_of`.
        (!self.0.is_null()).then(|| unsafe { Box::from_raw(self.0.cast::<W>()) })
    }
}

impl Owned<c_char> {
    /// Gives a string away, to be taken back by [`Owned::take_text`].
    pub(crate) fn text(text: CString) -> Self {
        Self(text.into_raw())
    }

    /// Takes back a string that [`Owned::text`] gave away.
    ///
    /// # Safety
    ///
    /// It comes from `text`, has the same length, and has not been taken back.
    pub(crate) unsafe fn take_text(self) -> Option<CString> {
        // SAFETY: the caller's promise: nothing else uses the string.
        (!self.0.is_null()).then(|| unsafe { CString::from_raw(self.0) })
    }
}

/// A structure whose first member C receives a pointer to.
///
/// # Safety
///
/// It is `repr(C)`, and the member is its first. Only [`Owned::first_of`] gives a `T` away.
pub(crate) unsafe trait FirstMember<T> {}

/// Where C receives a value, or `NULL`.
#[derive(Debug)]
#[repr(transparent)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    /// `NULL`.
    #[cfg(test)]
    pub(crate) const NULL: Self = Self(std::ptr::null_mut());

    /// Points to a variable of this library.
    #[cfg(test)]
    pub(crate) fn new(place: &mut T) -> Self {
        Self(place)
    }

    /// Whether it is `NULL`.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// Stores a value, unless `NULL`.
    pub(crate) fn put(&self, value: T) {
        if !self.0.is_null() {
            // SAFETY: C passes NULL or a place for such a value, initialised or not.
            unsafe { self.0.write(value) };
        }
    }
}

/// A handler's argument: a pointer that only C interprets.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Opaque(*mut c_void);

// SAFETY: it is only passed back to C, in whichever thread dispatches, as the header says.
unsafe impl Send for Opaque {}

impl Opaque {
    /// The pointer.
    pub(crate) fn get(self) -> *mut c_void {
        self.0
    }
}
