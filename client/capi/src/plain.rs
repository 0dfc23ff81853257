//! The values that are the same on both sides: numbers, truth values, enumerations, and structures and unions of them.
//!
//! C can put anything into memory that is its own. So none of these types has a bit pattern that it must not have: what
//! is no value of an enumeration is found out when it is read, and not undefined before.

#![allow(
    unsafe_code,
    reason = "that every bit pattern is a value, and reading unions because of it, is what this module is for"
)]

use std::ffi::{CStr, c_uint};
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// A type that is laid out as in C and that C may fill with any bytes.
///
/// # Safety
///
/// Every bit pattern is a value, and none needs to be dropped.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($of:ty),*) => {$(
        // SAFETY: a number without a pattern that means nothing.
        unsafe impl Plain for $of {}
    )*};
}

plain!(i8, i16, i32, i64, u8, u16, u32, u64, usize, f64);

#[cfg(test)]
// SAFETY: numbers.
unsafe impl<const N: usize> Plain for [u64; N] {}

/// `bool` of C, before anybody has looked whether it is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Bool(u8);

// SAFETY: a byte.
unsafe impl Plain for Bool {}

impl Bool {
    /// A truth value.
    pub(crate) fn new(value: bool) -> Self {
        Self(u8::from(value))
    }

    /// The truth value, or what is there instead of one.
    pub(crate) fn get(self) -> Result<bool, u8> {
        match self.0 {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(other),
        }
    }
}

/// `QmpNull`: says nothing, whatever is in it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub struct QmpNull(u8);

// SAFETY: a byte.
unsafe impl Plain for QmpNull {}

/// A data type of the schema that C has an enumeration for.
pub trait Enumeration: Copy + 'static {
    /// The enumeration's name in C.
    const C_NAME: &'static str;
    /// Every value, in the order of its numbers.
    const VALUES: &'static [Self];
    /// What each is called on the wire, in the same order.
    const NAMES: &'static [&'static CStr];

    /// The value's number.
    fn number(self) -> c_uint;
}

/// A value of an enumeration as C has it, before anybody has looked whether it is one.
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

    /// The value, or the number that is there instead of one.
    pub(crate) fn get(self) -> Result<E, c_uint> {
        self.of(E::VALUES).copied().ok_or(self.number)
    }

    /// The name of the value, if it is one.
    pub(crate) fn name(self) -> Option<&'static CStr> {
        self.of(E::NAMES).copied()
    }

    fn of<T>(self, list: &'static [T]) -> Option<&'static T> {
        usize::try_from(self.number)
            .ok()
            .and_then(|at| list.get(at))
    }
}

/// Which alternative of an alternate it is, as C has it.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Choice(c_uint);

// SAFETY: a number.
unsafe impl Plain for Choice {}

impl Choice {
    /// The alternative of that number.
    pub(crate) fn new(number: c_uint) -> Self {
        Self(number)
    }

    /// The number, which need not be that of an alternative.
    pub(crate) fn number(self) -> c_uint {
        self.0
    }
}

/// A value of nothing but zeroes: what C makes of an initializer that names no member.
pub(crate) fn zeroed<T: Plain>() -> T {
    // SAFETY: every bit pattern is a value of a plain type, zeroes too.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

/// Where `branch` stands if it is in the union `within`; both begin at the same place.
///
/// Who calls this has looked at what says which branch C wrote: that one is filled, as far as it has members.
pub(crate) fn read_branch<U: Plain, T: Plain>(within: &U) -> &T {
    const { assert!(size_of::<T>() <= size_of::<U>() && align_of::<T>() <= align_of::<U>()) };
    // SAFETY: the union is at least as large and as aligned as the branch, which may have any bit pattern.
    unsafe { &*std::ptr::from_ref(within).cast::<T>() }
}

/// What a structure looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StructLayout {
    /// The name in C.
    pub name: &'static str,
    /// Its size.
    pub size: usize,
    /// Its alignment.
    pub alignment: usize,
    /// The members with their offsets and sizes.
    pub members: Vec<(&'static str, usize, usize)>,
}

impl StructLayout {
    /// The layout of a structure.
    pub(crate) fn of<T: Members>(name: &'static str) -> Self {
        let members = T::MEMBERS.iter().map(|(member, offset, size)| {
            // A word of Rust's needs a mark in Rust only.
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

/// A structure that knows where its members are.
pub(crate) trait Members {
    /// Each with its offset and its size.
    const MEMBERS: &'static [(&'static str, usize, usize)];
}

/// The size of the member that a function takes out of a structure.
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
        // SAFETY: it is laid out as in C, and each of its members is plain.
        unsafe impl $crate::plain::Plain for $name where $($of: $crate::plain::Plain,)* {}

        impl $crate::plain::Members for $name {
            const MEMBERS: &'static [(&'static str, usize, usize)] =
                $crate::plain::members!($($field),*);
        }
    };
}

/// Defines a union of plain branches, to be read as the one that something beside it names.
macro_rules! c_union {
    ($name:ident { $($branch:ident: $of:ty,)* }) => {
        #[doc = concat!("The union in `", stringify!($name), "`.")]
        #[derive(Clone, Copy)]
        #[repr(C)]
        pub union $name {
            $($branch: $of,)*
        }

        #[allow(unsafe_code, reason = "it consists of plain branches")]
        // SAFETY: it is laid out as in C, and each of its branches is plain.
        unsafe impl $crate::plain::Plain for $name where $($of: $crate::plain::Plain,)* {}

        impl $name {
            fn read<T: $crate::plain::Plain>(&self) -> &T {
                $crate::plain::read_branch(self)
            }
        }
    };
}

pub(crate) use {c_struct, c_union, members};
