//! Plain types, which are the same in C and in Rust: numbers, booleans, enumerations, and structures and unions of them.
//!
//! C can write any bytes to its memory, so every bit pattern is valid for these types. Whether a number is a value of an
//! enumeration is checked when it is read, and its absence is not undefined behaviour.

#![allow(
    unsafe_code,
    reason = "that every bit pattern is a value, and reading unions because of it, is what this module is for"
)]

use std::ffi::{CStr, c_uint};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A type with C's layout that C may fill with any bytes.
///
/// # Safety
///
/// Every bit pattern is a value, and a value need not be dropped.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($of:ty),*) => {$(
        // SAFETY: every bit pattern is a number.
        unsafe impl Plain for $of {}
    )*};
}

plain!(i8, i16, i32, i64, u8, u16, u32, u64, usize, f64);

#[cfg(test)]
// SAFETY: numbers.
unsafe impl<const N: usize> Plain for [u64; N] {}

/// C's `bool`, unchecked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bool(u8);

// SAFETY: a byte.
unsafe impl Plain for Bool {}

impl Bool {
    /// A boolean.
    pub(crate) fn new(value: bool) -> Self {
        Self(u8::from(value))
    }

    /// The boolean, or the byte that is not one.
    pub(crate) fn get(self) -> Result<bool, u8> {
        match self.0 {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(other),
        }
    }
}

/// `QmpNull`: its content has no meaning.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct QmpNull(u8);

// SAFETY: a byte.
unsafe impl Plain for QmpNull {}

/// A type of the schema that is an enumeration in C.
pub trait Enumeration: Copy + 'static {
    /// The enumeration's name in C.
    const C_NAME: &'static str;
    /// All values, by their numbers.
    const VALUES: &'static [Self];
    /// The names of the values on the wire, in the same order.
    const NAMES: &'static [&'static CStr];

    /// The value's number.
    fn number(self) -> c_uint;
}

/// An enumeration's value as C has written it, unchecked.
#[derive(Debug)]
#[repr(transparent)]
pub struct Enum<E> {
    number: c_uint,
    of: PhantomData<E>,
}

impl<E> Clone for Enum<E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Enum<E> {}

// SAFETY: a number.
unsafe impl<E: 'static> Plain for Enum<E> {}

impl<E: Enumeration> Enum<E> {
    /// A value.
    pub(crate) fn new(value: E) -> Self {
        Self {
            number: value.number(),
            of: PhantomData,
        }
    }

    /// The value, or the number that is not one.
    pub(crate) fn get(self) -> Result<E, c_uint> {
        self.of(E::VALUES).copied().ok_or(self.number)
    }

    /// The value's name on the wire.
    pub(crate) fn name(self) -> Option<&'static CStr> {
        self.of(E::NAMES).copied()
    }

    fn of<T>(self, list: &'static [T]) -> Option<&'static T> {
        usize::try_from(self.number)
            .ok()
            .and_then(|at| list.get(at))
    }
}

/// The kind of an alternate as C has written it, unchecked.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Choice(c_uint);

// SAFETY: a number.
unsafe impl Plain for Choice {}

impl Choice {
    /// The alternative with a number.
    pub(crate) fn new(number: c_uint) -> Self {
        Self(number)
    }

    /// The number, possibly of no alternative.
    pub(crate) fn number(self) -> c_uint {
        self.0
    }
}

/// A zeroed value: what an initializer that names no member yields in C.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: every bit pattern is a value of a plain type, zeroes included.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Reads the union `within` as `branch`. Both have the same address.
///
/// The caller has checked that C wrote this branch. Where C wrote another, the result is unspecified, but defined.
pub(crate) fn read_branch<U: Plain, T: Plain>(within: &U) -> &T {
    const { assert!(size_of::<T>() <= size_of::<U>() && align_of::<T>() <= align_of::<U>()) };
    // SAFETY: the union is at least as large and as aligned as the branch, which may have any bit pattern.
    unsafe { &*std::ptr::from_ref(within).cast::<T>() }
}

/// The layout of a structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// Its name in C.
    pub name: &'static str,
    /// Its size, in bytes.
    pub size: usize,
    /// Its alignment, in bytes.
    pub alignment: usize,
    /// Its members with their offsets and sizes, in bytes.
    pub members: Vec<(&'static str, usize, usize)>,
}

impl StructLayout {
    /// The layout of a structure.
    pub(crate) fn of<T: Members>(name: &'static str) -> Self {
        let members = T::MEMBERS.iter().map(|(member, offset, size)| {
            // Raw identifiers are Rust's only.
            (member.strip_prefix("r#").unwrap_or(member), *offset, *size)
        });
        Self {
            name,
            size: size_of::<T>(),
            alignment: align_of::<T>(),
            members: members.collect(),
        }
    }
}

/// A structure with a table of its members.
pub(crate) trait Members {
    /// Each member with its offset and its size, in bytes.
    const MEMBERS: &'static [(&'static str, usize, usize)];
}

/// The size of the member that a function projects to.
pub(crate) const fn size_of_member<S, T>(_: fn(&S) -> &T) -> usize {
    size_of::<T>()
}

/// The table of a structure's members.
macro_rules! members {
    ($($field:ident),*) => {
        &[$((
            stringify!($field),
            std::mem::offset_of!(Self, $field),
            $crate::plain::size_of_member(|of: &Self| &of.$field),
        )),*]
    };
}

/// Defines a structure of plain members.
macro_rules! c_struct {
    ($name:ident { $($field:ident: $of:ty,)* }) => {
        #[doc = concat!("`", stringify!($name), "` of the header.")]
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub struct $name {
            $(pub(crate) $field: $of,)*
        }

        #[allow(unsafe_code, reason = "it consists of plain members")]
        // SAFETY: the layout is C's, and each member is plain.
        unsafe impl $crate::plain::Plain for $name where $($of: $crate::plain::Plain,)* {}

        impl $crate::plain::Members for $name {
            const MEMBERS: &'static [(&'static str, usize, usize)] =
                $crate::plain::members!($($field),*);
        }
    };
}

/// Defines a union of plain branches. A value beside it tells which one to read.
macro_rules! c_union {
    ($name:ident { $($branch:ident: $of:ty,)* }) => {
        #[doc = concat!("The union in `", stringify!($name), "`.")]
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub union $name {
            $($branch: $of,)*
        }

        #[allow(unsafe_code, reason = "it consists of plain branches")]
        // SAFETY: the layout is C's, and each branch is plain.
        unsafe impl $crate::plain::Plain for $name where $($of: $crate::plain::Plain,)* {}

        impl $name {
            fn read<T: $crate::plain::Plain>(&self) -> &T {
                $crate::plain::read_branch(self)
            }
        }
    };
}

pub(crate) use {c_struct, c_union, members};
