//! Conversion between the schema's types and the header's.
//!
//! Conversion to C cannot fail. Conversion from C checks: strings are UTF-8, enumerations and booleans have one of their
//! values, numbers are in range, required pointers are not `NULL`. An error names the member.

use std::ffi::{CStr, c_uint};
use std::fmt;

use faultvisor_schema::{Null, Path};
use serde_json::Value;

use crate::arena::Arena;
use crate::plain::{Bool, Choice, Enum, Enumeration, Plain, QmpNull, zeroed};
use crate::pointer::{Json, List, Ref, StaticText, Text};

/// C has passed a value that the header does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InvalidArgument(pub(crate) String);

impl InvalidArgument {
    /// The value at `at` is invalid; `why` continues the sentence after its name.
    pub(crate) fn new(at: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self(format!("`{at}` {why}"))
    }

    /// A required pointer is `NULL`.
    pub(crate) fn null(at: impl fmt::Display) -> Self {
        Self::new(at, "is NULL, and must not be")
    }
}

/// A type that converts to C.
pub(crate) trait ToC {
    /// The type in C.
    type C: Plain;

    /// Converts to C. What the result points to is in the arena.
    fn to_c(&self, arena: &Arena) -> Self::C;
}

/// A type that converts from C.
pub(crate) trait FromC: ToC + Sized {
    /// Converts from C. `at` names the value in errors.
    fn from_c(from: &Self::C, at: &Path<'_>) -> Result<Self, InvalidArgument>;
}

/// A type behind a pointer to a structure, with `NULL` for absence.
pub(crate) trait Object: Sized {
    /// The structure's type in the schema.
    type Inner: ToC;

    /// The structure's value.
    fn inner(&self) -> &Self::Inner;

    /// The reverse.
    fn from_inner(inner: Self::Inner) -> Self;
}

/// Implements the conversion of an object.
macro_rules! object {
    ($of:ty) => {
        impl $crate::conversion::Object for $of {
            type Inner = Self;

            fn inner(&self) -> &Self {
                self
            }

            fn from_inner(inner: Self) -> Self {
                inner
            }
        }
    };
}

pub(crate) use object;

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl ToC for $number {
            type C = Self;

            fn to_c(&self, _: &Arena) -> Self {
                *self
            }
        }

        impl FromC for $number {
            fn from_c(from: &Self, _: &Path<'_>) -> Result<Self, InvalidArgument> {
                Ok(*from)
            }
        }
    )*};
}

numbers!(i8, i16, i32, i64, u8, u16, u32, u64);

impl ToC for f64 {
    type C = Self;

    fn to_c(&self, _: &Arena) -> Self {
        *self
    }
}

impl FromC for f64 {
    fn from_c(from: &Self, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        if from.is_finite() {
            return Ok(*from);
        }
        Err(InvalidArgument::new(
            at,
            format!("is {from}, which JSON has no number for"),
        ))
    }
}

impl ToC for bool {
    type C = Bool;

    fn to_c(&self, _: &Arena) -> Bool {
        Bool::new(*self)
    }
}

impl FromC for bool {
    fn from_c(from: &Bool, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        from.get().map_err(|byte| {
            InvalidArgument::new(at, format!("is neither true nor false, but {byte}"))
        })
    }
}

impl ToC for Null {
    type C = QmpNull;

    fn to_c(&self, _: &Arena) -> QmpNull {
        QmpNull::default()
    }
}

impl FromC for Null {
    fn from_c(_: &QmpNull, _: &Path<'_>) -> Result<Self, InvalidArgument> {
        Ok(Self)
    }
}

impl<E: Enumeration> Enum<E> {
    /// The value, or an error if the number is invalid.
    pub(crate) fn read(self, at: &Path<'_>) -> Result<E, InvalidArgument> {
        self.get().map_err(|number| no_value(number, E::C_NAME, at))
    }
}

/// Defines an enumeration of C.
macro_rules! c_enum {
    ($of:ty, $c_name:literal, [$($name:literal),*]) => {
        impl $crate::plain::Enumeration for $of {
            const C_NAME: &'static str = $c_name;
            const VALUES: &'static [Self] = Self::ALL;
            const NAMES: &'static [&'static std::ffi::CStr] = &[$($name),*];

            fn number(self) -> std::ffi::c_uint {
                self as std::ffi::c_uint
            }
        }

        impl $crate::conversion::ToC for $of {
            type C = $crate::plain::Enum<Self>;

            fn to_c(&self, _: &$crate::arena::Arena) -> Self::C {
                $crate::plain::Enum::new(*self)
            }
        }

        impl $crate::conversion::FromC for $of {
            fn from_c(
                from: &Self::C,
                at: &faultvisor_schema::Path<'_>,
            ) -> Result<Self, $crate::conversion::InvalidArgument> {
                from.read(at)
            }
        }
    };
}

pub(crate) use c_enum;

impl Choice {
    /// The error for a number without an alternative. `of` is the enumeration's name in C.
    pub(crate) fn refused(self, of: &str, at: &Path<'_>) -> InvalidArgument {
        no_value(self.number(), of, at)
    }
}

