//! libqmp for C: `libqmp.so`, `libqmp.a` and `libqmp.h`.
//!
//! The header is the documentation. Its first part is written by hand (`include/libqmp.h.in`), the rest is generated from
//! the schema (`schema/generator/src/codegen/c`), as is the Rust behind it, which this crate includes.
//!
//! The generated Rust consists of structures with the header's layout, their conversion from and to the schema's types,
//! and functions that only call this crate. What is unsafe between the two languages is in a few modules: `pointer` reads
//! memory of C, `plain` has the types for which any bytes are valid, `arena` the memory of answers, `boundary` stops
//! panics and reports errors.
//! memory of what C is given, `boundary` stops panics and hands over errors.
//! Rust does not use this crate; its public items are for its tests.
//! Rust has no use for this crate; what it says here is for its tests.

mod arena;
mod boundary;
mod call;
mod conversion;
mod descriptor;
#[allow(
    unsafe_code,
    reason = "that a function is exported by its name is an attribute that Rust calls unsafe"
)]
mod error;
mod event;
mod options;
mod plain;
mod pointer;
#[allow(
    unsafe_code,
    reason = "that a function is exported by its name is an attribute that Rust calls unsafe"
)]
mod raw_event;
#[allow(
    unsafe_code,
    reason = "that a function is exported by its name is an attribute that Rust calls unsafe"
)]
mod session;

#[cfg(test)]
mod tests;

#[allow(
    unsafe_code,
    reason = "that a function is exported by its name is an attribute that Rust calls unsafe"
)]
mod generated {
    use std::ffi::c_char;

    use faultvisor_schema as schema;
    use faultvisor_schema::Path;
    use libqmp::Session;

    use crate::arena::{Arena, free_answer};
    use crate::call::{self, NoArguments, Optional, Required};
    use crate::conversion::{
        FromC, InvalidArgument, ToC, c_enum, flagged, is_there, name_of, object, or_zero,
    };
    use crate::error::ErrorSlot;
    use crate::event::{self, EventObject, Handler, Occurrence};
    use crate::plain::{Bool, Choice, Enum, StructLayout, c_struct, c_union, zeroed};
    use crate::pointer::{Handle, Json, List, Opaque, Owned, Ref, StaticText, Text};
    use crate::session::QmpSession;

    include!(concat!(env!("OUT_DIR"), "/c.rs"));
}

pub use plain::StructLayout;

/// The layouts of the header's structures in Rust.
#[must_use]
pub fn layouts() -> Vec<StructLayout> {
    let written = [
        StructLayout::of::<options::QmpSessionOptions>("QmpSessionOptions"),
        StructLayout::of::<event::QmpTimestamp>("QmpTimestamp"),
        StructLayout::of::<raw_event::QmpRawEventData>("QmpRawEventData"),
        StructLayout::of::<raw_event::QmpRawOccurrence>("QmpRawOccurrence"),
    ];
    written.into_iter().chain(generated::layouts()).collect()
}

/// The header of this version.
pub const HEADER: &str = include_str!(concat!(env!("OUT_DIR"), "/libqmp.h"));