fn no_value(number: c_uint, of: &str, at: &Path<'_>) -> InvalidArgument {
    InvalidArgument::new(at, format!("is {number}, which is no value of {of}"))
}

/// The name of an enumeration's value on the wire.
pub(crate) fn name_of<E: Enumeration>(value: Enum<E>) -> StaticText {
    StaticText::new(value.name())
}

impl ToC for String {
    type C = Text;

    fn to_c(&self, arena: &Arena) -> Text {
        arena.text(self)
    }
}

impl FromC for String {
    fn from_c(from: &Text, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        required(Option::from_c(from, at)?, at)
    }
}

impl ToC for Option<String> {
    type C = Text;

    fn to_c(&self, arena: &Arena) -> Text {
        self.as_ref().map_or(Text::NULL, |text| arena.text(text))
    }
}

impl FromC for Option<String> {
    fn from_c(from: &Text, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        from.get()
            .map(|text| utf_8(text, at).map(str::to_owned))
            .transpose()
    }
}

/// The text of a string, if it is UTF-8.
pub(crate) fn utf_8<'a>(text: &'a CStr, at: &dyn fmt::Display) -> Result<&'a str, InvalidArgument> {
    text.to_str().map_err(|error| {
        let from = error.valid_up_to();
        InvalidArgument::new(at, format!("is not UTF-8 from its byte {from} on"))
    })
}

impl ToC for Value {
    type C = Json;

    fn to_c(&self, arena: &Arena) -> Json {
        Json(arena.text(&self.to_string()))
    }
}

impl FromC for Value {
    fn from_c(from: &Json, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        required(Option::from_c(from, at)?, at)
    }
}

impl ToC for Option<Value> {
    type C = Json;

    fn to_c(&self, arena: &Arena) -> Json {
        self.as_ref()
            .map_or(Json(Text::NULL), |value| value.to_c(arena))
    }
}

impl FromC for Option<Value> {
    fn from_c(from: &Json, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        from.0.get().map(|text| json(text, at)).transpose()
    }
}

/// The value of a string of JSON.
pub(crate) fn json(text: &CStr, at: &dyn fmt::Display) -> Result<Value, InvalidArgument> {
    let text = utf_8(text, at)?;
    serde_json::from_str(text)
        .map_err(|error| InvalidArgument::new(at, format!("is not JSON: {error}")))
}

impl<T: ToC> ToC for Vec<T> {
    type C = List<T::C>;

    fn to_c(&self, arena: &Arena) -> List<T::C> {
        arena.list(self)
    }
}

impl<T: ToC> Object for Vec<T> {
    type Inner = Self;

    fn inner(&self) -> &Self {
        self
    }

    fn from_inner(inner: Self) -> Self {
        inner
    }
}

impl<T: FromC> FromC for Vec<T> {
    fn from_c(from: &List<T::C>, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        let items = from.get().map_err(|why| InvalidArgument::new(at, why))?;
        let place = at.member("items");
        let items = items.iter().enumerate();
        items
            .map(|(index, item)| T::from_c(item, &place.element(index)))
            .collect()
    }
}

impl<T: Object> ToC for Option<T> {
    type C = Ref<<T::Inner as ToC>::C>;

    fn to_c(&self, arena: &Arena) -> Self::C {
        let value = self.as_ref().map(|value| value.inner().to_c(arena));
        value.map_or(Ref::NULL, |value| arena.value(value))
    }
}

impl<T: Object<Inner: FromC>> FromC for Option<T> {
    fn from_c(from: &Self::C, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        let value = from.get().map(|value| FromC::from_c(value, at));
        Ok(value.transpose()?.map(T::from_inner))
    }
}

impl<T: ToC> Object for Box<T> {
    type Inner = T;

    fn inner(&self) -> &T {
        self
    }

    fn from_inner(inner: T) -> Self {
        Self::new(inner)
    }
}

impl<T: ToC> ToC for Box<T> {
    type C = Ref<T::C>;

    fn to_c(&self, arena: &Arena) -> Ref<T::C> {
        arena.value(self.as_ref().to_c(arena))
    }
}

impl<T: FromC> FromC for Box<T> {
    fn from_c(from: &Ref<T::C>, at: &Path<'_>) -> Result<Self, InvalidArgument> {
        required(Option::from_c(from, at)?, at)
    }
}

fn required<T>(value: Option<T>, at: &Path<'_>) -> Result<T, InvalidArgument> {
    value.ok_or_else(|| InvalidArgument::null(at))
}

/// Whether an optional member is present.
pub(crate) fn is_there<T>(value: &Option<T>) -> Bool {
    Bool::new(value.is_some())
}

/// The value of an optional member in C, zeroed if absent.
pub(crate) fn or_zero<T: ToC>(value: &Option<T>, arena: &Arena) -> T::C {
    value
        .as_ref()
        .map_or_else(zeroed, |value| value.to_c(arena))
}

/// An optional member with a flag for its presence. An absent one is not read.
pub(crate) fn flagged<T: FromC>(
    flag: Bool,
    value: &T::C,
    flag_at: &Path<'_>,
    at: &Path<'_>,
) -> Result<Option<T>, InvalidArgument> {
    bool::from_c(&flag, flag_at)?
        .then(|| T::from_c(value, at))
        .transpose()
}
